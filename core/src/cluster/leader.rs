//! The leader's side of replication: who has what, what to send next, what is
//! committed, and whether a majority still listens.

use std::collections::BTreeMap;

use super::Next;
use super::progress::{Flow, Progress};
use super::reads::{Round, Rounds};
use super::sender::SnapshotSender;
use crate::action::Action;
use crate::cx::Cx;
use crate::entry::LogEntry;
use crate::ids::{Incarnation, LogIndex, NodeId, ReadId, ReadNumber, Term};
use crate::limits::APPEND_BYTES_MAX;
use crate::log::{TermAt, Window};
use crate::marks::Mark;
use crate::message::{Append, AppendReply, AppendResult, Body, LogPosition, StateHashAt};
use crate::time::{Span, Time};

/// A leader's own state: gone with the leadership.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// Every other member.
    peers: BTreeMap<NodeId, Progress>,
    /// The latest round: each append carries it, each answer names it.
    round: u64,
    rounds: Rounds,
    next_heartbeat: Time,
    next_read: ReadId,
    /// The bytes of appended, uncommitted bodies.
    uncommitted_bytes: u64,
    hand_over: Option<HandOver>,
    /// For followers that lack what the log no longer holds.
    pub(super) sender: SnapshotSender,
    /// What a heartbeat carries for comparison.
    pub(super) state_hash: Option<StateHashAt>,
}

/// A leadership on its way to another (dissertation §3.10).
#[derive(Clone, Copy, Debug)]
struct HandOver {
    to: NodeId,
    deadline: Time,
    told: bool,
}

