//! The contract of a host (see `precentor_core::driver`) as checks that run
//! over any host. A check knows a host by what it is told and what it reports;
//! it knows neither files nor virtual time.

use std::sync::Arc;

use precentor_core::action::{Action, Write};
use precentor_core::bytes::Bytes;
use precentor_core::command::Command;
use precentor_core::config::Config;
use precentor_core::digest::StateHash;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::entry::{ChainHash, EntryKind, HardState, LogEntry};
use precentor_core::event::{Event, Now};
use precentor_core::ids::{
    ClusterId, Incarnation, LogIndex, NodeId, ReadId, Sequence, Term, Ticket, WriteId,
};
use precentor_core::membership::Membership;
use precentor_core::message::{Body, Message};
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::snapshot::{Snapshot, SnapshotMeta, SnapshotPart};
use precentor_core::time::Time;

mod requests;
mod sources;
mod transfer;
pub use requests::requests_are_kept_until_they_are_dropped;
pub use sources::sources_go_when_no_snapshot_speaks_of_them;
pub use transfer::{
    a_transfer_goes_on_after_each_crash, an_image_is_read_in_pieces,
    an_installation_is_all_or_nothing, bodies_are_found_and_outlive_an_installation,
    transfers_and_own_snapshots_do_not_mix,
};

/// A host under test: of node n1, in a cluster of n1 and n2.
pub trait Rig {
    /// Performs one action.
    fn perform(&mut self, action: Action);
    /// The next report. It may take a while; a host that never reports what it
    /// owes fails the check.
    fn report(&mut self) -> Event;
    /// No report is on its way once everything ordered so far was done.
    fn is_quiet(&mut self) -> bool;
    /// Ends the process without a warning, and returns what a start finds.
    fn crash(&mut self) -> Recovered;
    /// A write that this host fails; everything after it must come to nothing.
    fn failing_write(&mut self, id: WriteId, after: LogIndex) -> Write;
}

/// A host whose messages can be heard at the other end.
pub trait Heard: Rig {
    /// The next message that arrives at n2; none if no more will.
    fn hear(&mut self) -> Option<Message>;
}

fn entry(term: u64, index: u64) -> LogEntry {
    // Of different lengths, so that a mix-up of places shows.
    let length = usize::try_from(index * 37 % 900).expect("it is small") + 1;
    LogEntry {
        index: LogIndex(index),
        term: Term(term),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: vec![u8::try_from(index % 251).expect("below 251"); length].into(),
    }
}

fn write(id: u64, entries: impl IntoIterator<Item = LogEntry>) -> Write {
    Write {
        id: WriteId(id),
        hard_state: None,
        truncate_from: None,
        reset: None,
        entries: entries.into_iter().collect(),
    }
}

fn hard_state(term: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(NodeId(2)),
        commit: LogIndex(0),
        repairing: None,
    }
}

/// Waits until a write is durable; what comes before it must be older.
fn await_durable(rig: &mut impl Rig, id: u64) {
    let mut last = WriteId(0);
    while last < WriteId(id) {
        match rig.report() {
            Event::Durable { write } => {
                assert!(
                    write > last,
                    "{write} is reported after {last}: in order, each once"
                );
                assert!(write <= WriteId(id), "{write} was never handed out");
                last = write;
            }
            other => panic!("a write should be durable, and the host reports {other:?}"),
        }
    }
}

/// Writes become durable in order, and a start finds them as they were.
pub fn writes_survive_in_order(rig: &mut impl Rig) {
    let mut first = write(1, (1..=3).map(|index| entry(1, index)));
    first.hard_state = Some(hard_state(1));
    rig.perform(Action::Write(first));
    rig.perform(Action::Write(write(2, [entry(1, 4)])));
    let mut third = write(3, []);
    third.hard_state = Some(hard_state(2));
    rig.perform(Action::Write(third));
    await_durable(rig, 3);
    let found = rig.crash();
    assert_eq!(found.hard_state, hard_state(2));
    let expected: Vec<_> = (1..=4).map(|index| entry(1, index)).collect();
    assert_eq!(found.entries, expected);
}

