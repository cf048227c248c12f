//! The `raft` crate's consensus, driven as its book says: step, ready, persist,
//! advance.

use anyhow::Result;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
use raft::storage::Storage;
use raft::{Config, Error, GetEntriesContext, RaftState, RawNode, StateRole, StorageError};
use slog::{Discard, Logger, o};

use precentor_core::limits::{APPEND_BYTES_MAX, APPENDS_IN_FLIGHT_MAX};

use super::cluster::{ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, ENTRY_BYTES, Replica, write_body};

/// What an entry takes of a message beside its body, at least.
const ENTRY_HEADER_BYTES: u64 = 8;

/// A log in memory. Unlike the crate's own `MemStorage` it takes entries
/// without a copy, has no lock, and copies no more than fits a message.
struct Disk {
    voters: Vec<u64>,
    hard_state: HardState,
    entries: Vec<Entry>,
}

impl Disk {
    fn append(&mut self, entries: Vec<Entry>) {
        if let Some(first) = entries.first() {
            self.entries.truncate(position(first.index));
            self.entries.extend(entries);
        }
    }
}

/// Where the entry of an index stands on a disk.
fn position(index: u64) -> usize {
    usize::try_from(index - 1).expect("a log that fits in memory")
}

impl Storage for Disk {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = ConfState {
            voters: self.voters.clone(),
            ..ConfState::default()
        };
        Ok(RaftState::new(self.hard_state.clone(), conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let asked = &self.entries[position(low)..position(high)];
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let fits = asked.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.data.len() as u64 + ENTRY_HEADER_BYTES;
            is_first || bytes <= bytes_max
        });
        // Exact, as the crate's own would be: no growing while copying.
        let count = fits.count();
        Ok(asked[..count].to_vec())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == 0 {
            return Ok(0);
        }
        let entry = self.entries.get(position(index));
        let unavailable = Error::Store(StorageError::Unavailable);
        entry.map(|entry| entry.term).ok_or(unavailable)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// One node of the crate.
pub(super) struct Peer {
    node: RawNode<Disk>,
    read_bytes: u64,
}

impl Peer {
    fn read_committed(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.read_bytes += entry.data.len() as u64;
        }
    }
}

/// The crate's number of a node.
fn id_of(number: usize) -> u64 {
    number as u64 + 1
}

fn say(out: &mut Vec<(usize, Message)>, messages: Vec<Message>) {
    let target = |message: &Message| usize::try_from(message.to - 1).expect("a handful of nodes");
    out.extend(
        messages
            .into_iter()
            .map(|message| (target(&message), message)),
    );
}

impl Replica for Peer {
    type Message = Message;

    fn new(number: usize, voters: usize) -> Peer {
        let ticks = |count: u64| usize::try_from(count).expect("a few steps");
        let config = Config {
            id: id_of(number),
            heartbeat_tick: 1,
            election_tick: ticks(ELECTION_TICKS_MIN),
            min_election_tick: ticks(ELECTION_TICKS_MIN),
            max_election_tick: ticks(ELECTION_TICKS_MAX),
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: usize::try_from(APPENDS_IN_FLIGHT_MAX).expect("a small window"),
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            ..Config::default()
        };
        let disk = Disk {
            voters: (0..voters).map(id_of).collect(),
            hard_state: HardState::default(),
            entries: Vec::new(),
        };
        let logger = Logger::root(Discard, o!());
        let node = RawNode::new(&config, disk, &logger).expect("the configuration is right");
        Peer {
            node,
            read_bytes: 0,
        }
    }

    fn propose(&mut self, first: u64, count: u64) -> Result<()> {
        let mut body = [0; ENTRY_BYTES];
        let entries: Vec<Entry> = (first..first + count)
            .map(|number| {
                write_body(number, &mut body);
                Entry {
                    data: body.to_vec().into(),
                    ..Entry::default()
                }
            })
            .collect();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.raft.id;
        message.set_entries(entries.into());
        Ok(self.node.step(message)?)
    }

    fn step(&mut self, _from: usize, message: Message) {
        self.node
            .step(message)
            .expect("a node's word is understood");
    }

    fn pass_time(&mut self) {
        self.node.tick();
    }

    fn on_link(&mut self, peer: usize, is_up: bool) {
        if !is_up {
            self.node.report_unreachable(id_of(peer));
        }
    }

    fn turn(&mut self, out: &mut Vec<(usize, Message)>) {
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            say(out, ready.take_messages());
            let committed = ready.take_committed_entries();
            self.read_committed(&committed);
            let entries = ready.take_entries();
            self.node.mut_store().append(entries);
            if let Some(hard_state) = ready.hs() {
                self.node.mut_store().hard_state = hard_state.clone();
            }
            say(out, ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().hard_state.commit = commit;
            }
            say(out, light.take_messages());
            let committed = light.take_committed_entries();
            self.read_committed(&committed);
            self.node.advance_apply();
        }
    }

    fn serves(&self) -> bool {
        let raft = &self.node.raft;
        raft.state == StateRole::Leader && raft.commit_to_current_term()
    }

    fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    fn committed(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        let entries = self.node.store().entries[..position(self.commit() + 1)].iter();
        Box::new(
            entries
                .map(|entry| &entry.data[..])
                .filter(|body| !body.is_empty()),
        )
    }
}
