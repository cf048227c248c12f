//! The leader's side of replication: who has what, what to send next, what is
//! committed, and whether a majority still listens.

use std::collections::BTreeMap;

use super::Next;
use super::hand_over::HandOver;
use super::progress::{Flow, InFlight, Progress};
use super::reads::{Round, Rounds};
use super::sender::SnapshotSender;
use super::timing;
use crate::action::Action;
use crate::cx::Cx;
use crate::entry::LogEntry;
use crate::ids::{Incarnation, LogIndex, NodeId, ReadId, ReadNumber, Term};
use crate::limits::APPEND_BYTES_MAX;
use crate::log::{TermAt, Window};
use crate::marks::Mark;
use crate::message::{Append, AppendReply, AppendResult, Body, LogPosition, StateHashAt};
use crate::request::HandOverError;
use crate::time::{Span, Time};

/// A leader's own state: gone with the leadership.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// Every other member.
    pub(super) peers: BTreeMap<NodeId, Progress>,
    /// The latest round: each append carries it, each answer names it.
    round: u64,
    rounds: Rounds,
    next_heartbeat: Time,
    next_read: ReadId,
    /// The bytes of appended, uncommitted bodies.
    uncommitted_bytes: u64,
    pub(super) hand_over: Option<HandOver>,
    /// How the last one failed, until it is told.
    pub(super) hand_over_end: Option<HandOverError>,
    /// When it last tried to give way to one better off.
    pub(super) gave_way: Option<Time>,
    /// For whom old entries were asked last: the next in turn comes after it.
    read_for: NodeId,
    /// For followers that lack what the log no longer holds.
    pub(super) sender: SnapshotSender,
    /// What a heartbeat carries for comparison.
    pub(super) state_hash: Option<StateHashAt>,
}

impl Leader {
    /// A new leader, which knows nothing of its followers' logs.
    pub(super) fn new(commit: LogIndex, cx: &mut Cx<'_>) -> Leader {
        let last = cx.log.last().index;
        let inherited =
            (commit.0 + 1..=last.0).filter_map(|index| cx.log.entry_at(LogIndex(index)));
        let mut leader = Leader {
            peers: BTreeMap::new(),
            round: 0,
            rounds: Rounds::default(),
            next_heartbeat: cx.time(),
            next_read: ReadId(1),
            uncommitted_bytes: inherited.map(|entry| entry.body.count()).sum(),
            hand_over: None,
            hand_over_end: None,
            gave_way: None,
            read_for: NodeId(0),
            sender: SnapshotSender::default(),
            state_hash: None,
        };
        leader.on_membership(cx);
        leader
    }

    /// Others belong to the cluster now.
    pub(super) fn on_membership(&mut self, cx: &mut Cx<'_>) {
        let membership = cx.log.membership().clone();
        self.peers.retain(|peer, _| membership.contains(*peer));
        for peer in membership.nodes().filter(|peer| *peer != cx.config.node) {
            let next = cx.log.last().index.next();
            self.peers
                .entry(peer)
                .or_insert_with(|| Progress::new(next, cx.time()));
        }
        // Another life of a disk begins with nothing.
        for (peer, progress) in &mut self.peers {
            let counts = |life| membership.counts(*peer, life);
            if progress.incarnation.is_some_and(|life| !counts(life)) {
                *progress = Progress::new(cx.log.last().index.next(), cx.time());
            }
        }
        self.end_hand_over_to_no_voter(cx);
    }

    /// The life of a follower's disk, if it spoke in this term.
    pub(super) fn incarnation_of(&self, peer: NodeId) -> Option<Incarnation> {
        self.peers.get(&peer)?.incarnation
    }

    /// How many entries a member lacks, if too many for it to vote: it could
    /// hold up every commit until it has them (dissertation §4.2.1). One that has
    /// never spoken in this term may not be there at all, however short the log is
    /// (see scripts/membership/silent_learner_gets_no_vote.txt).
    pub(super) fn missing(&self, peer: NodeId, cx: &Cx<'_>) -> Option<u64> {
        let last = cx.log.last().index.0;
        let spoken = self.peers.get(&peer).filter(|p| p.incarnation.is_some());
        let missing = last.saturating_sub(spoken.map_or(0, |peer| peer.durable.0));
        let too_many = missing > cx.config.knobs.promotion_lag_entries_max;
        (too_many || spoken.is_none()).then_some(missing)
    }

