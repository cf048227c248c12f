//! For tests: one voter alone, with all that a cluster of the latest level does.

use super::*;
use crate::address::Address;
use crate::command::AuditRecord;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::driver::{Driver, Host, Recovered};
use crate::feature::FeatureLevel;
use crate::ids::{ClusterId, NodeId, WriteId};
use crate::job::{Class, Generator, JobSpec};
use crate::request::Request;

/// One voter alone, whose disk answers at once.
pub(super) struct Alone {
    pub(super) driver: Driver,
    pub(super) now: Now,
    pub(super) answers: Vec<(Ticket, Reply)>,
    durable: Vec<WriteId>,
    pub(super) audit: Vec<AuditRecord>,
}

struct Acts<'a>(&'a mut Vec<Action>);

impl Host for Acts<'_> {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

impl Alone {
    pub(super) fn new() -> Alone {
        let config = Config::new(ClusterId([7; 16]), NodeId(1), vec![NodeId(1)], 1);
        let now = Now::default();
        let driver = Driver::recover(config, Recovered::default(), now).unwrap();
        let mut alone = Alone {
            driver,
            now,
            answers: Vec::new(),
            durable: Vec::new(),
            audit: Vec::new(),
        };
        alone.pass(2_000);
        assert!(alone.driver.view().0.queue().level() >= FeatureLevel::LATEST);
        alone
    }

    pub(super) fn turn(&mut self, events: Vec<Event>) {
        let mut actions = Vec::new();
        let done = std::mem::take(&mut self.durable);
        let done = done.into_iter().map(|write| Event::Durable { write });
        let events = done.chain(events);
        self.driver.turn(self.now, events, &mut Acts(&mut actions));
        for action in actions {
            match action {
                Action::Write(batch) => self.durable.push(batch.id),
                Action::Answer { ticket, reply } => self.answers.push((ticket, reply)),
                Action::Audit(record) => self.audit.push(*record),
                _ => {}
            }
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.now.time = self.now.time + Span::from_ms(10);
            self.turn(Vec::new());
        }
    }

    pub(super) fn ask(&mut self, name: &str, request: Request) {
        let event = Event::Client {
            ticket: Ticket(1),
            principal: Principal(name.into()),
            request,
        };
        self.turn(vec![event]);
    }

    pub(super) fn reply(&mut self, name: &str, request: Request) -> Reply {
        self.answers.clear();
        self.ask(name, request);
        for _ in 0..10 {
            self.turn(Vec::new());
        }
        self.answers.pop().expect("it is answered").1
    }

    pub(super) fn propose(&mut self, name: &str, command: Command) -> Reply {
        self.reply(name, propose(command))
    }

    pub(super) fn applied(&self) -> LogIndex {
        self.driver.view().0.applied()
    }
}

pub(super) fn propose(command: Command) -> Request {
    Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command,
    }
}

/// A request for the context of a file in project `p`.
pub(super) fn item(path: &str, input: u64) -> JobSpec {
    JobSpec {
        address: Address::parse(&format!("ucxl://p/{path}")).unwrap(),
        kind: ContextKind::File,
        subject: Digest::of(&input.to_le_bytes()),
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::of(&[]),
        },
        class: Class::Normal,
        tenant: "team".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}