/// At whatever moment the process ends: all that was reported is there, and of
/// the rest a first part. Runs many lives on one disk.
pub fn a_crash_keeps_what_was_reported_and_a_prefix_of_the_rest(rig: &mut impl Rig) {
    let mut next = 1;
    let mut held = 0;
    for life in 1..=8u64 {
        let mut ends = Vec::new();
        for id in 1..=12u64 {
            let entries: Vec<_> = (next..next + id % 4 + 1).map(|i| entry(life, i)).collect();
            next += entries.len() as u64;
            ends.push(next - 1);
            let mut write = write(id, entries);
            write.hard_state = (id == 1).then(|| hard_state(life));
            rig.perform(Action::Write(write));
        }
        // Some lives end before anything was reported.
        let mut reported = held;
        let awaited = WriteId(life * 5 % 12);
        let mut seen = WriteId(0);
        while seen < awaited {
            let Event::Durable { write } = rig.report() else {
                panic!("only writes were ordered");
            };
            seen = write;
            reported = ends[usize::try_from(write.0).expect("it is small") - 1];
        }
        let found = rig.crash();
        let count = found.entries.len() as u64;
        assert!(
            count >= reported && count < next,
            "{reported} entries were reported durable, and a start finds {count} of {}",
            next - 1
        );
        for (index, entry) in (1..).zip(&found.entries) {
            assert_eq!(entry.index, LogIndex(index), "entries are consecutive");
            let body = &self::entry(entry.term.0, index).body;
            assert_eq!(&entry.body, body, "an entry is what was written");
        }
        assert!(
            seen == WriteId(0) || found.hard_state == hard_state(life),
            "a reported term and vote are there"
        );
        (held, next) = (count, count + 1);
    }
}

/// A truncation takes effect in its place among the writes.
pub fn truncation_replaces_a_tail(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=6).map(|i| entry(1, i)))));
    let mut second = write(2, (4..=5).map(|index| entry(2, index)));
    second.truncate_from = Some(LogIndex(4));
    rig.perform(Action::Write(second));
    rig.perform(Action::Write(write(3, [entry(2, 6)])));
    await_durable(rig, 3);
    let terms: Vec<_> = read(rig, 1, 6, 1 << 20).iter().map(|e| e.term.0).collect();
    assert_eq!(terms, [1, 1, 1, 2, 2, 2], "a read sees the new tail");
    let terms: Vec<_> = rig.crash().entries.iter().map(|e| e.term.0).collect();
    assert_eq!(terms, [1, 1, 1, 2, 2, 2], "so does a start");
}

fn read(rig: &mut impl Rig, from: u64, to: u64, bytes_max: u64) -> Vec<LogEntry> {
    let ordered = ReadId(from * 1_000 + to);
    rig.perform(Action::ReadLog {
        read: ordered,
        from: LogIndex(from),
        to: LogIndex(to),
        bytes_max,
    });
    loop {
        match rig.report() {
            Event::LogRead { read, entries } if read == ordered => return entries,
            Event::Durable { .. } => {}
            other => panic!("a read was ordered, and the host reports {other:?}"),
        }
    }
}

/// A read returns what was written, from the first entry asked for on.
pub fn reads_return_what_was_written(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=20).map(|i| entry(1, i)))));
    // Ordered before the write is reported: it comes after it all the same.
    let all: Vec<_> = (1..=20).map(|index| entry(1, index)).collect();
    assert_eq!(read(rig, 1, 20, 1 << 20), all);
    assert_eq!(read(rig, 7, 7, 1 << 20), all[6..7]);
    assert_eq!(read(rig, 5, 9, 1), all[4..5], "one at least");
    let some = read(rig, 3, 20, 700);
    assert!(!some.is_empty() && some.len() < 18, "within the bound");
    assert_eq!(some, all[2..2 + some.len()]);
    assert_eq!(read(rig, 40, 50, 1 << 20), [], "there is nothing there");
}

