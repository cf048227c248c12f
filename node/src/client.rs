//! Asks a cluster for things and does not let go until there is an outcome:
//! follows hints to the leader, and sends the same request again, under the
//! same id, when a node refuses, forgets or dies. Knows no command's meaning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_core::request::{Refusal, Reply, Request};

use crate::net::Line;
use crate::pilot::{Answered, Answers, Mailbox};

#[cfg(test)]
mod tests;

/// The wait before a request goes to another node that may know no better. It doubles
/// with every few tries: an election is over soon, or takes its time.
const RESEND: Duration = Duration::from_millis(3);
/// Tries until it doubles, and how often it does.
const TRIES_PER_DOUBLING: u64 = 4;
const DOUBLINGS_MAX: u64 = 5;
/// The longest wait that a node's advice can cause.
const RESEND_MAX: Duration = Duration::from_secs(1);

/// A way to a node.
#[derive(Debug, Clone)]
pub enum Door {
    /// It is in this process.
    Here(Mailbox),
    /// It is somewhere else.
    There(Line),
}

impl Door {
    /// Whose it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        match self {
            Door::Here(mailbox) => mailbox.node(),
            Door::There(line) => line.node(),
        }
    }

    fn ask(&self, principal: Principal, request: Request, answers: &Answers, tag: u64) {
        match self {
            Door::Here(mailbox) => mailbox.ask(principal, request, answers, tag),
            Door::There(line) => line.ask(principal, request, answers, tag),
        }
    }
}

/// The ways to the nodes, and which of these led when last heard. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: RwLock<BTreeMap<NodeId, Door>>,
    /// A node's number; 0 is none.
    leader: AtomicU64,
    /// The same.
    passed_over: AtomicU64,
}

impl Directory {
    /// There is a way to a node.
    pub fn add(&self, door: Door) {
        self.0
            .nodes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(door.node(), door);
    }

    /// There is none any more.
    pub fn remove(&self, node: NodeId) {
        self.0
            .nodes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&node);
    }

    /// The node that led when last heard.
    #[must_use]
    pub fn leader_hint(&self) -> Option<NodeId> {
        match self.0.leader.load(Ordering::Relaxed) {
            0 => None,
            number => Some(NodeId(number)).filter(|node| !self.passes_over(*node)),
        }
    }

    /// A node is no member of the cluster, and would only wait for a leader that never comes:
    /// it is asked for nothing but itself. None: all are asked again.
    pub fn pass_over(&self, node: Option<NodeId>) {
        let number = node.map_or(0, |node| node.0);
        self.0.passed_over.store(number, Ordering::Relaxed);
    }

    /// Is it asked for nothing but itself?
    #[must_use]
    pub fn passes_over(&self, node: NodeId) -> bool {
        self.0.passed_over.load(Ordering::Relaxed) == node.0
    }

    pub(crate) fn suggest(&self, leader: NodeId) {
        self.0.leader.store(leader.0, Ordering::Relaxed);
    }

    /// A node does not answer: if it was said to lead, nobody is any more.
    fn doubt(&self, node: NodeId) {
        let (order, none) = (Ordering::Relaxed, 0);
        let _ = self.0.leader.compare_exchange(node.0, none, order, order);
    }

    /// The way to the supposed leader, or else the `n`th there is.
    fn choose(&self, wanted: Option<NodeId>, n: u64) -> Option<Door> {
        let nodes = self.0.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = wanted.and_then(|node| nodes.get(&node)) {
            return Some(door.clone());
        }
        let asked = || nodes.values().filter(|door| !self.passes_over(door.node()));
        let count = asked().count() as u64;
        let n = usize::try_from(n.checked_rem(count)?).unwrap_or_default();
        asked().nth(n).cloned()
    }
}

/// What a caller calls a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u64);

#[derive(Debug)]
struct Open {
    principal: Principal,
    request: Request,
    tries: u64,
    /// When to send it again; none while it is with a node.
    resend: Option<Instant>,
    /// A node that had it said nothing, or that it does not know.
    unknown: bool,
    /// Why a node that did nothing did nothing, the last time.
    refused: Option<Refusal>,
}

/// What is known of a request that was let go of without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered {
    /// It certainly has had no effect, and will have none.
    pub unchanged: bool,
    /// Why a node that did nothing did nothing, the last time.
    pub refused: Option<Refusal>,
}

/// One caller's requests on their way: many at a time, each with one outcome.
#[derive(Debug)]
pub struct Courier {
    directory: Directory,
    principal: Principal,
    answers: Answers,
    inbox: Receiver<Answered>,
    open: BTreeMap<Tag, Open>,
    next: u64,
}

impl Courier {
    /// A courier for `principal`.
    #[must_use]
    pub fn new(directory: Directory, principal: Principal) -> Courier {
        let (answers, inbox) = unbounded();
        Courier {
            directory,
            principal,
            answers: Answers::Thread(answers),
            inbox,
            open: BTreeMap::new(),
            next: 0,
        }
    }

    /// Sends a request.
    pub fn send(&mut self, request: Request) -> Tag {
        self.send_for(self.principal.clone(), request, None)
    }

    /// Sends a request for somebody else, to a certain node at first.
    pub fn send_for(
        &mut self,
        principal: Principal,
        request: Request,
        first: Option<NodeId>,
    ) -> Tag {
        self.next += 1;
        let tag = Tag(self.next);
        self.open.insert(
            tag,
            Open {
                principal,
                request,
                tries: 0,
                resend: None,
                unknown: false,
                refused: None,
            },
        );
        self.deliver(tag, first);
        tag
    }

