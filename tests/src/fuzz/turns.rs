//! The bytes are what the world does to one node: its clients, its clock, its operator, its
//! disk, and strangers that connect to it.

use precentor_core::action::Action;
use precentor_core::command::Command;
use precentor_core::config::Config;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::entry::{HardState, LogEntry};
use precentor_core::event::{Event, Now, Order};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, NodeId, RequestId, Sequence, SessionId, Ticket};
use precentor_core::principal::Principal;
use precentor_core::request::Request;
use precentor_core::snapshot::{Snapshot, SnapshotParts};
use precentor_core::time::Span;
use precentor_core::wire::hello::WireVersion;
use precentor_core::wire::message;

/// Things that happen in one input, at most.
const THINGS_MAX: usize = 256;
/// What a step of the clock is, in milliseconds.
const STEP_MS: u64 = 10;

/// Takes bytes from the front.
struct Bytes<'d>(&'d [u8]);

impl<'d> Bytes<'d> {
    fn one(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// As many as a length in front of them says, or as there are.
    fn some(&mut self) -> Option<&'d [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (some, rest) = rest.split_at(length);
        self.0 = rest;
        Some(some)
    }
}

/// One voter alone, and its disk, which does all at once.
#[derive(Clone)]
struct Lone {
    driver: Driver,
    now: Now,
    back: Vec<Event>,
    hard_state: HardState,
    entries: Vec<LogEntry>,
    snapshot: Option<Snapshot>,
    parts: SnapshotParts,
    tickets: u64,
    answered: u64,
}

#[derive(Default)]
struct Acts(Vec<Action>);

impl Host for Acts {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

fn config() -> Config {
    Config::new(ClusterId([7; 16]), NodeId(1), vec![NodeId(1)], 1)
}

impl Lone {
    fn new() -> Lone {
        let now = Now::default();
        let driver = Driver::recover(config(), Recovered::default(), now);
        let mut lone = Lone {
            driver: driver.expect("a new disk can be started with"),
            now,
            back: Vec::new(),
            hard_state: HardState::default(),
            entries: Vec::new(),
            snapshot: None,
            parts: SnapshotParts::default(),
            tickets: 0,
            answered: 0,
        };
        lone.pass(200);
        lone
    }

    fn pass(&mut self, steps: u64) {
        for _ in 0..steps {
            self.now.time = self.now.time + Span::from_ms(STEP_MS);
            self.turn(None);
        }
    }

    fn turn(&mut self, event: Option<Event>) {
        self.back.extend(event);
        let mut acts = Acts::default();
        let events = std::mem::take(&mut self.back);
        self.driver.turn(self.now, events, &mut acts);
        for action in acts.0 {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => {
                self.hard_state = write.hard_state.unwrap_or(self.hard_state);
                if write.reset.is_some() {
                    self.entries.clear();
                }
                if let Some(from) = write.truncate_from {
                    self.entries.retain(|entry| entry.index < from);
                }
                self.entries.extend_from_slice(&write.entries);
                self.back.push(Event::Durable { write: write.id });
            }
            Action::Answer { .. } => self.answered += 1,
            Action::SaveSnapshot(part) => {
                if let Some(snapshot) = self.parts.add(part) {
                    let index = snapshot.meta.index;
                    self.snapshot = Some(snapshot);
                    self.back.push(Event::SnapshotSaved { index });
                }
            }
            Action::CompactLog { up_to } => self.entries.retain(|entry| entry.index > up_to),
            Action::KeepRequest { number, .. } => self.back.push(Event::RequestKept { number }),
            _ => {}
        }
    }

    fn restart(&mut self) {
        let recovered = Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.clone(),
            ..Recovered::default()
        };
        let driver = Driver::recover(config(), recovered, self.now);
        self.driver = driver.expect("a node starts with what it wrote");
        self.back.clear();
        self.parts = SnapshotParts::default();
        self.pass(200);
    }

    fn ask(&mut self, request: Request) {
        self.tickets += 1;
        let event = Event::Client {
            ticket: Ticket(self.tickets),
            principal: Principal("client".into()),
            request,
        };
        self.turn(Some(event));
    }

    /// Something happens; none if the bytes are over.
    fn happen(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.one()? % 9 {
            0 => self.pass(u64::from(bytes.one()?)),
            1 => {
                if let Ok(request) = postcard::from_bytes::<Request>(bytes.some()?) {
                    self.ask(request);
                }
            }
            // More of them are read than of whole requests.
            2 | 3 => {
                let session = SessionId(u64::from(bytes.one()?));
                let sequence = Sequence(u64::from(bytes.one()?));
                if let Ok(command) = postcard::from_bytes::<Command>(bytes.some()?) {
                    self.ask(Request::Propose {
                        request: (session.0 > 0).then_some(RequestId { session, sequence }),
                        acknowledged: Sequence(0),
                        command,
                    });
                }
            }
            4 => self.turn(Some(Event::Order(Order::Snapshot))),
            5 => {
                let to = Some(NodeId(u64::from(bytes.one()?)));
                self.turn(Some(Event::Order(Order::HandOver { to })));
            }
            6 => {
                let peer = NodeId(2 + u64::from(bytes.one()?) % 2);
                let supports = FeatureLevel::LATEST;
                self.turn(Some(Event::PeerUp { peer, supports }));
            }
            7 => {
                let from = NodeId(2 + u64::from(bytes.one()?) % 2);
                if let Ok(message) = message::decode(bytes.some()?, WireVersion::SECOND) {
                    self.turn(Some(Event::Peer { from, message }));
                }
            }
            _ => self.restart(),
        }
        Some(())
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Answers to clients.
    pub answered: u64,
    /// Jobs that were accepted.
    pub accepted: u64,
}

/// The bytes are what happens to a node, one thing after the other.
///
/// # Panics
/// If the node does, its state contradicts itself, two of it do different things, or it
/// cannot start again.
pub fn turns(data: &[u8]) -> Seen {
    let (mut one, mut other) = (Lone::new(), Lone::new());
    for lone in [&mut one, &mut other] {
        let mut bytes = Bytes(data);
        for _ in 0..THINGS_MAX {
            if lone.happen(&mut bytes).is_none() {
                break;
            }
        }
        lone.pass(50);
        lone.driver.view().queue().check();
    }
    let hash = |lone: &Lone| lone.driver.view().state_hash();
    assert_eq!(hash(&one), hash(&other), "two of it differ");
    assert_eq!(one.answered, other.answered, "two of it differ");
    assert!(one.answered <= one.tickets, "one answer to each, at most");
    one.restart();
    let view = one.driver.view();
    view.queue().check();
    Seen {
        answered: one.answered,
        accepted: view.queue().last_job().0,
    }
}
