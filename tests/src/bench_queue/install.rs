//! What it costs a follower to stand on its leader's snapshot: how long its longest turn takes,
//! with an empty state before and with one as large, and how long the work beside the turns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use precentor_core::action::Action;
use precentor_core::bytes::Bytes;
use precentor_core::config::Config;
use precentor_core::digest::StateHash;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::entries::Entries;
use precentor_core::entry::ChainHash;
use precentor_core::event::{Event, Now};
use precentor_core::ids::{ClusterId, Incarnation, LogIndex, NodeId, Term};
use precentor_core::limits::SNAPSHOT_PIECE_BYTES_MAX;
use precentor_core::membership::Membership;
use precentor_core::message::{Append, Body, LogPosition, Message, Piece};
use precentor_core::snapshot::SnapshotMeta;
use precentor_core::time::Span;

use crate::measuring::processor_time;

/// With more jobs than these only one state is there at a time: two need too much memory.
const TWICE_JOBS_MAX: u64 = 1_000_000;

const LEADER: NodeId = NodeId(1);
const FOLLOWER: NodeId = NodeId(2);

/// What it costs.
pub(super) struct Install {
    /// The longest turn.
    pub(super) longest: Duration,
    /// To read the state, beside the turns.
    pub(super) read: Duration,
    /// To let go of the state before it, beside the turns; nothing if there was none.
    pub(super) let_go: Duration,
}

/// Installs an image of so many jobs.
pub(super) fn measure(parts: Vec<Vec<u8>>, state: StateHash, jobs: u64) -> Result<Install> {
    let pieces = pieces(parts);
    let mut follower = Follower::new()?;
    follower.install(meta(state, 10), &pieces)?;
    if jobs <= TWICE_JOBS_MAX {
        follower.install(meta(state, 20), &pieces)?;
    }
    let found = follower.driver.view().state_hash().hash;
    ensure!(found == state, "another state was installed");
    Ok(follower.cost)
}

/// The image as it comes over the network.
fn pieces(parts: Vec<Vec<u8>>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let most = SNAPSHOT_PIECE_BYTES_MAX as usize;
    for part in parts {
        pieces.extend(part.chunks(most).map(|bytes| Piece {
            bytes: Bytes::from(bytes),
            last: false,
        }));
    }
    if let Some(piece) = pieces.last_mut() {
        piece.last = true;
    }
    pieces
}

fn meta(state: StateHash, index: u64) -> SnapshotMeta {
    SnapshotMeta {
        index: LogIndex(index),
        term: Term(1),
        chain: ChainHash(index),
        state,
        membership: Arc::new(Membership::founding([LEADER, FOLLOWER])),
    }
}

#[derive(Default)]
struct Actions(Vec<Action>);

impl Host for Actions {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

struct Follower {
    driver: Driver,
    now: Now,
    cost: Install,
}

impl Follower {
    fn new() -> Result<Follower> {
        let founders = vec![LEADER, FOLLOWER];
        let config = Config::new(ClusterId([7; 16]), FOLLOWER, founders, 1);
        let driver = Driver::recover(config, Recovered::default(), Now::default())?;
        Ok(Follower {
            driver,
            now: Now::default(),
            cost: Install {
                longest: Duration::ZERO,
                read: Duration::ZERO,
                let_go: Duration::ZERO,
            },
        })
    }

    /// One turn, by the clock; and what it wants done.
    fn turn(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Actions::default();
        // Slow enough that the leader is not missed.
        self.now.time = self.now.time + Span(1);
        let start = processor_time();
        self.driver.turn(self.now, [event], &mut actions);
        self.cost.longest = self.cost.longest.max(processor_time() - start);
        actions.0
    }

    fn install(&mut self, meta: SnapshotMeta, pieces: &[Piece]) -> Result<()> {
        let index = meta.index;
        let had_state = self.driver.view().applied() > LogIndex(0);
        // What comes first stands last.
        let mut mail = vec![
            says(Body::SnapshotOffer(meta)),
            says(Body::Append(heartbeat(index))),
        ];
        let mut next = 0;
        while self.driver.view().applied() < index || !mail.is_empty() {
            let event = mail.pop().context("the follower wants nothing more")?;
            for action in self.turn(event) {
                let answer = match action {
                    Action::Write(write) => Event::Durable { write: write.id },
                    Action::Say { message, .. } => match message.body {
                        Body::SnapshotFetch { offset, .. } => {
                            let piece = pieces.get(next).cloned();
                            next += 1;
                            says(Body::SnapshotPiece {
                                index,
                                offset,
                                piece,
                            })
                        }
                        _ => continue,
                    },
                    Action::Work(work) => {
                        let start = processor_time();
                        let done = work.run();
                        self.cost.read = self.cost.read.max(processor_time() - start);
                        Event::WorkDone(done)
                    }
                    Action::FindLacking { .. } => Event::BodiesLacking {
                        digests: Vec::new(),
                    },
                    Action::InstallSnapshot { index } => {
                        mail.extend(self.end_install(index, had_state));
                        continue;
                    }
                    _ => continue,
                };
                mail.insert(0, answer);
            }
        }
        ensure!(next == pieces.len(), "the image has {next} pieces");
        Ok(())
    }

    /// The turn in which the state takes the place of the one before.
    fn end_install(&mut self, index: LogIndex, had_state: bool) -> Option<Event> {
        let mut durable = None;
        for action in self.turn(Event::SnapshotInstalled { index }) {
            match action {
                Action::Work(work) => {
                    let start = processor_time();
                    drop(work.run());
                    if had_state {
                        self.cost.let_go = processor_time() - start;
                    }
                }
                Action::Write(write) => durable = Some(Event::Durable { write: write.id }),
                _ => {}
            }
        }
        durable
    }
}

fn says(body: Body) -> Event {
    Event::Peer {
        from: LEADER,
        message: Message {
            term: Term(1),
            incarnation: Incarnation::UNTOLD,
            body,
        },
    }
}

/// Of a leader whose log begins behind the snapshot.
fn heartbeat(index: LogIndex) -> Append {
    Append {
        previous: LogPosition {
            term: Term(1),
            index,
        },
        entries: Entries::default(),
        commit: LogIndex(0),
        held_by_all: LogIndex(0),
        round: index.0,
        state_hash: None,
    }
}
