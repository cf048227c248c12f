//! QueueManager: the replicated state. Committed entries go in by
//! [`QueueManager::apply`]; what comes out is equal on every replica.
//!
//! It knows no node, role, random number, clock or message: whatever a replica
//! could differ in cannot reach it. Time is what entries say. Who works is what
//! entries say: silence is judged by the leader, outside.
//!
//! How to read it: `jobs` (what is not finished, with its indexes), `contexts`
//! (what is known of an address), `dependencies` (edges), `admission` (what a
//! `Submit` does), `attempts` (claims and what becomes of them), `cancel` (jobs
//! that are taken back), `endings` (how an end spreads), `sessions`, `waits` (which
//! session waits for what), `accounts` and `breakers` (what may run at a time), `asking`,
//! `cache`, `invalidation` and `eviction` (what answers without a run), `sources` (what
//! contexts are made of), `access` (who
//! may do what), `edits` and `history` (what people say of contexts, and what was),
//! `audit`, `image` and `parts` (the state as bytes), `eras` (what a restored cluster
//! gives out), `consistency`. Below them:
//! `table` (rows and their hash), `rows` (how rows stand in memory).

mod access;
mod accounts;
mod admission;
mod asking;
mod attempts;
mod audit;
mod batches;
mod breakers;
mod cache;
mod cancel;
mod consistency;
mod contexts;
mod dependencies;
mod edits;
mod endings;
mod eras;
mod eviction;
mod execute;
mod explain;
mod finished;
mod fitting;
mod frozen;
mod history;
mod image;
mod invalidation;
mod jobs;
mod leases;
mod letters;
mod listing;
mod order;
mod parts;
mod pauses;
mod reads;
mod redrive;
mod retry;
mod rows;
mod sessions;
mod sources;
mod table;
mod timers;
mod waiters;
mod waits;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::access::Denial;
use crate::bytes::Bytes;
use crate::command::{AuditRecord, Command, Entry, Outcome, Rejection};
use crate::config::Rules;
use crate::digest::{Digest, StateHash};
use crate::feature::FeatureLevel;
use crate::ids::{FinishNumber, JobId, LogIndex, RequestId, Sequence, SessionId, Term, WorkerId};
use crate::job::WorkerSpec;
use crate::membership::MembershipEntry;
use crate::time::Stamp;

use self::access::Access;
use self::accounts::Accounts;
pub use self::audit::digest_of_record;
use self::batches::Batches;
use self::breakers::Breakers;
use self::cache::Hopeless;
use self::contexts::{PlaceId, Places};
use self::dependencies::Edges;
use self::edits::Edits;
pub use self::eras::ERA_NUMBERS;
pub use self::eviction::{CachedAt, Evictable};
use self::finished::FinishedJobs;
use self::fitting::Fitting;
use self::history::History;
pub use self::image::DecodeError;
use self::invalidation::Cache;
use self::jobs::Jobs;
use self::letters::Letters;
pub use self::order::{Opening, QueueKey, ReadyJobs};
pub use self::parts::ImagePart;
use self::parts::Imaging;
use self::pauses::Pauses;
pub use self::reads::{BodyCursor, Unfinished};
use self::sessions::{Seen, Sessions};
pub use self::sources::SourceChanges;
use self::sources::Sources;
use self::table::{Table, hash_of};
use self::timers::Timers;
pub use self::waits::Followed;
use self::waits::Waits;

