//! The thread that owns a node's `Driver`. Everything that happens to the node
//! reaches it as mail; it gathers what is there into one turn, lets the host
//! perform what came of it, and sleeps until the driver's deadline. It decides
//! nothing of the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use precentor_core::action::Violation;
use precentor_core::driver::Driver;
use precentor_core::event::{Event, Now, Order};
use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_core::request::{Refusal, Reply, Request};
use precentor_core::status::{RoleName, Status};
use precentor_core::time::Time;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::host::NodeHost;
use crate::space::{Space, asks_for_more};

#[cfg(test)]
mod tests;

/// Events of one turn at most: a turn must end soon enough for a heartbeat.
const TURN_EVENTS_MAX: usize = 256;
/// How often a node's status is published for those who watch it.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// When to ask again a node whose disk is almost full.
const DISK_FULL_RETRY_AFTER_MS: u64 = 1_000;

/// What a node's mailbox holds.
#[derive(Debug)]
pub enum Mail {
    /// Something of the node's own disk.
    Event(Event),
    /// Something of a peer, with the room that it takes in the mailbox: given
    /// back when the turn is over, which is how a busy node slows its peers.
    Peer(Event, Option<OwnedSemaphorePermit>),
    /// A client asks.
    Client {
        /// Who.
        principal: Principal,
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// Wake up and look at the switch.
    Switched,
}

/// An answer, or the news that there will be none from this node.
#[derive(Debug)]
pub struct Answered {
    /// What the caller called its question.
    pub tag: u64,
    /// Which node answers.
    pub node: NodeId,
    /// The answer; none if the node stopped with the question open.
    pub reply: Option<Reply>,
}

/// Where a caller takes its answers from. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Answers {
    /// A thread.
    Thread(Sender<Answered>),
    /// A task, which bounds what it has open.
    Task(UnboundedSender<Answered>),
}

/// Where an answer goes. Sends exactly one: dropped unused, it says that the
/// node is gone.
#[derive(Debug)]
pub struct ReplyTo {
    to: Option<Answers>,
    tag: u64,
    node: NodeId,
}

impl ReplyTo {
    /// To `to`, under the caller's own name for the question.
    #[must_use]
    pub fn new(to: Answers, tag: u64, node: NodeId) -> ReplyTo {
        ReplyTo {
            to: Some(to),
            tag,
            node,
        }
    }

    /// Answers.
    pub fn answer(mut self, reply: Reply) {
        self.send(Some(reply));
    }

    fn send(&mut self, reply: Option<Reply>) {
        if let Some(to) = self.to.take() {
            let answered = Answered {
                tag: self.tag,
                node: self.node,
                reply,
            };
            // A caller that is gone needs no answer.
            match to {
                Answers::Thread(to) => drop(to.send(answered)),
                Answers::Task(to) => drop(to.send(answered)),
            }
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.send(None);
    }
}

/// The way to a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailbox {
    node: NodeId,
    to: Sender<Mail>,
}

impl Mailbox {
    /// A mailbox and what reads it. It has no bound of its own: clients bound
    /// what they have open, peers the room they were given, the disk what it
    /// was asked to do.
    #[must_use]
    pub fn new(node: NodeId) -> (Mailbox, Receiver<Mail>) {
        let (to, from) = unbounded();
        (Mailbox { node, to }, from)
    }

    /// Whose it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Leaves mail. A node that is gone loses it, as a dead machine would.
    pub fn post(&self, mail: Mail) {
        let _ = self.to.send(mail);
    }

    /// Asks; the answer comes to `answers` under `tag`.
    pub fn ask(&self, principal: Principal, request: Request, answers: &Answers, tag: u64) {
        let reply = ReplyTo::new(answers.clone(), tag, self.node);
        self.post(Mail::Client {
            principal,
            request,
            reply,
        });
    }
}

/// Tells a node's threads whether they may go on.
#[derive(Debug, Clone, Default)]
pub struct Switch {
    retire: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    kill: Arc<AtomicBool>,
}

impl Switch {
    /// End as soon as others can do without this node: a leader hands over first.
    pub fn retire(&self) {
        self.retire.store(true, Ordering::Release);
    }

    /// End in order: finish what is under way on disk.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// End as a killed process does: write nothing more.
    pub fn kill(&self) {
        self.kill.store(true, Ordering::Release);
        self.stop();
    }

    /// Is the node to end as soon as others can do without it?
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.retire.load(Ordering::Acquire)
    }

    /// Must the pilot end?
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Must nothing be written any more?
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.kill.load(Ordering::Acquire)
    }
}

