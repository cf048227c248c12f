//! A whole node of ours behind its only door, the queue's apply with it: what
//! consensus alone leaves out.

use anyhow::Result;
use precentor_core::action::Action;
use precentor_core::address::Address;
use precentor_core::command::Command;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::event::{Event, Now};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{RequestId, Sequence, SessionId, Ticket};
use precentor_core::job::{Class, Generator, JobSpec};
use precentor_core::message::Message;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::status::{PhaseName, RoleName};
use precentor_core::time::Span;

use super::cluster::{Replica, TICK_MS};
use super::consensus::{config_of, node_id, number_of};
use super::disk::Disk;

/// A node, its disk, and what is to be told to it.
pub(super) struct Node {
    driver: Driver,
    now: Now,
    desk: Desk,
    events: Vec<Event>,
    session: SessionId,
    next_ticket: u64,
}

/// Carries out what the node wants; what a disk would report is reported next.
#[derive(Default)]
struct Desk {
    disk: Disk,
    said: Vec<(usize, Message)>,
    back: Vec<Event>,
    refused: u64,
}

impl Host for Desk {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => {
                let write = self.disk.write(write);
                self.back.push(Event::Durable { write });
            }
            Action::Say { to, message } => self.said.push((number_of(to), message)),
            Action::Answer { reply, .. } => {
                self.refused += u64::from(!matches!(reply, Reply::Applied { .. }));
            }
            Action::ReadLog {
                read,
                from,
                to,
                bytes_max,
            } => {
                let entries = self.disk.read(from, to, bytes_max);
                self.back.push(Event::LogRead { read, entries });
            }
            Action::SaveSnapshot(part) => {
                let index = part.meta.index;
                self.back
                    .extend(part.last.then_some(Event::SnapshotSaved { index }));
            }
            Action::KeepPiece(_)
            | Action::InstallSnapshot { .. }
            | Action::ReadSnapshot { .. }
            | Action::ReadBodies { .. }
            | Action::FindLacking { .. }
            | Action::Work(_)
            | Action::KeepRequest { .. }
            | Action::DropRequest { .. } => unreachable!("nobody lags behind a snapshot here"),
            Action::CompactLog { .. }
            | Action::PutBlob { .. }
            | Action::DropSource { .. }
            | Action::Audit(_) => {}
            Action::Halt(violation) => panic!("halted: {violation}"),
        }
    }
}

impl Node {
    fn ask(&mut self, request: Option<RequestId>, acknowledged: Sequence, command: Command) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.events.push(Event::Client {
            ticket,
            principal: Principal("bench".into()),
            request: Request::Propose {
                request,
                acknowledged,
                command,
            },
        });
    }
}

/// A request for one context, whose entry is as long as the others'.
fn job(number: u64) -> JobSpec {
    let address: Address = format!("ucxl://bench/{number:0>148}")
        .parse()
        .expect("an address");
    JobSpec {
        address,
        kind: ContextKind::File,
        subject: Digest::ZERO,
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "t".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}

impl Replica for Node {
    type Message = Message;

    fn new(number: usize, voters: usize) -> Node {
        let now = Now::default();
        let config = config_of(number, voters);
        let driver = Driver::recover(config, Recovered::default(), now).expect("a new disk");
        Node {
            driver,
            now,
            desk: Desk::default(),
            events: Vec::new(),
            session: SessionId(0),
            next_ticket: 1,
        }
    }

    fn prepare(&mut self) {
        // A session is named after the entry that opens it: the next one.
        self.session = SessionId(self.driver.view().last().index.next().0);
        self.ask(None, Sequence(0), Command::OpenSession);
    }

    fn propose(&mut self, first: u64, count: u64) -> Result<()> {
        for number in first..first + count {
            let request = RequestId {
                session: self.session,
                sequence: Sequence(number + 1),
            };
            let items = vec![job(number)];
            self.ask(Some(request), Sequence(first), Command::Submit { items });
        }
        Ok(())
    }

    fn step(&mut self, from: usize, message: Message) {
        self.events.push(Event::Peer {
            from: node_id(from),
            message,
        });
    }

    fn pass_time(&mut self) {
        self.now.time = self.now.time + Span::from_ms(TICK_MS);
    }

    fn on_link(&mut self, peer: usize, is_up: bool) {
        let peer = node_id(peer);
        self.events.push(match is_up {
            true => Event::PeerUp {
                peer,
                supports: FeatureLevel::FOUNDING,
            },
            false => Event::PeerDown { peer },
        });
    }

    fn turn(&mut self, out: &mut Vec<(usize, Message)>) {
        loop {
            self.driver
                .turn(self.now, self.events.drain(..), &mut self.desk);
            out.append(&mut self.desk.said);
            std::mem::swap(&mut self.events, &mut self.desk.back);
            let view = self.driver.view();
            if self.events.is_empty() && view.applied() == view.commit() {
                assert_eq!(self.desk.refused, 0, "every proposal is applied");
                return;
            }
        }
    }

    fn serves(&self) -> bool {
        let view = self.driver.view();
        view.role() == RoleName::Leader && view.phase() == PhaseName::Serving
    }

    fn commit(&self) -> u64 {
        self.driver.view().commit().0
    }

    fn committed(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        self.desk.disk.bodies(self.driver.view().commit())
    }
}