    /// How many requests have no outcome yet.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Lets go of a request, whose outcome is of no more interest. Says what is known
    /// of it; nothing if it is not open.
    pub fn forget(&mut self, tag: Tag) -> Option<Unanswered> {
        let open = self.open.remove(&tag)?;
        Some(Unanswered {
            // One that is with a node may have an effect yet.
            unchanged: open.resend.is_some() && !open.unknown,
            refused: open.refused,
        })
    }

    /// Where raw answers arrive, for those who also wait for other things. Hand
    /// each to [`Courier::take`].
    #[must_use]
    pub fn inbox(&self) -> Receiver<Answered> {
        self.inbox.clone()
    }

    /// When [`Courier::resend_due`] wants to be called next.
    #[must_use]
    pub fn next_resend(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.resend).min()
    }

    /// Sends again what has waited long enough.
    pub fn resend_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Tag> = self
            .open
            .iter()
            .filter(|(_, open)| open.resend.is_some_and(|at| at <= now))
            .map(|(tag, _)| *tag)
            .collect();
        for tag in due {
            self.deliver(tag, None);
        }
    }

    /// Looks at an answer: the outcome of a request, or nothing if the request
    /// goes on its way again.
    pub fn take(&mut self, answered: Answered) -> Option<(Tag, Reply)> {
        let Answered { tag, node, reply } = answered;
        let tag = Tag(tag);
        // An answer to what was forgotten, or answered by another node meanwhile.
        let open = self.open.get_mut(&tag)?;
        match &reply {
            None | Some(Reply::Unknown) => open.unknown = true,
            Some(Reply::Refused { reason, .. }) => open.refused = Some(*reason),
            Some(_) => {}
        }
        match reply {
            // The node is gone: another one may know the next leader.
            None => {
                self.directory.doubt(node);
                self.later(tag, Duration::ZERO)
            }
            Some(Reply::NotLeader {
                leader: Some(leader),
            }) if leader != node => {
                self.directory.suggest(leader);
                let hops = self.open.get(&tag).map_or(0, |open| open.tries);
                // Hints that lead in a circle must not keep both nodes busy.
                if hops % 4 == 3 {
                    self.later(tag, Duration::ZERO)
                } else {
                    self.deliver(tag, Some(leader))
                }
            }
            Some(Reply::NotLeader { .. } | Reply::Unknown) => self.later(tag, Duration::ZERO),
            // Over in a moment: the next leader is there already, or almost.
            Some(Reply::Refused {
                reason: Refusal::Yielding,
                ..
            }) => self.later(tag, Duration::ZERO),
            Some(Reply::Refused {
                reason: _,
                retry_after_ms,
            }) => {
                self.later(tag, Duration::from_millis(retry_after_ms).min(RESEND_MAX));
            }
            Some(
                reply @ (Reply::Applied { .. }
                | Reply::Invalid { .. }
                | Reply::Work(_)
                | Reply::Finished { .. }
                | Reply::Read { .. }
                | Reply::Status(_)
                | Reply::Membership { .. }
                | Reply::ChangeRefused(_)
                | Reply::HandedOver { .. }
                | Reply::HandOverFailed(_)
                | Reply::Recovered(_)
                | Reply::RecoveryFailed(_)
                | Reply::Denied(_)
                | Reply::Awaited { .. }
                | Reply::QueuedLocally),
            ) => {
                if matches!(reply, Reply::Applied { .. } | Reply::Work(_)) {
                    self.directory.suggest(node);
                }
                self.open.remove(&tag);
                return Some((tag, reply));
            }
        }
        None
    }

    /// The next outcome, or nothing by `until`.
    pub fn receive(&mut self, until: Instant) -> Option<(Tag, Reply)> {
        loop {
            self.resend_due();
            let wait_until = self.next_resend().map_or(until, |at| at.min(until));
            match self.inbox.recv_deadline(wait_until) {
                Ok(answered) => {
                    if let Some(outcome) = self.take(answered) {
                        return Some(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return None,
                Err(RecvTimeoutError::Timeout) => {}
                // This courier holds a sender itself.
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Asks one thing and waits for it; other outcomes that arrive meanwhile are lost.
    pub fn call(&mut self, request: Request, patience: Duration) -> Option<Reply> {
        let until = Instant::now() + patience;
        let wanted = self.send(request);
        loop {
            match self.receive(until) {
                Some((tag, reply)) if tag == wanted => return Some(reply),
                Some(_) => {}
                None => {
                    self.forget(wanted);
                    return None;
                }
            }
        }
    }

    /// Sends it again after this time at the least.
    fn later(&mut self, tag: Tag, wait: Duration) {
        if let Some(open) = self.open.get_mut(&tag) {
            let doublings = (open.tries / TRIES_PER_DOUBLING).min(DOUBLINGS_MAX);
            open.resend = Some(Instant::now() + wait.max(RESEND * (1 << doublings)));
        }
    }

    fn deliver(&mut self, tag: Tag, to: Option<NodeId>) {
        let Some(open) = self.open.get_mut(&tag) else {
            return;
        };
        open.tries += 1;
        open.resend = None;
        // Every second try ignores the hint, which may be what is wrong.
        let hint = if open.tries % 2 == 1 {
            self.directory.leader_hint()
        } else {
            None
        };
        match self.directory.choose(to.or(hint), open.tries) {
            Some(door) => {
                door.ask(
                    open.principal.clone(),
                    open.request.clone(),
                    &self.answers,
                    tag.0,
                );
            }
            None => self.later(tag, Duration::ZERO),
        }
    }
}
