//! What clients may ask for, one by one, and what must be refused. Knows no client.

use precentor_core::address::Address;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::job::{Class, Dependency, Generator, JobSpec, Policy};

use super::ENGINE;

/// The first tenant; the others have numbers.
pub(super) const TENANT: &str = "t";

/// The project of which all but some large requests are.
pub(super) const PROJECT: &str = "p";
/// That of the others.
pub(super) const OTHER_PROJECT: &str = "q";

/// An address of the first project.
pub(super) fn address(path: &str) -> Address {
    address_in(PROJECT, path)
}

/// An address of a project.
pub(super) fn address_in(project: &str, path: &str) -> Address {
    format!("ucxl://{project}/{path}")
        .parse()
        .expect("the tree's addresses are canonical")
}

/// A request for one context, on the first tenant's account.
pub(super) fn spec(
    path: &str,
    kind: ContextKind,
    subject: &str,
    class: Class,
    dependencies: Vec<Dependency>,
) -> JobSpec {
    JobSpec {
        address: address(path),
        kind,
        subject: Digest::of(subject.as_bytes()),
        generator: Generator {
            engine: ENGINE.into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class,
        tenant: TENANT.into(),
        dependencies,
        delay_ms: 0,
    }
}

/// A batch that must be refused: a cycle, an unknown dependency, nothing; or
/// (3) one that is only another than any before.
pub(super) fn bad_batch(kind: u64) -> Vec<JobSpec> {
    let needs = |path: &str| {
        vec![Dependency {
            address: address(path),
            policy: Policy::Require,
        }]
    };
    let file = |path: &str, needed: &str| {
        spec(path, ContextKind::File, path, Class::Normal, needs(needed))
    };
    match kind {
        0 => vec![file("x", "y"), file("y", "x")],
        1 => vec![file("z", "nowhere")],
        2 => Vec::new(),
        _ => vec![spec(
            "other",
            ContextKind::File,
            "other",
            Class::Idle,
            Vec::new(),
        )],
    }
}
