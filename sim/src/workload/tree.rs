//! The project that clients ask about: files in folders, whose inputs change. Knows
//! what depends on what, and no client.

use std::collections::BTreeMap;

use precentor_core::context::ContextKind;
use precentor_core::ids::SessionId;
use precentor_core::job::{Class, Dependency, JobSpec, Policy};

use super::items::{address, spec};
use crate::scenario::ClientOptions;

/// The tree that all clients share: what its files contain by now.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    versions: BTreeMap<(u64, u64), u64>,
    /// It is checked who does what.
    pub(super) closed: bool,
    /// Sessions of clients, of which others have heard.
    pub(super) sessions: Vec<SessionId>,
}

impl Tree {
    /// A file has another content from now on.
    pub(super) fn renew(&mut self, folder: u64, file: u64) {
        *self.versions.entry((folder, file)).or_default() += 1;
    }

    pub(super) fn file(&self, folder: u64, file: u64, class: Class) -> JobSpec {
        spec(
            &format!("f{folder}/a{file}"),
            ContextKind::File,
            &self.text(folder, file),
            class,
            Vec::new(),
        )
    }

    /// What a file contains by now.
    pub(super) fn text(&self, folder: u64, file: u64) -> String {
        let version = self.versions.get(&(folder, file)).copied().unwrap_or(0);
        format!("{folder}/{file}@{version}")
    }

    pub(super) fn add_folder(
        &self,
        folder: u64,
        options: &ClientOptions,
        class: Class,
        items: &mut Vec<JobSpec>,
    ) {
        let files = (0..options.files).map(|file| self.file(folder, file, class));
        items.extend(files);
        // Odd folders need all their files, even ones live with gaps.
        let policy = if folder % 2 == 1 {
            Policy::Require
        } else {
            Policy::Optional
        };
        let dependencies = (0..options.files)
            .map(|file| Dependency {
                address: address(&format!("f{folder}/a{file}")),
                policy,
            })
            .collect();
        items.push(spec(
            &format!("f{folder}"),
            ContextKind::Folder,
            &self.of_folder(folder),
            class,
            dependencies,
        ));
    }

    pub(super) fn project(&self, options: &ClientOptions, class: Class) -> JobSpec {
        let subject: Vec<String> = (0..options.folders).map(|f| self.of_folder(f)).collect();
        let dependencies = (0..options.folders)
            .map(|folder| Dependency {
                address: address(&format!("f{folder}")),
                policy: Policy::Optional,
            })
            .collect();
        spec(
            "",
            ContextKind::Project,
            &subject.join(","),
            class,
            dependencies,
        )
    }

    fn of_folder(&self, folder: u64) -> String {
        let sum: u64 = self
            .versions
            .range((folder, 0)..(folder + 1, 0))
            .map(|(_, version)| version)
            .sum();
        format!("folder {folder}@{sum}")
    }
}
