//! `FailoverManager`: how far this node's leadership is established, the one
//! gate "may we serve?", and the requests that wait for it. Knows nothing of
//! messages, logs or commands: it judges, it does not speak.

use std::collections::VecDeque;

use crate::ids::{Term, Ticket};
use crate::limits::WAITING_REQUESTS_MAX;
use crate::principal::Principal;
use crate::request::Request;
use crate::status::PhaseName;
use crate::time::{Span, Time};

/// A request that no leader has taken yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Where the answer goes.
    pub ticket: Ticket,
    /// Who asks.
    pub principal: Principal,
    /// What.
    pub request: Request,
    /// When to give up.
    pub deadline: Time,
}

/// How far this node's leadership is established (QUEUE L4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Following,
    /// Elected; the term's first entry is not applied.
    Barrier {
        term: Term,
    },
    /// Requests and results are taken; workers get time to come back.
    Reclaiming,
    Serving,
}

/// The gate.
#[derive(Clone, Debug)]
pub struct FailoverManager {
    phase: Phase,
    waiting: VecDeque<Waiting>,
}

impl Default for FailoverManager {
    fn default() -> FailoverManager {
        FailoverManager {
            phase: Phase::Following,
            waiting: VecDeque::new(),
        }
    }
}

impl FailoverManager {
    /// The phase's name; `yielding` is the cluster's word on its leadership.
    #[must_use]
    pub fn phase(&self, yielding: bool) -> PhaseName {
        match self.phase {
            Phase::Following => PhaseName::Following,
            Phase::Barrier { .. } => PhaseName::Barrier,
            Phase::Reclaiming | Phase::Serving if yielding => PhaseName::Yielding,
            Phase::Reclaiming => PhaseName::Reclaiming,
            Phase::Serving => PhaseName::Serving,
        }
    }

    /// May requests and results be taken? Only when the barrier is applied:
    /// before that this node may not know all that is committed (Raft §8).
    #[must_use]
    pub fn may_serve(&self) -> bool {
        matches!(self.phase, Phase::Reclaiming | Phase::Serving)
    }

    /// Does this node lead, whether it serves yet or not?
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.phase != Phase::Following
    }

    /// This node was elected.
    pub fn on_elected(&mut self, term: Term) {
        self.phase = Phase::Barrier { term };
    }

    /// A leader's first entry was applied. True if it is this leadership's.
    pub fn on_took_over(&mut self, term: Term) -> bool {
        let ours = self.phase == Phase::Barrier { term };
        if ours {
            self.phase = Phase::Reclaiming;
        }
        ours
    }

    /// The workers are back, or had their time. True if that is news.
    pub fn on_reclaimed(&mut self) -> bool {
        let news = self.phase == Phase::Reclaiming;
        if news {
            self.phase = Phase::Serving;
        }
        news
    }

    /// This node leads no more.
    pub fn on_deposed(&mut self) {
        self.phase = Phase::Following;
    }

    /// Keeps a request until there is a leader.
    ///
    /// # Errors
    /// Its ticket, if too many wait: it must be answered.
    pub fn hold(&mut self, waiting: Waiting) -> Result<(), Ticket> {
        if self.waiting.len() as u64 >= WAITING_REQUESTS_MAX {
            return Err(waiting.ticket);
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Everything that waits, in order of arrival.
    pub fn take_waiting(&mut self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.waiting)
    }

    /// Does anything wait?
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The requests whose time is over. All wait equally long, so the first is the oldest.
    pub fn expire(&mut self, now: Time) -> Vec<Waiting> {
        let mut expired = Vec::new();
        while self
            .waiting
            .front()
            .is_some_and(|first| first.deadline <= now)
        {
            expired.extend(self.waiting.pop_front());
        }
        expired
    }

    /// When the oldest request's time is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.waiting.front().map(|first| first.deadline)
    }
}

/// How soon a refused client should ask again.
pub const RETRY_AFTER: Span = Span::from_ms(50);
