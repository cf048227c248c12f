//! What every component is lent for the length of one call: the moment, the
//! configuration, randomness, the log with its disk, and the way out.

use crate::config::Config;
use crate::entries::Entries;
use crate::entry::LogEntry;
use crate::event::Now;
use crate::ids::{LogIndex, Term};
use crate::log::{Log, LogStart};
use crate::marks::{Mark, Marks};
use crate::message::{Body, Message};
use crate::outbox::Outbox;
use crate::random::Random;
use crate::snapshot::SnapshotMeta;
use crate::time::Time;

/// The circumstances of a call.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The moment.
    pub now: Now,
    /// Who this node is.
    pub config: &'a Config,
    /// This node's randomness.
    pub random: &'a mut Random,
    /// What happened.
    pub marks: &'a mut Marks,
    /// The log in memory. Changed by this type's methods alone.
    pub log: &'a mut Log,
    /// The way to the host.
    pub outbox: &'a mut Outbox,
}

impl Cx<'_> {
    /// The monotonic moment.
    #[must_use]
    pub fn time(&self) -> Time {
        self.now.time
    }

    /// Adds an entry of this node's own to the log. It is written, and can be
    /// sent, with all others of the turn, by [`Cx::seal`].
    pub fn append(&mut self, entry: LogEntry) {
        self.log.gather(entry);
    }

    /// What was appended one by one becomes one batch: shared by the log, the
    /// write and the messages to all followers.
    pub fn seal(&mut self) {
        if let Some(batch) = self.log.seal() {
            self.outbox.append(batch);
        }
    }

    /// Adds entries of another node's to the log, in memory and on disk: as many
    /// as are linked to what is before them. Says how many.
    pub fn extend(&mut self, batch: &Entries) -> usize {
        self.seal();
        let taken = self.log.extend(batch);
        if taken > 0 {
            self.outbox.append(batch.beginning(..taken));
        }
        taken
    }

    /// Removes entries from the log, in memory and on disk.
    pub fn truncate(&mut self, from: LogIndex) {
        self.seal();
        let membership = self.log.membership_index();
        #[cfg(feature = "planted-bugs")]
        let undone = (membership, self.log.membership().clone());
        self.outbox.truncate(from);
        self.log.truncate(from);
        #[cfg(feature = "planted-bugs")]
        if self.log.membership_index() < membership
            && self.config.planted(crate::planted::Bug::ConfigNotUndone)
        {
            self.log.keep_undone(undone);
        }
        if self.log.membership_index() < membership {
            self.mark(Mark::MembershipUndone);
        }
    }

    /// A snapshot that is on disk for good takes the whole log's place.
    pub fn reset(&mut self, meta: &SnapshotMeta) {
        let start = LogStart::of(meta);
        self.outbox.reset(start.position);
        *self.log = Log::new(start);
    }

    /// A message of this node.
    #[must_use]
    pub fn message(&self, term: Term, body: Body) -> Message {
        Message {
            term,
            incarnation: self.config.incarnation,
            body,
        }
    }

    /// Something interesting happened.
    pub fn mark(&mut self, mark: Mark) {
        self.marks.hit(mark);
    }
}
