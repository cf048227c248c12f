//! Asks a cluster for things and does not let go until there is an outcome:
//! follows hints to the leader, and sends the same request again, under the
//! same id, when a node refuses, forgets or dies. Knows no command's meaning.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};

use crate::pilot::{Answered, Mailbox};

#[cfg(test)]
mod tests;

/// The wait before a request goes to another node that may know no better.
const RESEND: Duration = Duration::from_millis(3);
/// The longest wait that a node's advice can cause.
const RESEND_MAX: Duration = Duration::from_secs(1);

/// The nodes that are running, and which of them led when last heard. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: RwLock<BTreeMap<NodeId, Mailbox>>,
    /// A node's number; 0 is none.
    leader: AtomicU64,
}

impl Directory {
    /// A node is up.
    pub fn add(&self, mailbox: Mailbox) {
        self.0
            .nodes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(mailbox.node(), mailbox);
    }

    /// A node is gone.
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
            number => Some(NodeId(number)),
        }
    }

    fn suggest(&self, leader: NodeId) {
        self.0.leader.store(leader.0, Ordering::Relaxed);
    }

    /// The supposed leader, or else the `n`th node that is up.
    fn choose(&self, wanted: Option<NodeId>, n: u64) -> Option<Mailbox> {
        let nodes = self.0.nodes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(mailbox) = wanted.and_then(|node| nodes.get(&node)) {
            return Some(mailbox.clone());
        }
        let count = nodes.len() as u64;
        let n = usize::try_from(n.checked_rem(count)?).unwrap_or_default();
        nodes.values().nth(n).cloned()
    }
}

/// What a caller calls a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub u64);

#[derive(Debug)]
struct Open {
    request: Request,
    tries: u64,
    /// When to send it again; none while it is with a node.
    resend: Option<Instant>,
}

/// One caller's requests on their way: many at a time, each with one outcome.
#[derive(Debug)]
pub struct Courier {
    directory: Directory,
    principal: Principal,
    answers: Sender<Answered>,
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
            answers,
            inbox,
            open: BTreeMap::new(),
            next: 0,
        }
    }

    /// Sends a request.
    pub fn send(&mut self, request: Request) -> Tag {
        self.next += 1;
        let tag = Tag(self.next);
        self.open.insert(
            tag,
            Open {
                request,
                tries: 0,
                resend: None,
            },
        );
        self.deliver(tag, None);
        tag
    }

    /// How many requests have no outcome yet.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Lets go of a request, whose outcome is of no more interest.
    pub fn forget(&mut self, tag: Tag) {
        self.open.remove(&tag);
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
        self.open.get(&tag)?;
        match reply {
            // The node is gone: another one may know the next leader.
            None => self.later(tag, RESEND),
            Some(Reply::NotLeader {
                leader: Some(leader),
            }) if leader != node => {
                self.directory.suggest(leader);
                let hops = self.open.get(&tag).map_or(0, |open| open.tries);
                // Hints that lead in a circle must not keep both nodes busy.
                if hops % 4 == 3 {
                    self.later(tag, RESEND)
                } else {
                    self.deliver(tag, Some(leader))
                }
            }
            Some(Reply::NotLeader { .. } | Reply::Unknown) => self.later(tag, RESEND),
            Some(Reply::Refused {
                reason: _,
                retry_after_ms,
            }) => {
                self.later(
                    tag,
                    Duration::from_millis(retry_after_ms).clamp(RESEND, RESEND_MAX),
                );
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

    fn later(&mut self, tag: Tag, wait: Duration) {
        if let Some(open) = self.open.get_mut(&tag) {
            open.resend = Some(Instant::now() + wait);
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
            Some(mailbox) => {
                mailbox.ask(
                    self.principal.clone(),
                    open.request.clone(),
                    &self.answers,
                    tag.0,
                );
            }
            None => open.resend = Some(Instant::now() + RESEND),
        }
    }
}
