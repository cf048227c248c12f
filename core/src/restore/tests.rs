use super::*;
use crate::action::Action;
use crate::command::Command;
use crate::config::Config;
use crate::driver::{Driver, Host, Recovered};
use crate::event::{Event, Now, Order};
use crate::ids::{Sequence, Ticket};
use crate::queue::ERA_NUMBERS;
use crate::request::{Reply, Request};
use crate::snapshot::SnapshotParts;
use crate::time::Span;

const OLD: ClusterId = ClusterId([7; 16]);
const NEW: ClusterId = ClusterId([8; 16]);

/// One voter alone, whose disk does all at once.
struct Lone {
    driver: Driver,
    now: Now,
    back: Vec<Event>,
    parts: SnapshotParts,
    snapshot: Option<Snapshot>,
    answers: Vec<Reply>,
    written: Vec<HardState>,
}

#[derive(Default)]
struct Acts(Vec<Action>);

impl Host for Acts {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

impl Lone {
    fn start(cluster: ClusterId, recovered: Recovered) -> Lone {
        let config = Config::new(cluster, NodeId(1), vec![NodeId(1)], 1);
        let now = Now::default();
        let mut lone = Lone {
            driver: Driver::recover(config, recovered, now).expect("it is whole"),
            now,
            back: Vec::new(),
            parts: SnapshotParts::default(),
            snapshot: None,
            answers: Vec::new(),
            written: Vec::new(),
        };
        lone.pass();
        lone
    }

    /// Two seconds go by.
    fn pass(&mut self) {
        for _ in 0..200 {
            self.now.time = self.now.time + Span::from_ms(10);
            self.turn();
        }
    }

    fn turn(&mut self) {
        let mut acts = Acts::default();
        self.driver
            .turn(self.now, std::mem::take(&mut self.back), &mut acts);
        for action in acts.0 {
            match action {
                Action::Write(write) => {
                    self.written.extend(write.hard_state);
                    self.back.push(Event::Durable { write: write.id });
                }
                Action::Answer { reply, .. } => self.answers.push(reply),
                Action::SaveSnapshot(part) => {
                    if let Some(snapshot) = self.parts.add(part) {
                        let index = snapshot.meta.index;
                        self.back.push(Event::SnapshotSaved { index });
                        self.snapshot = Some(snapshot);
                    }
                }
                _ => {}
            }
        }
    }

    fn open_session(&mut self) -> Reply {
        self.back.push(Event::Client {
            ticket: Ticket(1),
            principal: Principal("client".into()),
            request: Request::Propose {
                request: None,
                acknowledged: Sequence(0),
                command: Command::OpenSession,
            },
        });
        self.pass();
        self.answers.pop().expect("it is answered")
    }

    fn snapshot(&mut self) -> Snapshot {
        self.back.push(Event::Order(Order::Snapshot));
        self.pass();
        self.snapshot.clone().expect("it was ordered")
    }
}

fn a_backup() -> Snapshot {
    let mut lone = Lone::start(OLD, Recovered::default());
    lone.open_session();
    lone.snapshot()
}

fn backup_of(snapshot: &Snapshot) -> Backup<'_> {
    Backup {
        of: OLD,
        wall_ms: 1_000,
        snapshot,
    }
}

fn founders() -> [NodeId; 1] {
    [NodeId(1)]
}

#[test]
fn a_founder_leads_with_the_state_of_the_backup() {
    let snapshot = a_backup();
    let restored = restore(&backup_of(&snapshot), NEW, founders(), FeatureLevel::LATEST).unwrap();
    let Restored {
        snapshot: begun,
        hard_state,
        record,
    } = restored.clone();
    assert_eq!(begun.meta.index.0, snapshot.meta.index.0 + ERA_NUMBERS);
    assert_ne!(begun.meta.chain, snapshot.meta.chain);
    assert_eq!(hard_state.commit, begun.meta.index);
    let again = restore(&backup_of(&snapshot), NEW, founders(), FeatureLevel::LATEST);
    assert_eq!(again, Ok(restored), "all founders begin with the same");

    let mut lone = Lone::start(
        NEW,
        Recovered {
            hard_state,
            snapshot: Some(begun),
            ..Recovered::default()
        },
    );
    let leads = |written: &HardState| written.term > hard_state.term;
    assert!(lone.written.iter().any(leads), "{:?}", lone.written);
    let reply = lone.open_session();
    let Reply::Applied { index, .. } = reply else {
        panic!("{reply:?}");
    };
    assert!(index > record.index, "{index}");
    // Its own snapshot is whole, and a backup like any other.
    let own = lone.snapshot();
    let other = ClusterId([9; 16]);
    let twice = Backup {
        of: NEW,
        wall_ms: 2_000,
        snapshot: &own,
    };
    assert!(restore(&twice, other, founders(), FeatureLevel::LATEST).is_ok());
}

#[test]
fn what_cannot_be_a_cluster_is_refused() {
    let snapshot = a_backup();
    let with = |cluster, founders: &[NodeId]| {
        let founders = founders.iter().copied();
        restore(
            &backup_of(&snapshot),
            cluster,
            founders,
            FeatureLevel::LATEST,
        )
        .unwrap_err()
    };
    let itself = with(OLD, &founders());
    assert_eq!(itself, RestoreError::SameCluster { cluster: OLD });
    assert!(itself.to_string().contains("0707"), "{itself}");
    let nobody = with(NEW, &[]);
    assert!(matches!(nobody, RestoreError::Founders(_)), "{nobody}");
    let crowd: Vec<NodeId> = (1..=8).map(NodeId).collect();
    let crowd = with(NEW, &crowd);
    assert!(matches!(crowd, RestoreError::Founders(_)), "{crowd}");
    let founded = FeatureLevel::FOUNDING;
    let newer = restore(&backup_of(&snapshot), NEW, founders(), founded).unwrap_err();
    assert!(newer.to_string().contains("can do level 1"), "{newer}");
    let mut damaged = snapshot.clone();
    let mut image = damaged.image.to_vec();
    image.truncate(image.len() - 1);
    damaged.image = image.into();
    let damaged = restore(&backup_of(&damaged), NEW, founders(), FeatureLevel::LATEST);
    assert!(
        matches!(damaged, Err(RestoreError::State(_))),
        "{damaged:?}"
    );
}