fn snapshot(index: u64) -> Snapshot {
    Snapshot {
        meta: SnapshotMeta {
            index: LogIndex(index),
            term: Term(1),
            chain: ChainHash(3),
            state: StateHash(u128::from(index) << 70),
            membership: Arc::new(Membership::founding([1, 2, 3].map(NodeId))),
        },
        image: Bytes::from(vec![u8::try_from(index).expect("it is small"); 100_000]),
    }
}

/// The parts of a snapshot, of different lengths.
fn parts(snapshot: &Snapshot) -> Vec<SnapshotPart> {
    let cuts = [0, 1, 40_000, 40_000, 99_990, 100_000];
    let part = |cut: &[usize]| SnapshotPart {
        meta: snapshot.meta.clone(),
        offset: cut[0] as u64,
        bytes: snapshot.image[cut[0]..cut[1]].into(),
        last: cut[1] == snapshot.image.len(),
    };
    cuts.windows(2).map(part).collect()
}

fn save(rig: &mut impl Rig, index: u64) {
    for part in parts(&snapshot(index)) {
        rig.perform(Action::SaveSnapshot(part));
    }
    match rig.report() {
        Event::SnapshotSaved { index: saved } => assert_eq!(saved, LogIndex(index)),
        other => panic!("a snapshot should be saved, and the host reports {other:?}"),
    }
}

/// The first parts of a snapshot, and no more.
fn begin(rig: &mut impl Rig, index: u64, count: usize) {
    for part in parts(&snapshot(index)).into_iter().take(count) {
        rig.perform(Action::SaveSnapshot(part));
    }
}

/// A snapshot of which the last part was not performed is none, and in nobody's way.
pub fn a_snapshot_that_is_not_whole_changes_nothing(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    begin(rig, 3, 4);
    assert_eq!(rig.crash().snapshot, None, "there was none before");
    save(rig, 4);
    begin(rig, 5, 1);
    // It was given up, and another one begins.
    begin(rig, 6, 4);
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(4)), "it stays in force");
    assert_eq!(found.entries.len(), 10, "and so does the log");
    save(rig, 7);
    assert_eq!(rig.crash().snapshot, Some(snapshot(7)));
}

/// A snapshot that was reported is found, and the log before it may go.
pub fn snapshots_survive(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, (1..=10).map(|i| entry(1, i)))));
    await_durable(rig, 1);
    for index in [4, 8] {
        save(rig, index);
        rig.perform(Action::CompactLog {
            up_to: LogIndex(index - 1),
        });
    }
    rig.perform(Action::Write(write(2, [entry(1, 11)])));
    await_durable(rig, 2);
    let found = rig.crash();
    assert_eq!(found.snapshot, Some(snapshot(8)));
    let after: Vec<_> = found
        .entries
        .into_iter()
        .filter(|entry| entry.index > LogIndex(8))
        .collect();
    let expected: Vec<_> = (9..=11).map(|index| entry(1, index)).collect();
    assert_eq!(after, expected, "the log goes on where the snapshot ends");
}

/// After a failed write nothing that follows takes effect.
pub fn a_failed_write_is_the_last(rig: &mut impl Rig) {
    rig.perform(Action::Write(write(1, [entry(1, 1)])));
    await_durable(rig, 1);
    let failing = rig.failing_write(WriteId(2), LogIndex(1));
    rig.perform(Action::Write(failing));
    rig.perform(Action::Write(write(3, [entry(1, 2)])));
    match rig.report() {
        // Writes that share a sync fail together.
        Event::WriteFailed { write } => assert!(write >= WriteId(2), "{write} failed"),
        other => panic!("write2 must fail, and the host reports {other:?}"),
    }
    assert!(
        rig.is_quiet(),
        "after a failed write a host has nothing more to say"
    );
    let found = rig.crash();
    assert_eq!(found.entries.first(), Some(&entry(1, 1)));
    assert!(
        !found.entries.contains(&entry(1, 2)),
        "what was ordered after a failed write took effect"
    );
}

