//! What was answered to which request, so that a resend takes effect once and
//! gets the same answer. Knows requests by their digest, not by their meaning.

use serde::{Deserialize, Serialize};

use crate::command::{Outcome, Rejection};
use crate::digest::Digest;
use crate::ids::{RequestId, Sequence, SessionId};
use crate::limits::{SESSION_REPLIES_MAX, SESSIONS_MAX};
use crate::time::Stamp;

use super::table::Table;
use super::timers::{Timer, Timers};

/// A client's session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    /// When it was used last.
    pub(super) used: Stamp,
    /// Requests below were answered, and the client has the answers.
    pub(super) floor: Sequence,
    /// How many replies are kept for it.
    pub(super) replies: u64,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// The digest of the command that was sent with the request's id.
    pub(super) command: Digest,
    pub(super) outcome: Outcome,
}

/// What a request's id says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// It is new: do it, and keep the answer.
    Never,
    /// It was done: this was the answer.
    Answered(Outcome),
    /// It may not be done.
    Refused(Rejection),
}

/// All sessions and their replies.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    pub(super) sessions: Table<SessionId, Session>,
    pub(super) replies: Table<(SessionId, Sequence), Reply>,
}

impl Sessions {
    pub(super) fn open(
        &mut self,
        id: SessionId,
        now: Stamp,
        ttl_ms: u64,
        timers: &mut Timers,
    ) -> Result<(), Rejection> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Rejection::Full {
                what: "sessions".into(),
                limit: SESSIONS_MAX,
            });
        }
        let session = Session {
            used: now,
            floor: Sequence(1),
            replies: 0,
        };
        let old = self.sessions.insert(id, session);
        assert!(old.is_none(), "{id} was opened twice");
        timers.set(now.plus_ms(ttl_ms), Timer::Session(id));
        Ok(())
    }

    /// Notes that the session is in use, and forgets the replies that its
    /// client has.
    pub(super) fn touch(
        &mut self,
        id: SessionId,
        acknowledged: Sequence,
        now: Stamp,
        ttl_ms: u64,
        timers: &mut Timers,
    ) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let (used, floor) = (session.used, session.floor);
        if used == now && acknowledged <= floor {
            return;
        }
        let known: Vec<Sequence> = self
            .replies
            .range((id, Sequence(0))..(id, acknowledged))
            .map(|((_, sequence), _)| *sequence)
            .collect();
        for sequence in &known {
            self.replies.remove(&(id, *sequence));
        }
        self.sessions.update(&id, |session| {
            session.used = now;
            session.floor = floor.max(acknowledged);
            session.replies -= known.len() as u64;
        });
        if used != now {
            timers.clear(used.plus_ms(ttl_ms), Timer::Session(id));
            timers.set(now.plus_ms(ttl_ms), Timer::Session(id));
        }
    }

    pub(super) fn look(&self, request: RequestId, command: Digest) -> Seen {
        let RequestId { session, sequence } = request;
        let Some(known) = self.sessions.get(&session) else {
            return Seen::Refused(Rejection::UnknownSession { session });
        };
        if sequence < known.floor {
            return Seen::Refused(Rejection::SequenceForgotten { sequence });
        }
        match self.replies.get(&(session, sequence)) {
            Some(reply) if reply.command == command => Seen::Answered(reply.outcome.clone()),
            Some(_) => Seen::Refused(Rejection::IdempotencyMismatch { sequence }),
            None if known.replies >= SESSION_REPLIES_MAX => {
                Seen::Refused(Rejection::TooManyOutstanding {
                    limit: SESSION_REPLIES_MAX,
                })
            }
            None => Seen::Never,
        }
    }

    /// Is its session known, and nothing known of the request?
    pub(super) fn is_new(&self, request: RequestId) -> bool {
        let session = self.sessions.get(&request.session);
        session.is_some_and(|session| session.floor <= request.sequence) && !self.has_reply(request)
    }

    /// Is there a reply to it, whatever it was sent with?
    pub(super) fn has_reply(&self, request: RequestId) -> bool {
        let key = (request.session, request.sequence);
        self.replies.get(&key).is_some()
    }

    pub(super) fn keep(&mut self, request: RequestId, command: Digest, outcome: Outcome) {
        let key = (request.session, request.sequence);
        let old = self.replies.insert(key, Reply { command, outcome });
        if old.is_none() {
            self.sessions
                .update(&request.session, |session| session.replies += 1);
        }
    }

    /// Ends a session that was not used for its whole time; says how many rows went.
    pub(super) fn expire(&mut self, id: SessionId, ttl_ms: u64, timers: &mut Timers) -> u64 {
        let session = self.sessions.remove(&id);
        let session = session.expect("a session's timer is cleared with the session");
        timers.clear(session.used.plus_ms(ttl_ms), Timer::Session(id));
        let sequences: Vec<Sequence> = self
            .replies
            .range((id, Sequence(0))..=(id, Sequence(u64::MAX)))
            .map(|((_, sequence), _)| *sequence)
            .collect();
        for sequence in &sequences {
            self.replies.remove(&(id, *sequence));
        }
        1 + sequences.len() as u64
    }
}
