//! The state as bytes: what a snapshot holds. Only what cannot be computed is
//! in it; every index is made anew, and nothing of it is believed unseen: the
//! bytes come from a disk or a peer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Rules;
use crate::digest::{Digest, StateHash};
use crate::feature::FeatureLevel;
use crate::ids::{JobId, LogIndex, Sequence, SessionId, WorkerId};
use crate::job::{Offer, WorkerSpec};
use crate::principal::Principal;

use super::access::{Access, RolesRow, holds_roles};
use super::accounts::{Accounts, LimitRow, holds_limits};
use super::batches::{Batches, Together, holds_batches};
use super::breakers::{BreakerRow, Breakers};
use super::contexts::{Context, Place, PlaceId, Places, Trace};
use super::dependencies::{Edge, EdgeKey, Edges, Ended};
use super::edits::{EditedRow, Edits, PartRow, holds_edits};
use super::eviction::BudgetRow;
use super::finished::{FinishedJob, FinishedJobs};
use super::fitting::{Fitting, NeedsRow, holds_fitting};
use super::frozen::write;
use super::history::{History, PastRow};
use super::invalidation::{Cache, Mark, Publication, holds_cache};
use super::jobs::{Job, Jobs, Phase};
use super::letters::{AttemptRow, Letter, Letters, holds_letters};
use super::pauses::{PauseRow, Pauses};
use super::rows::Rows;
use super::sessions::{Reply, Session, Sessions};
use super::sources::{SourceRow, Sources, holds_sources};
use super::table::Table;
use super::timers::Timer;
use super::waits::{Waits, holds_waits};
use super::{Head, QueueManager, tag};

/// The layout of a state at the founding level, which every program reads.
const FOUNDING_LAYOUT: u32 = 1;
/// The layout since there are levels: the level stands before the rules.
const LEVELS_LAYOUT: u32 = 2;

/// What an image of a state at a level begins with.
pub(super) fn beginning(level: FeatureLevel) -> Vec<u8> {
    if level == FeatureLevel::FOUNDING {
        return FOUNDING_LAYOUT.to_le_bytes().to_vec();
    }
    let mut bytes = LEVELS_LAYOUT.to_le_bytes().to_vec();
    bytes.extend_from_slice(&level.0.to_le_bytes());
    bytes
}

/// Why bytes are not a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another layout.
    #[error(
        "the image has layout {found}; this version reads {FOUNDING_LAYOUT} to {LEVELS_LAYOUT}"
    )]
    Version {
        /// Which.
        found: u32,
    },
    /// Not the bytes of any state.
    #[error("the image cannot be decoded ({reason}); take the snapshot of another node")]
    Malformed {
        /// What the decoder said.
        reason: String,
    },
    /// The parts contradict each other.
    #[error("the image contradicts itself ({reason}); take the snapshot of another node")]
    Inconsistent {
        /// Which rule is broken where.
        reason: String,
    },
}

#[derive(Serialize)]
struct ImageRef<'a> {
    rules: &'a Rules,
    head: &'a Head,
    jobs: &'a Rows<JobId, Job>,
    finished: &'a Rows<JobId, FinishedJob>,
    addresses: &'a Rows<PlaceId, Place>,
    contexts: &'a Rows<PlaceId, Context>,
    edges: &'a Rows<EdgeKey, Edge>,
    ended: &'a Rows<JobId, Ended>,
    dropped: &'a Rows<JobId, ()>,
    sessions: &'a Rows<SessionId, Session>,
    replies: &'a Rows<(SessionId, Sequence), Reply>,
    workers: &'a Rows<WorkerId, WorkerSpec>,
}

#[derive(Deserialize)]
struct Image {
    rules: Rules,
    head: Head,
    jobs: Rows<JobId, Job>,
    finished: Rows<JobId, FinishedJob>,
    addresses: Rows<PlaceId, Place>,
    contexts: Rows<PlaceId, Context>,
    edges: Rows<EdgeKey, Edge>,
    ended: Rows<JobId, Ended>,
    dropped: Rows<JobId, ()>,
    sessions: Rows<SessionId, Session>,
    replies: Rows<(SessionId, Sequence), Reply>,
    workers: Rows<WorkerId, WorkerSpec>,
    #[serde(skip)]
    waits: Rows<(JobId, SessionId), u32>,
    #[serde(skip)]
    operated: Operated,
    #[serde(skip)]
    limited: Limited,
    #[serde(skip)]
    cached: Cached,
    #[serde(skip)]
    known: Known,
    #[serde(skip)]
    edited: Edited,
    #[serde(skip)]
    together: Rows<JobId, Together>,
    #[serde(skip)]
    fitting: Fitted,
    #[serde(skip)]
    kept: Kept,
}