/// Names each table in the state hash.
mod tag {
    pub(super) const HEAD: u64 = 0;
    pub(super) const JOBS: u64 = 1;
    pub(super) const FINISHED: u64 = 2;
    pub(super) const ADDRESSES: u64 = 3;
    pub(super) const CONTEXTS: u64 = 4;
    pub(super) const EDGES: u64 = 5;
    pub(super) const ENDED: u64 = 6;
    pub(super) const DROPPED: u64 = 7;
    pub(super) const SESSIONS: u64 = 8;
    pub(super) const REPLIES: u64 = 9;
    pub(super) const WORKERS: u64 = 10;
    pub(super) const LEVEL: u64 = 11;
    pub(super) const WAITS: u64 = 12;
    pub(super) const LETTERS: u64 = 13;
    pub(super) const ATTEMPTS: u64 = 14;
    pub(super) const PAUSES: u64 = 15;
    pub(super) const LIMITS: u64 = 16;
    pub(super) const BREAKERS: u64 = 17;
    pub(super) const PUBLISHED: u64 = 18;
    pub(super) const INVALID: u64 = 19;
    pub(super) const OUTDATED: u64 = 20;
    pub(super) const MARKS: u64 = 21;
    pub(super) const BUDGET: u64 = 22;
    pub(super) const TRACES: u64 = 23;
    pub(super) const ROLES: u64 = 24;
    pub(super) const WORKER_OWNERS: u64 = 25;
    pub(super) const SESSION_OWNERS: u64 = 26;
    pub(super) const EDITED: u64 = 27;
    pub(super) const PARTS: u64 = 28;
    pub(super) const HISTORY: u64 = 29;
    pub(super) const TOGETHER: u64 = 30;
    pub(super) const NEEDS: u64 = 31;
    pub(super) const OFFERS: u64 = 32;
    pub(super) const SOURCES: u64 = 33;
    pub(super) const SOURCE_BUDGET: u64 = 34;
}

/// What came of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The reply, equal on every replica.
    pub outcome: Outcome,
    /// The link of the audit chain.
    pub audit: AuditRecord,
    /// The body of an accepted result with its digest: the state keeps only
    /// the digest.
    pub publication: Option<(Digest, Bytes)>,
    /// What became of the sources that are kept.
    pub sources: SourceChanges,
    /// Workers that ran a job which was cancelled: they are to stop.
    pub stopped: Vec<WorkerId>,
}

/// The single values of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Head {
    applied: LogIndex,
    now: Stamp,
    /// The term of the last `TakeOver`.
    takeover: Term,
    /// The last number given to an accepted item.
    accepted: JobId,
    /// The next number for an address.
    next_place: PlaceId,
    /// The number of the last job that finished.
    finished: FinishNumber,
    /// The digest of the last audit record.
    audit: Digest,
    totals: Totals,
}

/// How many jobs ended how, since the cluster's founding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Totals {
    done: u64,
    from_cache: u64,
    dead: u64,
    cancelled: u64,
    dependency_failed: u64,
    superseded: u64,
}

/// The replicated state machine of the queue.
#[derive(Clone, Debug)]
pub struct QueueManager {
    rules: Rules,
    head: Head,
    /// Which rules are in force.
    level: FeatureLevel,
    jobs: Jobs,
    finished: FinishedJobs,
    places: Places,
    edges: Edges,
    sessions: Sessions,
    waits: Waits,
    letters: Letters,
    hopeless: Hopeless,
    pauses: Pauses,
    accounts: Accounts,
    breakers: Breakers,
    cache: Cache,
    access: Access,
    edits: Edits,
    history: History,
    batches: Batches,
    fitting: Fitting,
    sources: Sources,
    workers: Table<WorkerId, WorkerSpec>,
    timers: Timers,
    /// Workers that are to stop by the entry that is being applied.
    stopped: Vec<WorkerId>,
    /// An image that is being taken. No part of the replicated state.
    imaging: Option<Imaging>,
    #[cfg(feature = "planted-bugs")]
    planted: Option<crate::planted::Bug>,
}