/// A message that arrives is one that was said; one connection keeps their order.
pub fn messages_arrive_whole_and_in_order(rig: &mut impl Heard) {
    let message = |term: u64| Message {
        term: Term(term),
        incarnation: Incarnation(1),
        body: Body::PreVoteReply { granted: true },
    };
    for term in 1..=50 {
        rig.perform(Action::Say {
            to: NodeId(2),
            message: message(term),
        });
    }
    // Nobody is there: it is lost, and that is all.
    rig.perform(Action::Say {
        to: NodeId(9),
        message: message(51),
    });
    let mut last = 0;
    while let Some(heard) = rig.hear() {
        let term = heard.term.0;
        assert_eq!(heard, message(term), "it was said so");
        assert!(term > last && term <= 50, "{term} after {last}");
        last = term;
        if last == 50 {
            break;
        }
    }
    assert!(last > 0, "on a good connection something arrives");
}

/// Hands all but answers to a rig.
#[derive(Debug)]
struct Through<'a, R> {
    rig: &'a mut R,
    answers: &'a mut Vec<(Ticket, Reply)>,
    writes: &'a mut WriteId,
}

impl<R: Rig> Host for Through<'_, R> {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Answer { ticket, reply } => self.answers.push((ticket, reply)),
            action => {
                if let Action::Write(write) = &action {
                    *self.writes = write.id;
                }
                self.rig.perform(action);
            }
        }
    }
}

/// A lone voter over this host: what it answered is there after every crash,
/// and its state is the same.
pub fn a_lone_voter_keeps_what_it_answered(rig: &mut impl Rig) {
    let mut found = Recovered::default();
    let mut sessions = Vec::new();
    for life in 1..=4u64 {
        let config = Config::new(ClusterId([1; 16]), NodeId(1), vec![NodeId(1)], life);
        let now = |ms: u64| Now {
            time: Time(ms * 1_000),
            wall_ms: ms,
        };
        let mut driver = Driver::recover(config, found, now(0)).expect("its own disk");
        let mut answers = Vec::new();
        let mut events = vec![Event::Wake];
        for session in 1..=5u64 {
            events.push(Event::Client {
                ticket: Ticket(session),
                principal: Principal("client".into()),
                request: Request::Propose {
                    request: None,
                    acknowledged: Sequence(0),
                    command: Command::OpenSession,
                },
            });
        }
        let (mut written, mut durable) = (WriteId(0), WriteId(0));
        let mut time = now(0);
        while answers.len() < 5 {
            let mut through = Through {
                rig: &mut *rig,
                answers: &mut answers,
                writes: &mut written,
            };
            driver.turn(time, events, &mut through);
            events = Vec::new();
            if answers.len() == 5 {
                break;
            }
            if durable < written {
                let report = rig.report();
                if let Event::Durable { write } = &report {
                    durable = *write;
                }
                events.push(report);
            } else {
                // Nothing is owed: the next thing that happens is time.
                let due = driver.deadline().expect("it has not halted");
                time.time = time.time.max(due);
            }
        }
        for (_, reply) in answers {
            let Reply::Applied { index, .. } = reply else {
                panic!("a lone voter answers, and says {reply:?}");
            };
            sessions.push(index);
        }
        let state = driver.view().state_hash();
        found = rig.crash();
        let last = found.entries.last().expect("there are entries").index;
        assert!(last >= state.index, "{last} is there, {} was", state.index);
        for index in &sessions {
            let there = found.entries.iter().any(|entry| entry.index == *index);
            assert!(there, "{index} was answered, and is gone");
        }
    }
    assert_eq!(sessions.len(), 20);
}
