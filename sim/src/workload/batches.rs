//! What a client asks for at once.

use precentor_core::context::ContextKind;
use precentor_core::job::{Class, JobSpec};

use super::items::{OTHER_PROJECT, address_in, spec};
use super::tree::Tree;
use super::{Client, ENGINE, OTHER_ENGINE};
use crate::tape::Roll;

impl Client {
    pub(super) fn batch(&mut self, tree: &mut Tree, roll: &mut Roll) -> Vec<JobSpec> {
        let may = self.options.bulk_ppm > 0 && self.bulks < self.options.bulks_max;
        if may && roll.chance(self.options.bulk_ppm) {
            self.bulks += 1;
            return self.bulk(roll);
        }
        let mut items = self.part_of_tree(tree, roll);
        for item in &mut items {
            item.tenant.clone_from(&self.tenant);
        }
        items
    }

    /// Many files that nobody else asks for, all equally urgent.
    fn bulk(&self, roll: &mut Roll) -> Vec<JobSpec> {
        let class = *roll.pick(&Class::ALL);
        let engine = match self.two_engines && roll.chance(500_000) {
            true => OTHER_ENGINE,
            false => ENGINE,
        };
        let count = roll.between(1, self.options.bulk_files_max);
        let (lane, bulk) = (self.caller.lane, self.bulks);
        let paths = (0..count).map(|file| format!("bulk{lane}-{bulk}/a{file}"));
        let items = paths.map(|path| {
            let mut item = spec(&path, ContextKind::File, &path, class, Vec::new());
            if self.options.limit_ppm > 0 && lane % 2 == 1 {
                item.address = address_in(OTHER_PROJECT, &path);
            }
            item.generator.engine = engine.into();
            item.tenant.clone_from(&self.tenant);
            item
        });
        items.collect()
    }

    /// Mostly one file, at times a folder with its files, rarely the whole
    /// project: many small entries reach more states than few large ones.
    fn part_of_tree(&self, tree: &mut Tree, roll: &mut Roll) -> Vec<JobSpec> {
        let options = &self.options;
        let folder = roll.below(options.folders);
        if roll.chance(options.newer_ppm) {
            let file = roll.below(options.files);
            tree.renew(folder, file);
        }
        let class = *roll.pick(&Class::ALL);
        let mut items = Vec::new();
        match roll.below(16) {
            0..10 => items.push(tree.file(folder, roll.below(options.files), class)),
            10..15 => tree.add_folder(folder, options, class, &mut items),
            _ => {
                for folder in 0..options.folders {
                    tree.add_folder(folder, options, class, &mut items);
                }
                items.push(tree.project(options, class));
            }
        }
        if roll.chance(100_000) {
            // The same item twice in a batch.
            items.push(items[0].clone());
        }
        if roll.chance(50_000) {
            items[0].delay_ms = roll.between(1, 300);
        }
        roll.shuffle(&mut items);
        items
    }
}