impl QueueManager {
    /// An empty queue under these rules.
    #[must_use]
    pub fn new(rules: Rules) -> QueueManager {
        QueueManager {
            rules,
            head: Head {
                applied: LogIndex(0),
                now: Stamp(0),
                takeover: Term(0),
                accepted: JobId(0),
                next_place: PlaceId(1),
                finished: FinishNumber(0),
                audit: Digest::ZERO,
                totals: Totals::default(),
            },
            level: FeatureLevel::FOUNDING,
            jobs: Jobs::new(tag::JOBS),
            finished: FinishedJobs::new(Table::new(tag::FINISHED)),
            places: Places::new(
                Table::new(tag::ADDRESSES),
                Table::new(tag::CONTEXTS),
                Table::new(tag::TRACES),
            ),
            edges: Edges::new(
                Table::new(tag::EDGES),
                Table::new(tag::ENDED),
                Table::new(tag::DROPPED),
            ),
            sessions: Sessions {
                sessions: Table::new(tag::SESSIONS),
                replies: Table::new(tag::REPLIES),
            },
            waits: Waits::new(Table::new(tag::WAITS)),
            letters: Letters::new(Table::new(tag::LETTERS), Table::new(tag::ATTEMPTS)),
            hopeless: Hopeless::default(),
            pauses: Pauses::new(Table::new(tag::PAUSES)),
            accounts: Accounts::new(Table::new(tag::LIMITS)),
            breakers: Breakers::new(Table::new(tag::BREAKERS)),
            cache: Cache::new(),
            access: Access::new(
                Table::new(tag::ROLES),
                Table::new(tag::WORKER_OWNERS),
                Table::new(tag::SESSION_OWNERS),
            ),
            edits: Edits::new(Table::new(tag::EDITED), Table::new(tag::PARTS)),
            history: History::new(Table::new(tag::HISTORY)),
            batches: Batches::new(Table::new(tag::TOGETHER)),
            fitting: Fitting::new(Table::new(tag::NEEDS), Table::new(tag::OFFERS)),
            sources: Sources::new(Table::new(tag::SOURCES), Table::new(tag::SOURCE_BUDGET)),
            workers: Table::new(tag::WORKERS),
            timers: Timers::default(),
            stopped: Vec::new(),
            imaging: None,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// Applies a committed entry.
    ///
    /// # Panics
    /// If `index` is not after every index applied before: entries are applied
    /// in order, each once.
    pub fn apply(&mut self, index: LogIndex, term: Term, entry: Entry) -> Applied {
        assert!(
            index > self.head.applied,
            "{index} is applied after {}",
            self.head.applied
        );
        self.head.applied = index;
        self.head.now = self.head.now.max(entry.t);
        let asked = audit::words_of_command(&entry.command);
        let (outcome, publication) = self.answer(index, term, &entry);
        let text = audit::words(&asked, &entry, &outcome);
        let audit = self.chain(index, term, entry.wall_ms, &entry.principal, text);
        Applied {
            outcome,
            audit,
            publication,
            sources: std::mem::take(&mut self.sources.changes),
            stopped: std::mem::take(&mut self.stopped),
        }
    }

    /// A membership was committed: the queue knows no nodes, but every entry
    /// leaves its link in the audit chain.
    ///
    /// # Panics
    /// If `index` is not after every index applied before.
    pub fn apply_membership(
        &mut self,
        index: LogIndex,
        term: Term,
        entry: &MembershipEntry,
    ) -> AuditRecord {
        assert!(
            index > self.head.applied,
            "{index} is applied after {}",
            self.head.applied
        );
        self.head.applied = index;
        let text = format!("members {}: {}", entry.membership, entry.why);
        self.chain(index, term, entry.wall_ms, &entry.principal, text)
    }

    /// The hash of the whole state, kept up to date by every change.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        let tables = [
            self.jobs.rows.hash(),
            self.finished.rows.hash(),
            self.places.addresses.hash(),
            self.places.contexts.hash(),
            self.edges.rows.hash(),
            self.edges.ended.hash(),
            self.edges.dropped.hash(),
            self.sessions.sessions.hash(),
            self.sessions.replies.hash(),
            self.workers.hash(),
            // Empty, and so without weight, until the levels that they came with.
            self.waits.rows.hash(),
            self.letters.rows.hash(),
            self.letters.attempts.hash(),
            self.pauses.rows.hash(),
            self.accounts.limits.hash(),
            self.breakers.rows.hash(),
            self.places.traces.hash(),
            self.cache.published.hash(),
            self.cache.invalid.hash(),
            self.cache.outdated.hash(),
            self.cache.marks.hash(),
            self.cache.budget.hash(),
            self.access.roles.hash(),
            self.access.workers.hash(),
            self.access.sessions.hash(),
            self.edits.rows.hash(),
            self.edits.parts.hash(),
            self.history.rows.hash(),
            self.batches.rows.hash(),
            self.fitting.needs.hash(),
            self.fitting.offers.hash(),
            self.sources.rows.hash(),
            self.sources.budget.hash(),
        ];
        let head = hash_of(tag::HEAD, &(&self.rules, &self.head));
        // Programs that know no levels compute the hash of the first one without it.
        let level = match self.level {
            FeatureLevel::FOUNDING => 0,
            level => hash_of(tag::LEVEL, &level),
        };
        let first = head.wrapping_add(level);
        StateHash(tables.into_iter().fold(first, u128::wrapping_add))
    }

