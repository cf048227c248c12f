//! What every component is lent for the length of one call: the moment, the
//! configuration, randomness, the log with its disk, and the way out.

use crate::config::Config;
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
    /// The log in memory. Changed by [`Cx::append`] and [`Cx::truncate`] alone.
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

    /// Adds an entry to the log, in memory and on disk.
    pub fn append(&mut self, entry: LogEntry) {
        self.outbox.append(entry.clone());
        self.log.append(entry);
    }

    /// Removes entries from the log, in memory and on disk.
    pub fn truncate(&mut self, from: LogIndex) {
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