/// Gets a node's status whenever it may have changed.
pub type Watcher = Box<dyn FnMut(Status) + Send>;

/// Why a pilot ended by itself.
pub type Ended = Option<Violation>;

/// What a pilot is made of.
pub struct Pilot {
    /// The core.
    pub driver: Driver,
    /// What performs its actions.
    pub host: NodeHost,
    /// What it reads.
    pub mail: Receiver<Mail>,
    /// Whether it goes on.
    pub switch: Switch,
    /// Who watches.
    pub watcher: Watcher,
    /// The room on its disk, if that is looked after.
    pub space: Option<Space>,
}

impl std::fmt::Debug for Pilot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pilot of {}", self.host.node())
    }
}

impl Pilot {
    /// Starts the thread. It ends when switched off, or with the violation
    /// that forbids the node to go on.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(self) -> std::io::Result<JoinHandle<Ended>> {
        let name = format!("pilot-{}", self.host.node());
        thread::Builder::new().name(name).spawn(move || self.run())
    }

    fn run(mut self) -> Ended {
        let started = Instant::now();
        let mut events: Vec<Event> = Vec::with_capacity(TURN_EVENTS_MAX);
        let mut rooms: Vec<OwnedSemaphorePermit> = Vec::new();
        let mut published = started;
        // The first turn tells the driver that time has begun.
        let mut wake = true;
        let mut retiring = false;
        loop {
            let now = now(started);
            if wake {
                events.push(Event::Wake);
            }
            self.driver.turn(now, events.drain(..), &mut self.host);
            self.host.end_turn();
            rooms.clear();
            if let Some(violation) = self.driver.halted() {
                return Some(violation.clone());
            }
            if published.elapsed() >= PUBLISH_EVERY || wake {
                published = Instant::now();
                (self.watcher)(self.driver.view().status());
            }
            if self.driver.may_end(now.time) {
                return None;
            }
            let due = [self.driver.deadline(), self.driver.ends_by()];
            let due = due.into_iter().flatten().min();
            let deadline = due.map(|time| instant(started, time));
            let first = self.receive(deadline)?;
            let mut next = first;
            while let Some(mail) = next {
                self.open(mail, &mut events, &mut rooms);
                next = if events.len() < TURN_EVENTS_MAX {
                    self.mail.try_recv().ok()
                } else {
                    None
                };
            }
            if self.switch.is_off() {
                return None;
            }
            if self.switch.is_retiring() && !retiring {
                retiring = true;
                events.push(Event::Order(Order::Stop));
            }
            wake = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        }
    }

    /// The next mail, or nothing at the deadline; `None` when the node is to end.
    fn receive(&self, deadline: Option<Instant>) -> Option<Option<Mail>> {
        if self.switch.is_off() {
            return None;
        }
        match deadline {
            None => self.mail.recv().ok().map(Some),
            Some(deadline) => match self.mail.recv_deadline(deadline) {
                Ok(mail) => Some(Some(mail)),
                Err(RecvTimeoutError::Timeout) => Some(None),
                Err(RecvTimeoutError::Disconnected) => None,
            },
        }
    }

    /// Would this node have to keep it, on a disk that is almost full? What it does not have
    /// to keep it sends to the one that has.
    fn has_no_room(&self, request: &Request) -> bool {
        let keeps = matches!(request, Request::QueueLocally { .. })
            || self.driver.view().role() == RoleName::Leader;
        keeps && self.space.as_ref().is_some_and(Space::is_low)
    }

    fn open(&mut self, mail: Mail, events: &mut Vec<Event>, rooms: &mut Vec<OwnedSemaphorePermit>) {
        match mail {
            Mail::Event(event) => events.push(event),
            Mail::Peer(event, room) => {
                events.push(event);
                rooms.extend(room);
            }
            Mail::Client {
                principal,
                request,
                reply,
            } => {
                if asks_for_more(&request) && self.has_no_room(&request) {
                    return reply.answer(Reply::Refused {
                        reason: Refusal::DiskFull,
                        retry_after_ms: DISK_FULL_RETRY_AFTER_MS,
                    });
                }
                let ticket = self.host.open_ticket(reply);
                events.push(Event::Client {
                    ticket,
                    principal,
                    request,
                });
            }
            Mail::Switched => {}
        }
    }
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        time: Time(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}

/// When the driver's `time` is. Rounded up, so that it is due when we wake.
fn instant(started: Instant, time: Time) -> Instant {
    started
        .checked_add(Duration::from_micros(time.0.saturating_add(1)))
        .unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600))
}