/// What a state holds since queues are operated.
#[derive(Deserialize, Default)]
struct Operated {
    letters: Rows<JobId, Letter>,
    attempts: Rows<(JobId, u32), AttemptRow>,
    pauses: Rows<Digest, PauseRow>,
}

/// What a state holds since work is limited.
#[derive(Deserialize, Default)]
struct Limited {
    limits: Rows<Digest, LimitRow>,
    breakers: Rows<Digest, BreakerRow>,
}

/// What a state holds since requests choose what they take from the cache.
#[derive(Deserialize, Default)]
struct Cached {
    traces: Rows<PlaceId, Trace>,
    published: Rows<PlaceId, Publication>,
    invalid: Rows<PlaceId, LogIndex>,
    outdated: Rows<JobId, LogIndex>,
    marks: Rows<LogIndex, Mark>,
    budget: Rows<u8, BudgetRow>,
}

/// What a state holds since access is checked.
#[derive(Deserialize, Default)]
struct Known {
    roles: Rows<Digest, RolesRow>,
    workers: Rows<WorkerId, Principal>,
    sessions: Rows<SessionId, Principal>,
}

/// What a state holds since contexts are edited.
#[derive(Deserialize, Default)]
struct Edited {
    rows: Rows<PlaceId, EditedRow>,
    parts: Rows<(PlaceId, Digest), PartRow>,
    history: Rows<LogIndex, PastRow>,
}

/// What a state holds since workers are fitted.
#[derive(Deserialize, Default)]
struct Fitted {
    needs: Rows<Digest, NeedsRow>,
    offers: Rows<WorkerId, Offer>,
}

/// What a state holds since sources are kept.
#[derive(Deserialize, Default)]
struct Kept {
    sources: Rows<Digest, SourceRow>,
    budget: Rows<u8, u64>,
}

