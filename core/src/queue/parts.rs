//! An image in parts: the state of one moment, given out over many turns while
//! commands go on being applied. The bytes are those of the whole image at that
//! moment (see [`super::image`]). Knows no budget but the one it is given.

use crate::digest::StateHash;
use crate::feature::FeatureLevel;

use super::QueueManager;
use super::access::holds_roles;
use super::accounts::holds_limits;
use super::batches::holds_batches;
use super::edits::holds_edits;
use super::fitting::holds_fitting;
use super::frozen::write;
use super::image::beginning;
use super::invalidation::holds_cache;
use super::letters::holds_letters;
use super::sources::holds_sources;
use super::table::Imaged;
use super::waits::holds_waits;

/// An image under way.
#[derive(Clone, Debug)]
pub(super) struct Imaging {
    /// What stands before the tables, until it is given out.
    head: Vec<u8>,
    /// Which table is next.
    table: usize,
    /// Which tables are in it. The level may rise while it is under way.
    level: FeatureLevel,
    /// The state's hash when the image was begun.
    hash: StateHash,
}

/// Some bytes of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImagePart {
    /// The bytes that follow those of the part before.
    pub bytes: Vec<u8>,
    /// With these the image is whole.
    pub last: bool,
    /// Rows that changed since the image was begun and are kept aside for it.
    pub kept_count: u64,
}

impl QueueManager {
    /// Begins an image of the state as it is now, and returns its hash. Costs
    /// the same whatever is in the state.
    ///
    /// # Panics
    /// If an image is under way.
    pub fn begin_image(&mut self) -> StateHash {
        assert!(!self.is_imaging(), "one image is taken at a time");
        let hash = self.state_hash();
        let mut head = beginning(self.level);
        write(&mut head, &self.rules);
        write(&mut head, &self.head);
        #[cfg(feature = "planted-bugs")]
        let forgets = self.is_planted(crate::planted::Bug::ImageSeesLaterChange);
        let level = self.level;
        for table in self.tables(level) {
            table.freeze();
            #[cfg(feature = "planted-bugs")]
            table.forget_changes(forgets);
        }
        self.imaging = Some(Imaging {
            head,
            table: 0,
            level,
            hash,
        });
        hash
    }

    /// Is an image under way?
    #[must_use]
    pub fn is_imaging(&self) -> bool {
        self.imaging.is_some()
    }

    /// The next part of the image under way: as many rows as use up
    /// `budget_bytes`, and at least one.
    ///
    /// # Panics
    /// If no image is under way.
    pub fn image_part(&mut self, budget_bytes: u64) -> ImagePart {
        let imaging = self.imaging.take();
        let mut imaging = imaging.expect("a part is asked for after an image was begun");
        let mut bytes = std::mem::take(&mut imaging.head);
        let mut budget = budget_bytes.max(1);
        let mut tables = self.tables(imaging.level);
        let mut last = true;
        while let Some(table) = tables.get_mut(imaging.table) {
            last = table.give_out(&mut bytes, &mut budget);
            if !last {
                break;
            }
            imaging.table += 1;
        }
        let kept_count = tables.iter().map(|table| table.kept_count()).sum();
        if last {
            write(&mut bytes, &imaging.hash);
        } else {
            self.imaging = Some(imaging);
        }
        ImagePart {
            bytes,
            last,
            kept_count,
        }
    }

    /// Nobody needs the image under way any more, if there is one.
    pub fn give_up_image(&mut self) {
        if let Some(imaging) = self.imaging.take() {
            for table in self.tables(imaging.level) {
                table.thaw();
            }
        }
    }

    /// The tables in the order in which an image holds them.
    fn tables(&mut self, level: FeatureLevel) -> Vec<&mut dyn Imaged> {
        let mut tables: Vec<&mut dyn Imaged> = vec![
            &mut self.jobs.rows,
            &mut self.finished.rows,
            &mut self.places.addresses,
            &mut self.places.contexts,
            &mut self.edges.rows,
            &mut self.edges.ended,
            &mut self.edges.dropped,
            &mut self.sessions.sessions,
            &mut self.sessions.replies,
            &mut self.workers,
        ];
        if holds_waits(level) {
            tables.push(&mut self.waits.rows);
        }
        if holds_letters(level) {
            tables.push(&mut self.letters.rows);
            tables.push(&mut self.letters.attempts);
            tables.push(&mut self.pauses.rows);
        }
        if holds_limits(level) {
            tables.push(&mut self.accounts.limits);
            tables.push(&mut self.breakers.rows);
        }
        if holds_cache(level) {
            tables.push(&mut self.places.traces);
            tables.push(&mut self.cache.published);
            tables.push(&mut self.cache.invalid);
            tables.push(&mut self.cache.outdated);
            tables.push(&mut self.cache.marks);
            tables.push(&mut self.cache.budget);
        }
        if holds_roles(level) {
            tables.push(&mut self.access.roles);
            tables.push(&mut self.access.workers);
            tables.push(&mut self.access.sessions);
        }
        if holds_edits(level) {
            tables.push(&mut self.edits.rows);
            tables.push(&mut self.edits.parts);
            tables.push(&mut self.history.rows);
        }
        if holds_batches(level) {
            tables.push(&mut self.batches.rows);
        }
        if holds_fitting(level) {
            tables.push(&mut self.fitting.needs);
            tables.push(&mut self.fitting.offers);
        }
        if holds_sources(level) {
            tables.push(&mut self.sources.rows);
            tables.push(&mut self.sources.budget);
        }
        tables
    }
}
