//! What a host owes those who let sources go.

use super::*;
use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;

fn text(number: u8) -> Bytes {
    vec![number; 1_000].into()
}

fn put(rig: &mut impl Rig, number: u8, of: BodyOf) {
    let body = text(number);
    rig.perform(Action::PutBlob {
        digest: Digest::of(&body),
        body,
        of,
    });
}

fn let_go(rig: &mut impl Rig, number: u8, as_of: u64) {
    rig.perform(Action::DropSource {
        digest: Digest::of(&text(number)),
        index: LogIndex(as_of),
    });
}

/// Which of the first four are here as sources.
fn here(rig: &mut impl Rig) -> Vec<u8> {
    let digests = (1..=4).map(|number| Digest::of(&text(number)));
    rig.perform(Action::FindLacking {
        digests: digests.collect(),
        of: BodyOf::Source,
    });
    let Event::BodiesLacking { digests } = rig.report() else {
        panic!("it was asked what is lacking");
    };
    let is_here = |number: &u8| !digests.contains(&Digest::of(&text(*number)));
    (1..=4).filter(is_here).collect()
}

/// A source stays as long as a snapshot speaks of it, and goes when none does. Whatever else
/// has its bytes stays.
pub fn sources_go_when_no_snapshot_speaks_of_them(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=9).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    for number in 1..=3 {
        put(rig, number, BodyOf::Source);
    }
    put(rig, 1, BodyOf::Result);
    put(rig, 4, BodyOf::Result);
    save(rig, 2);
    assert_eq!(here(rig), [1, 2, 3], "a result is no source");
    let_go(rig, 1, 4);
    assert_eq!(here(rig), [1, 2, 3]);
    // What was to go is forgotten, and will be said again.
    rig.crash();
    assert_eq!(here(rig), [1, 2, 3], "the snapshot speaks of it");
    let_go(rig, 1, 4);
    let_go(rig, 2, 5);
    put(rig, 2, BodyOf::Source);
    save(rig, 3);
    assert_eq!(here(rig), [1, 2, 3], "the entry is beyond the snapshot");
    let_go(rig, 3, 8);
    // In force, for the next one is begun.
    save(rig, 6);
    save(rig, 7);
    assert_eq!(here(rig), [2, 3], "another was put again, or goes later");
    rig.perform(Action::FindLacking {
        digests: vec![Digest::of(&text(1))],
        of: BodyOf::Result,
    });
    let digests = Vec::new();
    assert_eq!(rig.report(), Event::BodiesLacking { digests });
    rig.crash();
    assert_eq!(here(rig), [2, 3]);
}