impl Leader {
    /// A new leader, which knows nothing of its followers' logs.
    pub(super) fn new(commit: LogIndex, cx: &Cx<'_>) -> Leader {
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
            sender: SnapshotSender::default(),
            state_hash: None,
        };
        leader.on_membership(cx);
        leader
    }

    /// Others belong to the cluster now.
    pub(super) fn on_membership(&mut self, cx: &Cx<'_>) {
        let membership = cx.log.membership();
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
        let successor_left = |hand_over: HandOver| !membership.is_voter(hand_over.to);
        if self.hand_over.is_some_and(successor_left) {
            self.hand_over = None;
        }
    }

    /// The life of a follower's disk, if it spoke in this term.
    pub(super) fn incarnation_of(&self, peer: NodeId) -> Option<Incarnation> {
        self.peers.get(&peer)?.incarnation
    }

    /// How many entries a member lacks, if too many for it to vote: it could
    /// hold up every commit until it has them (dissertation §4.2.1).
    pub(super) fn missing(&self, peer: NodeId, cx: &Cx<'_>) -> Option<u64> {
        let last = cx.log.last().index.0;
        let durable = self.peers.get(&peer).map_or(0, |peer| peer.durable.0);
        let missing = last.saturating_sub(durable);
        (missing > cx.config.knobs.promotion_lag_entries_max).then_some(missing)
    }

    /// The last word of a leader that leaves: what is committed, and that the
    /// fittest shall stand for election.
    pub(super) fn say_farewell(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.send(peer, Vec::new(), term, commit, cx);
        }
        if let Some(successor) = self.fittest(cx) {
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(successor, message);
        }
    }

    /// The voter with the longest confirmed log among those that were heard lately.
    fn fittest(&self, cx: &Cx<'_>) -> Option<NodeId> {
        let timeout = cx.config.election_timeout_min();
        let fit = self.peers.iter().filter(|(peer, progress)| {
            cx.log.membership().is_voter(**peer) && cx.time().since(progress.heard) < timeout
        });
        fit.max_by_key(|(peer, progress)| (progress.durable, std::cmp::Reverse(**peer)))
            .map(|(peer, _)| *peer)
    }

    /// When it must act again.
    pub(super) fn deadline(&self) -> Time {
        self.hand_over.map_or(self.next_heartbeat, |hand_over| {
            self.next_heartbeat.min(hand_over.deadline)
        })
    }

    /// Is it handing over?
    pub(super) fn is_yielding(&self) -> bool {
        self.hand_over.is_some()
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
        if *progress.incarnation.get_or_insert(incarnation) != incarnation {
            cx.mark(Mark::StaleIncarnationIgnored);
            return;
        }
        if reply.round > self.round {
            // A round that was never begun cannot be confirmed.
            cx.mark(Mark::StaleTermIgnored);
        } else if reply.round > progress.round {
            // Heard only if that is news: late copies of old answers are no sign
            // of a quorum.
            progress.round = reply.round;
            progress.heard = cx.time();
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

    /// Begins to hand over to the voter with the longest confirmed log that was
    /// heard lately, if there is one.
    pub(super) fn start_hand_over(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(to) = self.fittest(cx) else {
            return false;
        };
        cx.mark(Mark::HandOverStarted);
        let deadline = cx.time() + Span::from_ms(cx.config.knobs.election_timeout_ms_max);
        self.hand_over = Some(HandOver {
            to,
            deadline,
            told: false,
        });
        true
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
        if let Some(hand_over) = self.hand_over
            && hand_over.deadline <= cx.time()
        {
            cx.mark(Mark::HandOverTimedOut);
            self.hand_over = None;
        }
        if cx.time() < self.next_heartbeat {
            return Next::Stay;
        }
        // CheckQuorum (dissertation §6.2): a leader that nobody hears must not
        // keep clients waiting.
        let timeout = Span::from_ms(cx.config.knobs.election_timeout_ms_max);
        let listens = |node| {
            let heard = |progress: &Progress| cx.time().since(progress.heard) <= timeout;
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

    /// Sends each follower what it lacks, as far as its windows allow.
    pub(super) fn replicate(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.replicate_to(peer, term, commit, cx);
            // A round that reads wait for goes along with entries, or alone.
            if self.peers[&peer].round_sent < self.round {
                self.send(peer, Vec::new(), term, commit, cx);
            }
        }
        let ready = self.hand_over.filter(|hand_over| {
            let caught_up = self
                .peers
                .get(&hand_over.to)
                .is_some_and(|p| p.durable == cx.log.last().index);
            caught_up && !hand_over.told
        });
        if let Some(hand_over) = ready {
            cx.mark(Mark::HandOverSent);
            self.hand_over = Some(HandOver {
                told: true,
                ..hand_over
            });
            let message = cx.message(term, Body::TimeoutNow);
            cx.outbox.say(hand_over.to, message);
        }
    }

    fn replicate_to(&mut self, peer: NodeId, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
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
            let in_flight = match &mut progress.flow {
                Flow::Snapshot { offered: true } => return,
                Flow::Snapshot { offered } => {
                    *offered = true;
                    return self.offer_snapshot(peer, term, cx);
                }
                Flow::Probe { asked: true } => return,
                Flow::Probe { asked } => {
                    *asked = true;
                    return self.send(peer, Vec::new(), term, commit, cx);
                }
                Flow::Stream {
                    reading: Some(_), ..
                } => return,
                Flow::Stream { in_flight, .. } => in_flight.len() as u64,
            };
            if in_flight >= cx.config.knobs.appends_in_flight_max {
                return;
            }
            let next = progress.next;
            match cx
                .log
                .entries(next, cx.config.knobs.append_entries_max, APPEND_BYTES_MAX)
            {
                Window::Beyond => return,
                Window::Entries(entries) => self.send_entries(peer, entries, term, commit, cx),
                Window::OnDisk { to } => {
                    cx.mark(Mark::ReadFromDisk);
                    let read = self.next_read();
                    let to = to.min(LogIndex(next.0 + cx.config.knobs.append_entries_max - 1));
                    cx.outbox.act(Action::ReadLog {
                        read,
                        from: next,
                        to,
                        bytes_max: APPEND_BYTES_MAX,
                    });
                    if let Some(Progress {
                        flow: Flow::Stream { reading, .. },
                        ..
                    }) = self.peers.get_mut(&peer)
                    {
                        *reading = Some(read);
                    }
                    return;
                }
            }
        }
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
        self.send(peer, entries, term, commit, cx);
        let progress = self
            .peers
            .get_mut(&peer)
            .expect("replicated to known peers only");
        progress.next = last.next();
        if let Flow::Stream { in_flight, .. } = &mut progress.flow {
            in_flight.push_back(last);
        }
    }

    fn send(
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