    /// When it must act again.
    pub(super) fn deadline(&self) -> Time {
        self.hand_over.map_or(self.next_heartbeat, |hand_over| {
            self.next_heartbeat.min(hand_over.deadline)
        })
    }

    /// Room for a proposal of so many bytes?
    pub(super) fn has_room(&self, bytes: u64, cx: &Cx<'_>) -> bool {
        self.uncommitted_bytes == 0
            || self.uncommitted_bytes + bytes <= cx.config.knobs.uncommitted_bytes_max
    }

    /// A proposal was appended.
    pub(super) fn on_proposed(&mut self, bytes: u64) {
        self.uncommitted_bytes += bytes;
    }

    /// Every voter has all up to here, durably.
    pub(super) fn held_by_all(&self, cx: &Cx<'_>) -> LogIndex {
        let peers = self.peers.values().map(|progress| progress.durable).min();
        peers.map_or(cx.outbox.durable(), |peers| peers.min(cx.outbox.durable()))
    }

    /// Each follower's durable match.
    pub(super) fn matched(&self) -> impl Iterator<Item = (NodeId, LogIndex)> + '_ {
        self.peers
            .iter()
            .map(|(peer, progress)| (*peer, progress.durable))
    }

    /// A follower's answer in this term.
    pub(super) fn on_append_reply(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        reply: AppendReply,
        cx: &mut Cx<'_>,
    ) {
        let last = cx.log.last().index;
        let Some(progress) = self.peers.get_mut(&from) else {
            return;
        };
        let is_other = *progress.incarnation.get_or_insert(incarnation) != incarnation;
        #[cfg(feature = "planted-bugs")]
        let is_other = is_other
            && !cx
                .config
                .planted(crate::planted::Bug::StaleIncarnationCounts);
        if is_other {
            cx.mark(Mark::StaleIncarnationIgnored);
            return;
        }
        if reply.round > self.round {
            // A round that was never begun cannot be confirmed.
            cx.mark(Mark::StaleTermIgnored);
        } else if reply.round > progress.round {
            // Heard only if that is news: late copies of old answers are no sign
            // of a quorum, nor of a connection.
            progress.round = reply.round;
            progress.heard = cx.time();
            progress.down = false;
        }
        // What it says of itself may change within a round.
        if reply.round == progress.round {
            (progress.health, progress.patience) = (reply.health, reply.patience);
        }
        match reply.result {
            // A claim beyond our log cannot be about it.
            AppendResult::Matched { verified, durable }
                if durable <= verified && verified <= last =>
            {
                progress.on_matched(verified, durable);
            }
            AppendResult::Matched { .. } => cx.mark(Mark::StaleTermIgnored),
            AppendResult::Conflict {
                previous,
                hint,
                repairing,
            } => {
                if repairing && hint.index < progress.durable {
                    cx.mark(Mark::FollowerRepaired);
                    return progress.on_damage(hint.index);
                }
                let agreed = cx.log.conflict_hint(LogPosition {
                    term: hint.term,
                    index: hint.index.next(),
                });
                progress.on_conflict(previous, agreed.index.min(hint.index));
            }
        }
    }

    /// A peer's connection opened or closed.
    pub(super) fn on_reconnect(&mut self, peer: NodeId) {
        if let Some(progress) = self.peers.get_mut(&peer) {
            progress.on_reconnect();
        }
    }

    /// What a majority holds durably, if it is of this term: an older term's
    /// entry is committed only by what follows it (Raft §5.4.2, figure 8).
    /// This node counts like the others, with what is on its own disk.
    pub(super) fn committed(&mut self, term: Term, commit: LogIndex, cx: &Cx<'_>) -> LogIndex {
        let own = cx.outbox.durable();
        let durable = |node| match node == cx.config.node {
            true => own,
            false => self
                .peers
                .get(&node)
                .map_or(LogIndex(0), |progress| progress.durable),
        };
        let reached = cx.log.membership().reached_by_quorum(durable);
        #[cfg(feature = "planted-bugs")]
        let reached =
            crate::planted::reached(cx.config, cx.log.membership(), durable).unwrap_or(reached);
        #[cfg(feature = "planted-bugs")]
        let reached = match cx.config.planted(crate::planted::Bug::QuorumOffByOne) {
            true => reached.max(own),
            false => reached,
        };
        let own_term = cx.log.term_at(reached) == TermAt::Known(term);
        #[cfg(feature = "planted-bugs")]
        let own_term = own_term
            || cx
                .config
                .planted(crate::planted::Bug::CommitOldTermByCounting);
        if reached <= commit || !own_term {
            return commit;
        }
        for index in commit.0 + 1..=reached.0 {
            let bytes = cx
                .log
                .entry_at(LogIndex(index))
                .map_or(0, |entry| entry.body.count());
            self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
        }
        reached
    }

    /// What time asks of a leader: heartbeats, and to give up without a majority.
    pub(super) fn on_time(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) -> Next {
        self.end_late_hand_over(cx);
        if cx.time() < self.next_heartbeat {
            return Next::Stay;
        }
        // CheckQuorum (dissertation §6.2): a leader that nobody hears must not
        // keep clients waiting. It waits for each as long as that one waits for it
        // (`timing`, rule 2): it is not the first to give up.
        let listens = |node| {
            let heard = |progress: &Progress| {
                let patience = timing::patience_for(progress.patience, &cx.config.knobs);
                cx.time().since(progress.heard) <= patience
            };
            node == cx.config.node || self.peers.get(&node).is_some_and(heard)
        };
        if !cx.log.membership().has_quorum(listens) {
            cx.mark(Mark::SteppedDownNoQuorum);
            return Next::Follow { term, leader: None };
        }
        let own = cx.log.term_at(commit) == TermAt::Known(term);
        if own && self.rounds.has_room() {
            self.begin_round(BTreeMap::new(), commit, cx);
        } else {
            self.round += 1;
        }
        self.next_heartbeat = cx.time() + Span::from_ms(cx.config.knobs.heartbeat_ms);
        for progress in self.peers.values_mut() {
            if let Flow::Snapshot { offered } = &mut progress.flow {
                *offered = false;
            }
        }
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.send(peer, Vec::new(), term, commit, cx);
        }
        Next::Stay
    }

    fn offer_snapshot(&self, peer: NodeId, term: Term, cx: &mut Cx<'_>) {
        if let Some(offer) = self.sender.offer(cx.log.first_known()) {
            cx.mark(Mark::SnapshotOffered);
            let message = cx.message(term, Body::SnapshotOffer(offer.clone()));
            cx.outbox.say(peer, message);
        }
    }

    /// A name for the next read from the disk.
    pub(super) fn next_read(&mut self) -> ReadId {
        let read = self.next_read;
        self.next_read = read.next();
        read
    }

    /// A member, or this node itself, wants to know how far it must have applied.
    pub(super) fn on_read(&mut self, node: NodeId, number: ReadNumber) {
        self.rounds.wait(node, number);
    }

    /// The reads that wait share a round that begins now, at this commit: it
    /// tells of all that was committed before. Not before an entry of this
    /// leader's own term is committed: until then it may not know all of that
    /// (dissertation §6.4, step 1; see scripts/reads/read_waits_for_the_barrier.txt).
    pub(super) fn begin_read_round(&mut self, term: Term, commit: LogIndex, cx: &Cx<'_>) {
        let own = cx.log.term_at(commit) == TermAt::Known(term);
        #[cfg(feature = "planted-bugs")]
        let own = own || cx.config.planted(crate::planted::Bug::ReadBeforeOwnCommit);
        if own && self.rounds.has_room() && self.rounds.is_waited_for() {
            let readers = self.rounds.take_waiting();
            self.begin_round(readers, commit, cx);
        }
    }

    fn begin_round(
        &mut self,
        readers: BTreeMap<NodeId, ReadNumber>,
        commit: LogIndex,
        cx: &Cx<'_>,
    ) {
        self.round += 1;
        self.rounds.begin(Round {
            round: self.round,
            begun: cx.time(),
            commit,
            readers,
        });
    }

    /// The rounds that a majority has answered since: when each began, this
    /// node led, and nobody could have committed anything elsewhere.
    pub(super) fn confirmed_rounds(&mut self, cx: &Cx<'_>) -> Vec<Round> {
        let (peers, node) = (&self.peers, cx.config.node);
        let answered = |peer, round| {
            peers
                .get(&peer)
                .is_some_and(|p: &Progress| p.round >= round)
        };
        #[cfg(feature = "planted-bugs")]
        let answered = |peer, round| {
            answered(peer, round)
                || cx.config.planted(crate::planted::Bug::ReadWithoutQuorum)
                || (cx
                    .config
                    .planted(crate::planted::Bug::ReadConfirmedByOldRound)
                    && answered(peer, 1))
        };
        let membership = cx.log.membership();
        self.rounds.take_confirmed(|round| {
            membership.has_quorum(|peer| peer == node || answered(peer, round))
        })
    }

    /// Sends each follower what it lacks, as far as its windows allow. What is
    /// in memory first: those that keep up never wait for those that do not.
    /// Old entries are read for a few of these at a time, each in its turn.
    pub(super) fn replicate(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        let mut behind = Vec::new();
        for peer in peers {
            let lacks = self.replicate_to(peer, term, commit, cx);
            behind.extend(lacks.map(|to| (peer, to)));
            // A round that reads wait for goes along with entries, or alone.
            if self.peers[&peer].round_sent < self.round {
                self.send(peer, Vec::new(), term, commit, cx);
            }
        }
        let reads = |progress: &&Progress| {
            matches!(
                progress.flow,
                Flow::Stream {
                    reading: Some(_),
                    ..
                }
            )
        };
        let busy = self.peers.values().filter(reads).count() as u64;
        let free = cx.config.knobs.catch_up_reads_max.saturating_sub(busy);
        behind.sort_by_key(|(peer, _)| (*peer <= self.read_for, *peer));
        if behind.len() as u64 > free {
            cx.mark(Mark::CatchUpWaits);
        }
        for (peer, to) in behind.into_iter().zip(0..free).map(|(due, _)| due) {
            self.read_for(peer, to, cx);
        }
        self.advance_hand_over(term, cx);
    }

    /// Sends one follower what is in memory. Says up to where old entries must
    /// be read for it, if they must.
    fn replicate_to(
        &mut self,
        peer: NodeId,
        term: Term,
        commit: LogIndex,
        cx: &mut Cx<'_>,
    ) -> Option<LogIndex> {
        loop {
            let progress = self
                .peers
                .get_mut(&peer)
                .expect("replicated to known peers only");
            let is_compacted = cx.log.term_at(progress.next.prev()) == TermAt::Compacted;
            match &progress.flow {
                Flow::Snapshot { .. } if !is_compacted => {
                    progress.flow = Flow::Probe { asked: false };
                }
                Flow::Probe { .. } | Flow::Stream { .. } if is_compacted => {
                    progress.flow = Flow::Snapshot { offered: false };
                }
                Flow::Snapshot { .. } | Flow::Probe { .. } | Flow::Stream { .. } => {}
            }
            match &mut progress.flow {
                Flow::Snapshot { offered: true } | Flow::Probe { asked: true } => return None,
                Flow::Snapshot { offered } => {
                    *offered = true;
                    self.offer_snapshot(peer, term, cx);
                    return None;
                }
                Flow::Probe { asked } => {
                    *asked = true;
                    self.send(peer, Vec::new(), term, commit, cx);
                    return None;
                }
                Flow::Stream {
                    reading: Some(_), ..
                } => return None,
                Flow::Stream { in_flight, .. } => {
                    if !Progress::has_room(in_flight, &cx.config.knobs) {
                        return None;
                    }
                }
            }
            let next = progress.next;
            match cx
                .log
                .entries(next, cx.config.knobs.append_entries_max, APPEND_BYTES_MAX)
            {
                Window::Beyond => return None,
                Window::Entries(entries) => self.send_entries(peer, entries, term, commit, cx),
                Window::OnDisk { to } => return Some(to),
            }
        }
    }

    fn read_for(&mut self, peer: NodeId, to: LogIndex, cx: &mut Cx<'_>) {
        let progress = self.peers.get_mut(&peer).expect("it was just found");
        let Flow::Stream { reading, .. } = &mut progress.flow else {
            unreachable!("what a follower lacks is known when it streams");
        };
        cx.mark(Mark::ReadFromDisk);
        let read = self.next_read;
        self.next_read = read.next();
        self.read_for = peer;
        *reading = Some(read);
        let from = progress.next;
        let to = to.min(LogIndex(from.0 + cx.config.knobs.append_entries_max - 1));
        cx.outbox.act(Action::ReadLog {
            read,
            from,
            to,
            bytes_max: APPEND_BYTES_MAX,
        });
    }

    /// Old entries arrived from disk. They may have been asked for by an earlier
    /// leadership, or rewritten since: only what is still in the log is sent.
    pub(super) fn on_log_read(
        &mut self,
        read: ReadId,
        entries: Vec<LogEntry>,
        term: Term,
        commit: LogIndex,
        cx: &mut Cx<'_>,
    ) {
        let asked = self
            .peers
            .iter_mut()
            .find_map(|(peer, progress)| match &mut progress.flow {
                Flow::Stream { reading, .. } if *reading == Some(read) => {
                    *reading = None;
                    Some((*peer, progress.next))
                }
                Flow::Stream { .. } | Flow::Probe { .. } | Flow::Snapshot { .. } => None,
            });
        let Some((peer, next)) = asked else { return };
        let wanted: Vec<_> = entries
            .into_iter()
            .zip(next.0..)
            .take_while(|(entry, index)| {
                entry.index.0 == *index && cx.log.term_at(entry.index) == TermAt::Known(entry.term)
            })
            .map(|(entry, _)| entry)
            .take(usize::try_from(cx.config.knobs.append_entries_max).unwrap_or(usize::MAX))
            .collect();
        if wanted.is_empty() {
            // Asked again by the next heartbeat's answer, not at once: whatever
            // is wrong with the disk is still wrong.
            cx.mark(Mark::ReadFailed);
            let progress = self.peers.get_mut(&peer).expect("it was just found");
            progress.flow = Flow::Probe { asked: true };
            return;
        }
        self.send_entries(peer, wanted, term, commit, cx);
    }

    fn send_entries(
        &mut self,
        peer: NodeId,
        entries: Vec<LogEntry>,
        term: Term,
        commit: LogIndex,
        cx: &mut Cx<'_>,
    ) {
        let last = entries.last().expect("asked for at least one").index;
        let bytes = entries.iter().map(|entry| entry.body.count()).sum();
        self.send(peer, entries, term, commit, cx);
        let progress = self
            .peers
            .get_mut(&peer)
            .expect("replicated to known peers only");
        progress.next = last.next();
        if let Flow::Stream { in_flight, .. } = &mut progress.flow {
            in_flight.push_back(InFlight { last, bytes });
        }
    }

    pub(super) fn send(
        &mut self,
        peer: NodeId,
        entries: Vec<LogEntry>,
        term: Term,
        commit: LogIndex,
        cx: &mut Cx<'_>,
    ) {
        let index = self.peers[&peer].next.prev();
        // A follower that lacks what the log no longer holds gets heartbeats all
        // the same, so that it does not stand for election.
        let index = if entries.is_empty() {
            index.max(cx.log.first_known())
        } else {
            index
        };
        let TermAt::Known(previous_term) = cx.log.term_at(index) else {
            unreachable!("entries are sent only after one whose term is known: {index}");
        };
        let append = Append {
            previous: LogPosition {
                term: previous_term,
                index,
            },
            entries,
            commit,
            held_by_all: self.held_by_all(cx),
            round: self.round,
            state_hash: self.state_hash,
        };
        if let Some(progress) = self.peers.get_mut(&peer) {
            progress.round_sent = self.round;
        }
        let message = cx.message(term, Body::Append(append));
        cx.outbox.say(peer, message);
    }
}