impl QueueManager {
    /// The whole state as bytes, in one go: for tools and tests. A node takes
    /// it in parts, for it must not stand still (see [`super::parts`]).
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let image = ImageRef {
            rules: &self.rules,
            head: &self.head,
            jobs: self.jobs.rows.rows(),
            finished: self.finished.rows.rows(),
            addresses: self.places.addresses.rows(),
            contexts: self.places.contexts.rows(),
            edges: self.edges.rows.rows(),
            ended: self.edges.ended.rows(),
            dropped: self.edges.dropped.rows(),
            sessions: self.sessions.sessions.rows(),
            replies: self.sessions.replies.rows(),
            workers: self.workers.rows(),
        };
        let mut bytes = beginning(self.level);
        write(&mut bytes, &image);
        if holds_waits(self.level) {
            write(&mut bytes, self.waits.rows.rows());
        }
        if holds_letters(self.level) {
            write(&mut bytes, self.letters.rows.rows());
            write(&mut bytes, self.letters.attempts.rows());
            write(&mut bytes, self.pauses.rows.rows());
        }
        if holds_limits(self.level) {
            write(&mut bytes, self.accounts.limits.rows());
            write(&mut bytes, self.breakers.rows.rows());
        }
        if holds_cache(self.level) {
            write(&mut bytes, self.places.traces.rows());
            write(&mut bytes, self.cache.published.rows());
            write(&mut bytes, self.cache.invalid.rows());
            write(&mut bytes, self.cache.outdated.rows());
            write(&mut bytes, self.cache.marks.rows());
            write(&mut bytes, self.cache.budget.rows());
        }
        if holds_roles(self.level) {
            write(&mut bytes, self.access.roles.rows());
            write(&mut bytes, self.access.workers.rows());
            write(&mut bytes, self.access.sessions.rows());
        }
        if holds_edits(self.level) {
            write(&mut bytes, self.edits.rows.rows());
            write(&mut bytes, self.edits.parts.rows());
            write(&mut bytes, self.history.rows.rows());
        }
        if holds_batches(self.level) {
            write(&mut bytes, self.batches.rows.rows());
        }
        if holds_fitting(self.level) {
            write(&mut bytes, self.fitting.needs.rows());
            write(&mut bytes, self.fitting.offers.rows());
        }
        if holds_sources(self.level) {
            write(&mut bytes, self.sources.rows.rows());
            write(&mut bytes, self.sources.budget.rows());
        }
        write(&mut bytes, &self.state_hash());
        bytes
    }

    /// The state of an image.
    ///
    /// # Errors
    /// If the bytes are no state that this version could have reached. They
    /// never cause a panic.
    pub fn from_image(bytes: &[u8]) -> Result<QueueManager, DecodeError> {
        let malformed = |reason: &str| DecodeError::Malformed {
            reason: reason.to_owned(),
        };
        let (version, bytes) = bytes
            .split_first_chunk()
            .ok_or_else(|| malformed("it is shorter than its version"))?;
        let (level, bytes) = match u32::from_le_bytes(*version) {
            FOUNDING_LAYOUT => (FeatureLevel::FOUNDING, bytes),
            LEVELS_LAYOUT => {
                let (level, bytes) = bytes
                    .split_first_chunk()
                    .ok_or_else(|| malformed("it is shorter than its level"))?;
                let level = FeatureLevel(u16::from_le_bytes(*level));
                if level <= FeatureLevel::FOUNDING {
                    return Err(malformed("its level needs no layout of its own"));
                }
                (level, bytes)
            }
            found => return Err(DecodeError::Version { found }),
        };
        let undecodable = |error: postcard::Error| malformed(&error.to_string());
        let (mut image, mut bytes) =
            postcard::take_from_bytes::<Image>(bytes).map_err(undecodable)?;
        if holds_waits(level) {
            (image.waits, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_letters(level) {
            (image.operated, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_limits(level) {
            (image.limited, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_cache(level) {
            (image.cached, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_roles(level) {
            (image.known, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_edits(level) {
            (image.edited, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_batches(level) {
            (image.together, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_fitting(level) {
            (image.fitting, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        if holds_sources(level) {
            (image.kept, bytes) = postcard::take_from_bytes(bytes).map_err(undecodable)?;
        }
        let (hash, rest) = postcard::take_from_bytes::<StateHash>(bytes).map_err(undecodable)?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow its end"));
        }
        let queue = image
            .build(level)
            .map_err(|reason| DecodeError::Inconsistent { reason })?;
        if queue.state_hash() != hash {
            return Err(DecodeError::Inconsistent {
                reason: format!(
                    "its hash says {:032x} and its content {:032x}",
                    hash.0,
                    queue.state_hash().0
                ),
            });
        }
        Ok(queue)
    }
}

impl Image {
    /// Makes the indexes. What they rely on is checked before, the rest after.
    fn build(self, level: FeatureLevel) -> Result<QueueManager, String> {
        self.check_names()?;
        let mut queue = QueueManager::new(self.rules);
        queue.head = self.head;
        queue.level = level;
        queue.finished = FinishedJobs::new(Table::from_rows(tag::FINISHED, self.finished));
        queue.places = Places::new(
            Table::from_rows(tag::ADDRESSES, self.addresses),
            Table::from_rows(tag::CONTEXTS, self.contexts),
            Table::from_rows(tag::TRACES, self.cached.traces),
        );
        queue.cache = Cache {
            published: Table::from_rows(tag::PUBLISHED, self.cached.published),
            invalid: Table::from_rows(tag::INVALID, self.cached.invalid),
            outdated: Table::from_rows(tag::OUTDATED, self.cached.outdated),
            marks: Table::from_rows(tag::MARKS, self.cached.marks),
            budget: Table::from_rows(tag::BUDGET, self.cached.budget),
        };
        queue.edges = Edges::new(
            Table::from_rows(tag::EDGES, self.edges),
            Table::from_rows(tag::ENDED, self.ended),
            Table::from_rows(tag::DROPPED, self.dropped),
        );
        queue.sessions = Sessions {
            sessions: Table::from_rows(tag::SESSIONS, self.sessions),
            replies: Table::from_rows(tag::REPLIES, self.replies),
        };
        queue.workers = Table::from_rows(tag::WORKERS, self.workers);
        queue.waits = Waits::new(Table::from_rows(tag::WAITS, self.waits));
        queue.pauses = Pauses::new(Table::from_rows(tag::PAUSES, self.operated.pauses));
        queue.accounts = Accounts::new(Table::from_rows(tag::LIMITS, self.limited.limits));
        queue.breakers = Breakers::new(Table::from_rows(tag::BREAKERS, self.limited.breakers));
        queue.access = Access::new(
            Table::from_rows(tag::ROLES, self.known.roles),
            Table::from_rows(tag::WORKER_OWNERS, self.known.workers),
            Table::from_rows(tag::SESSION_OWNERS, self.known.sessions),
        );
        queue.edits = Edits::new(
            Table::from_rows(tag::EDITED, self.edited.rows),
            Table::from_rows(tag::PARTS, self.edited.parts),
        );
        queue.history = History::new(Table::from_rows(tag::HISTORY, self.edited.history));
        queue.batches = Batches::new(Table::from_rows(tag::TOGETHER, self.together));
        queue.fitting = Fitting::new(
            Table::from_rows(tag::NEEDS, self.fitting.needs),
            Table::from_rows(tag::OFFERS, self.fitting.offers),
        );
        queue.sources = Sources::new(
            Table::from_rows(tag::SOURCES, self.kept.sources),
            Table::from_rows(tag::SOURCE_BUDGET, self.kept.budget),
        );
        queue.jobs = Jobs::new(tag::JOBS);
        let mut letters = self.operated.letters;
        for letter in letters.values_mut() {
            letter.origin = queue.jobs.origin((*letter.origin).clone());
        }
        queue.letters = Letters::new(
            Table::from_rows(tag::LETTERS, letters),
            Table::from_rows(tag::ATTEMPTS, self.operated.attempts),
        );
        queue.note_causes();
        queue.hopeless = queue.find_hopeless();
        for (id, mut job) in self.jobs.into_rows() {
            // Equal origins are one again.
            job.origin = queue.jobs.origin(Arc::unwrap_or_clone(job.origin));
            let other = queue.places.change_slots(job.place, |slots| {
                let slot = match job.phase() {
                    Phase::Parked => &mut slots.parked,
                    Phase::Waiting | Phase::Delayed { .. } | Phase::Ready | Phase::Running(_) => {
                        &mut slots.current
                    }
                };
                slot.replace(id)
            });
            if let Some(other) = other {
                return Err(format!(
                    "{other} and {id} are both the {:?} one",
                    job.phase()
                ));
            }
            queue.places.hold(job.place);
            queue.sources.hold(&job.subject, id);
            queue.jobs.insert(id, job, &mut queue.timers);
        }
        queue.accounts.used = queue.count_used();
        for (_, job) in queue.finished.rows.iter() {
            queue.places.hold(job.place);
        }
        for (_, edge) in queue.edges.rows.iter() {
            queue.places.hold_edge(edge.place);
        }
        for place in queue.edits.places().chain(queue.history.places()) {
            queue.places.hold(place);
        }
        for (id, session) in queue.sessions.sessions.iter() {
            let at = session.used.plus_ms(queue.rules.session_ttl_ms);
            queue.timers.set(at, Timer::Session(*id));
        }
        queue.consistency()?;
        Ok(queue)
    }

    /// Everything that is named must be there, or an index would panic.
    fn check_names(&self) -> Result<(), String> {
        let place =
            |place: PlaceId, by: &dyn std::fmt::Display| match self.addresses.contains(&place) {
                true => Ok(()),
                false => Err(format!("{place:?} is named by {by} and not there")),
            };
        for (digest, row) in self.kept.sources.iter() {
            row.check(digest)?;
        }
        let mut tokens = std::collections::BTreeSet::new();
        for (id, job) in self.jobs.iter() {
            place(job.place, id)?;
            if let Phase::Running(lease) = job.phase()
                && !tokens.insert((lease.worker, lease.token))
            {
                return Err(format!("{id} runs by a token of another"));
            }
        }
        for (id, job) in self.finished.iter() {
            place(job.place, id)?;
        }
        for (key, edge) in self.edges.iter() {
            place(edge.place, &key.dependent)?;
        }
        for (at, context) in self.contexts.iter() {
            place(*at, &context.job)?;
        }
        for (at, trace) in self.cached.traces.iter() {
            place(*at, &trace.job)?;
        }
        for (at, _) in self.edited.rows.iter() {
            place(*at, &"an edit")?;
        }
        for ((at, _), _) in self.edited.parts.iter() {
            place(*at, &"an edited part")?;
        }
        for (index, row) in self.edited.history.iter() {
            place(row.place(), index)?;
        }
        Ok(())
    }
}
