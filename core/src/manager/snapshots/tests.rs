use crate::action::Action;
use crate::command::Command;
use crate::config::Config;
use crate::driver::{Driver, Host, Recovered};
use crate::event::{Event, Now, Order};
use crate::ids::{ClusterId, LogIndex, NodeId, Sequence, Ticket, WriteId};
use crate::principal::Principal;
use crate::request::Request;
use crate::snapshot::{SnapshotPart, SnapshotParts};
use crate::time::{Span, Time};

use super::PART_PAUSE;

/// A lone voter whose writes are durable when it says so.
struct Lone {
    driver: Driver,
    time: Time,
    desk: Desk,
    tickets: u64,
}

#[derive(Default)]
struct Desk {
    written: Option<WriteId>,
    parts: Vec<SnapshotPart>,
}

impl Host for Desk {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => self.written = Some(write.id),
            Action::SaveSnapshot(part) => self.parts.push(part),
            Action::Halt(violation) => panic!("halted: {violation}"),
            _ => {}
        }
    }
}

impl Lone {
    /// With a hundred sessions, and 100 bytes of its state a part.
    fn new() -> Lone {
        let mut config = Config::new(ClusterId([1; 16]), NodeId(1), vec![NodeId(1)], 1);
        config.knobs.snapshot_part_bytes = 100;
        let now = Now::default();
        let driver = Driver::recover(config, Recovered::default(), now).unwrap();
        let mut lone = Lone {
            driver,
            time: Time(0),
            desk: Desk::default(),
            tickets: 0,
        };
        while lone.driver.view().commit() == LogIndex(0) {
            lone.time = lone.time.max(lone.driver.deadline().unwrap());
            lone.turn(vec![]);
            lone.sync();
        }
        for _ in 0..100 {
            lone.open_session();
        }
        lone.sync();
        lone
    }

    fn turn(&mut self, events: Vec<Event>) -> Vec<SnapshotPart> {
        let now = Now {
            time: self.time,
            wall_ms: 0,
        };
        self.driver.turn(now, events, &mut self.desk);
        std::mem::take(&mut self.desk.parts)
    }

    fn sync(&mut self) -> Vec<SnapshotPart> {
        let durable = self.desk.written.take();
        let durable = durable.map(|write| Event::Durable { write });
        self.turn(durable.into_iter().collect())
    }

    fn open_session(&mut self) -> Vec<SnapshotPart> {
        self.tickets += 1;
        let event = Event::Client {
            ticket: Ticket(self.tickets),
            principal: Principal("client".into()),
            request: Request::Propose {
                request: None,
                acknowledged: Sequence(0),
                command: Command::OpenSession,
            },
        };
        let mut parts = self.turn(vec![event]);
        parts.extend(self.sync());
        parts
    }
}

#[test]
fn a_snapshot_is_given_out_one_part_at_a_time_while_commands_are_applied() {
    let mut lone = Lone::new();
    let before = lone.driver.view().state_hash();
    let image = lone.driver.view().queue().image();
    assert!(lone.turn(vec![Event::Order(Order::Snapshot)]).is_empty());
    assert_eq!(
        lone.driver.deadline(),
        Some(lone.time),
        "it goes on without an event, in the next turn"
    );
    let (mut whole, mut snapshot, mut count) = (SnapshotParts::default(), None, 0);
    while snapshot.is_none() {
        let mut parts = lone.turn(vec![]);
        assert_eq!(parts.len(), 1, "one part a turn");
        count += 1;
        snapshot = whole.add(parts.remove(0));
        if snapshot.is_none() {
            let due = lone.time + PART_PAUSE;
            assert!(lone.driver.deadline().unwrap() <= due);
            assert!(lone.open_session().is_empty(), "turns in between get none");
            lone.time = lone.time + Span(PART_PAUSE.0 - 1);
            assert!(lone.turn(vec![]).is_empty(), "nor is it due any earlier");
            lone.time = due;
        }
    }
    assert!(count > 10, "{count} parts");
    let snapshot = snapshot.unwrap();
    let meta = &snapshot.meta;
    assert_eq!((meta.index, meta.state), (before.index, before.hash));
    assert_eq!(&*snapshot.image, &image[..]);
    assert!(lone.driver.view().applied() > before.index);
    let recovered = Recovered {
        snapshot: Some(snapshot),
        ..Recovered::default()
    };
    let config = lone.driver.view().0.config().clone();
    let again = Driver::recover(config, recovered, Now::default()).unwrap();
    assert_eq!(again.view().state_hash(), before);
}

#[test]
fn no_other_snapshot_is_begun_before_the_one_under_way_is_saved() {
    let mut lone = Lone::new();
    let mut lasts = Vec::new();
    let index = lone.driver.view().applied();
    for _ in 0..1_000 {
        for part in lone.turn(vec![Event::Order(Order::Snapshot)]) {
            assert_eq!(part.meta.index, index);
            lasts.push(part.last);
        }
        lone.open_session();
        lone.time = lone.time + PART_PAUSE;
    }
    assert_eq!(lasts.pop(), Some(true));
    assert!(!lasts.contains(&true));
    lone.turn(vec![Event::SnapshotSaved { index }]);
    let next = lone.turn(vec![]).remove(0);
    assert!(next.meta.index > index && next.offset == 0);
}

#[test]
fn a_snapshot_that_holds_another_state_than_it_says_is_refused() {
    let mut lone = Lone::new();
    lone.turn(vec![Event::Order(Order::Snapshot)]);
    let mut whole = SnapshotParts::default();
    let mut snapshot = loop {
        if let Some(snapshot) = whole.add(lone.turn(vec![]).remove(0)) {
            break snapshot;
        }
        lone.time = lone.time + PART_PAUSE;
    };
    snapshot.meta.state.0 ^= 1;
    let recovered = Recovered {
        snapshot: Some(snapshot),
        ..Recovered::default()
    };
    let config = lone.driver.view().0.config().clone();
    let error = Driver::recover(config, recovered, Now::default()).unwrap_err();
    assert!(error.to_string().contains("says that its state"), "{error}");
}
