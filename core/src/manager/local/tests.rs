use super::*;
use crate::config::Config;
use crate::driver::{Driver, Host, Recovered};
use crate::event::Event;
use crate::ids::{ClusterId, SessionId};
use crate::limits::{ADDRESS_BYTES_MAX, ENTRY_BYTES_MAX};
use crate::manager::alone::item;
use crate::request::Request;
use crate::time::Stamp;

#[derive(Default)]
struct Actions(Vec<Action>);

impl Host for Actions {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

/// One of two voters, which the other never joins.
struct Lonely {
    driver: Driver,
    disk: Vec<(LocalNumber, Bytes)>,
}

impl Lonely {
    fn new(disk: Vec<(LocalNumber, Bytes)>) -> Result<Lonely, RecoverError> {
        let founders = vec![NodeId(1), NodeId(2)];
        let config = Config::new(ClusterId([7; 16]), NodeId(1), founders, 1);
        let recovered = Recovered {
            local: disk.clone(),
            ..Recovered::default()
        };
        let driver = Driver::recover(config, recovered, Now::default())?;
        Ok(Lonely { driver, disk })
    }

    /// Leaves a request, and lets the disk answer at once.
    fn leave(&mut self, request: RequestId, command: Command) -> Reply {
        let request = Request::QueueLocally {
            request,
            acknowledged: Sequence(1),
            command,
        };
        let mut events = vec![Event::Client {
            ticket: Ticket(1),
            principal: Principal("agent".into()),
            request,
        }];
        while !events.is_empty() {
            let mut actions = Actions::default();
            let events = std::mem::take(&mut events);
            self.driver.turn(Now::default(), events, &mut actions);
            for action in actions.0 {
                match action {
                    Action::Answer { reply, .. } => return reply,
                    Action::KeepRequest { number, entry } => {
                        self.disk.push((number, entry));
                        return self.kept(number);
                    }
                    _ => {}
                }
            }
        }
        panic!("it is not answered")
    }

    fn kept(&mut self, number: LocalNumber) -> Reply {
        let mut actions = Actions::default();
        let event = Event::RequestKept { number };
        self.driver.turn(Now::default(), [event], &mut actions);
        match actions.0.pop() {
            Some(Action::Answer { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self) -> LocalQueueStatus {
        self.driver.view().status().local
    }
}

fn id(sequence: u64) -> RequestId {
    RequestId {
        session: SessionId(3),
        sequence: Sequence(sequence),
    }
}

fn small() -> Command {
    submit("a", 1)
}

/// A batch of about so many bytes.
fn large(bytes: u64) -> Command {
    let segment = "a".repeat(200);
    let path = vec![segment; ADDRESS_BYTES_MAX as usize / 201 - 1].join("/");
    let count = bytes / path.len() as u64;
    submit(&path, count)
}

fn submit(path: &str, count: u64) -> Command {
    Command::Submit {
        items: vec![item(path, 0); count as usize],
    }
}

#[test]
fn the_local_queue_is_bounded_in_bytes_and_one_more_costs_the_others_nothing() {
    let mut node = Lonely::new(Vec::new()).unwrap();
    let each = LOCAL_BYTES_MAX / 6;
    let mut kept = 0;
    let refused = loop {
        match node.leave(id(kept + 1), large(each)) {
            Reply::QueuedLocally => kept += 1,
            other => break other,
        }
    };
    assert!((4..8).contains(&kept), "{kept}");
    let reason = Refusal::LocalQueueFull;
    assert!(matches!(refused, Reply::Refused { reason: it, .. } if it == reason));
    let status = node.status();
    assert_eq!(status.requests, kept);
    let bytes: u64 = node.disk.iter().map(|(_, entry)| entry.count()).sum();
    assert_eq!(status.bytes, bytes);
    assert!(bytes <= LOCAL_BYTES_MAX);
    // A small one still has room.
    assert_eq!(node.leave(id(9), small()), Reply::QueuedLocally);
    // And one that fits no entry has none anywhere.
    let reply = node.leave(id(10), large(ENTRY_BYTES_MAX + 10_000));
    assert!(matches!(reply, Reply::Invalid { .. }), "{reply:?}");
}

#[test]
fn a_restart_goes_on_with_what_the_disk_holds() {
    let mut node = Lonely::new(Vec::new()).unwrap();
    for sequence in 1..=3 {
        assert_eq!(node.leave(id(sequence), small()), Reply::QueuedLocally);
    }
    let mut again = Lonely::new(node.disk).unwrap();
    let kept: Vec<_> = again.driver.view().queued_locally().collect();
    let expected = [0, 1, 2].map(|number| (LocalNumber(number), id(number + 1), true));
    assert_eq!(kept, expected);
    assert_eq!(again.leave(id(2), small()), Reply::QueuedLocally);
    assert_eq!(again.status().requests, 3);
    assert_eq!(again.leave(id(4), small()), Reply::QueuedLocally);
    assert_eq!(again.disk.last().unwrap().0, LocalNumber(3));
}

#[test]
fn a_disk_with_something_else_is_refused_with_its_number() {
    let entry = |request| Entry {
        t: Stamp(0),
        wall_ms: 0,
        principal: Principal("agent".into()),
        request,
        acknowledged: Sequence(1),
        command: small(),
    };
    let (number, other) = (LocalNumber(4), LocalNumber(5));
    let good = wire::command::encode(&entry(Some(id(1))));
    let nameless = wire::command::encode(&entry(None));
    let cases = [
        (
            vec![(number, good[..good.len() - 1].to_vec().into())],
            "kept4",
            "cannot be read",
        ),
        (vec![(number, nameless)], "kept4", "no request of a session"),
        (
            vec![(number, good.clone()), (other, good.clone())],
            "kept5",
            "twice",
        ),
    ];
    for (disk, name, what) in cases {
        let error = Lonely::new(disk).err().expect("it is damaged").to_string();
        assert!(error.contains(name) && error.contains(what), "{error}");
    }
    assert!(Lonely::new(vec![(number, good)]).is_ok());
}

#[test]
fn a_disk_that_does_not_answer_gathers_no_crowd() {
    let mut node = Lonely::new(Vec::new()).unwrap();
    let mut ask = |ticket| {
        let mut actions = Actions::default();
        let event = Event::Client {
            ticket: Ticket(ticket),
            principal: Principal("agent".into()),
            request: Request::QueueLocally {
                request: id(1),
                acknowledged: Sequence(1),
                command: small(),
            },
        };
        node.driver.turn(Now::default(), [event], &mut actions);
        actions.0
    };
    for ticket in 0..LOCAL_WAITERS_MAX {
        let told = ask(ticket);
        assert!(
            !told.iter().any(|it| matches!(it, Action::Answer { .. })),
            "{told:?}"
        );
    }
    let told = ask(LOCAL_WAITERS_MAX);
    let reason = Refusal::WaitingRequests;
    assert!(
        matches!(&told[..], [Action::Answer { reply: Reply::Refused { reason: it, .. }, .. }] if *it == reason),
        "{told:?}"
    );
    let mut actions = Actions::default();
    let number = LocalNumber(0);
    node.driver.turn(
        Now::default(),
        [Event::RequestKept { number }],
        &mut actions,
    );
    assert_eq!(actions.0.len() as u64, LOCAL_WAITERS_MAX);
}