    /// Which rules are in force.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        self.level
    }

    /// Makes this replica break a rule, for the simulator to notice.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::planted::Bug) {
        self.planted = Some(bug);
    }

    #[cfg(feature = "planted-bugs")]
    fn is_planted(&self, bug: crate::planted::Bug) -> bool {
        self.planted == Some(bug)
    }

    /// Sees whether the entry may be executed, and answers a resend without effect.
    fn answer(
        &mut self,
        index: LogIndex,
        term: Term,
        entry: &Entry,
    ) -> (Outcome, Option<(Digest, Bytes)>) {
        if term < self.head.takeover {
            let current = self.head.takeover;
            return (
                Outcome::Rejected(Rejection::OldTerm { term, current }),
                None,
            );
        }
        // Before anything of a session is touched: another's stays as it is.
        if let Some(denial) = self.session_denial(&entry.principal, entry.request) {
            return (Outcome::Rejected(Rejection::Denied(denial)), None);
        }
        let Some(request) = entry.request else {
            return match self.entry_denial(entry) {
                Some(denial) => (Outcome::Rejected(Rejection::Denied(denial)), None),
                None => self.execute(index, term, entry),
            };
        };
        if !self.checks_access() {
            self.note_session(request.session, &entry.principal);
        }
        self.touch_session(request.session, entry.acknowledged);
        let command = audit::digest_of_command(&entry.command);
        match self.sessions.look(request, command) {
            #[cfg(feature = "planted-bugs")]
            Seen::Answered(_) if self.is_planted(crate::planted::Bug::ForgetSession) => {}
            #[cfg(feature = "planted-bugs")]
            Seen::Refused(Rejection::UnknownSession { .. })
                if self.is_planted(crate::planted::Bug::ExpiredSessionServes) =>
            {
                return self.execute(index, term, entry);
            }
            Seen::Answered(outcome) => return (outcome, None),
            Seen::Refused(rejection) => return (Outcome::Rejected(rejection), None),
            Seen::Never => {}
        }
        // What was done while it was allowed keeps its answer; a denial has none to keep.
        if let Some(denial) = self.entry_denial(entry) {
            return (Outcome::Rejected(Rejection::Denied(denial)), None);
        }
        let (outcome, publication) = self.execute(index, term, entry);
        self.sessions.keep(request, command, outcome.clone());
        (outcome, publication)
    }

    /// Why an entry may not be executed by who may do what as of now, if it may not.
    fn entry_denial(&self, entry: &Entry) -> Option<Denial> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::RolesIgnoredAtApply) {
            return None;
        }
        self.command_denial(&entry.principal, &entry.command)
    }

    fn touch_session(&mut self, session: SessionId, acknowledged: Sequence) {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::SessionUseUnnoticed) {
            return;
        }
        let (now, ttl_ms) = (self.head.now, self.rules.session_ttl_ms);
        self.sessions
            .touch(session, acknowledged, now, ttl_ms, &mut self.timers);
    }

    /// What is kept as the reply to a request that was done with this very
    /// command: that is final, and what another entry for it would come to.
    #[must_use]
    pub fn kept_reply(&self, request: RequestId, command: &Command) -> Option<Outcome> {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ForgetSession) {
            return None;
        }
        // Most requests are new, and need no digest for this.
        if !self.sessions.has_reply(request) {
            return None;
        }
        match self
            .sessions
            .look(request, audit::digest_of_command(command))
        {
            Seen::Answered(outcome) => Some(outcome),
            Seen::Refused(_) | Seen::Never => None,
        }
    }
}
