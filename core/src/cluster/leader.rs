//! A leader's own state, and what it concludes from its followers' answers: who
//! has what, what is committed, and whether a majority still listens. What it
//! sends is in `replicate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Next;
use super::hand_over::HandOver;
use super::peers::Peers;
use super::progress::{Flow, Progress};
use super::reads::{Round, Rounds};
use super::sender::SnapshotSender;
use super::timing;
use crate::cx::Cx;
use crate::ids::{Incarnation, LogIndex, NodeId, ReadId, ReadNumber, Term};
use crate::log::TermAt;
use crate::marks::Mark;
use crate::message::{AppendReply, AppendResult, LogPosition, StateHashAt};
use crate::request::HandOverError;
use crate::time::{Span, Time};

/// A leader's own state: gone with the leadership.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// Every other member.
    pub(super) peers: Peers,
    /// By what the commit was counted last: how far the own disk is, and the
    /// membership. None when a follower has got further since.
    counted: Option<(LogIndex, LogIndex)>,
    /// The latest round: each append carries it, each answer names it.
    pub(super) round: u64,
    rounds: Rounds,
    next_heartbeat: Time,
    pub(super) next_read: ReadId,
    /// The bytes of appended, uncommitted bodies.
    uncommitted_bytes: u64,
    pub(super) hand_over: Option<HandOver>,
    /// How the last one failed, until it is told.
    pub(super) hand_over_end: Option<HandOverError>,
    /// When it last tried to give way to one better off.
    pub(super) gave_way: Option<Time>,
    /// For whom old entries were asked last: the next in turn comes after it.
    pub(super) read_for: NodeId,
    /// For followers that lack what the log no longer holds.
    pub(super) sender: SnapshotSender,
    /// The membership's entry after which nothing follows of itself.
    pub(super) at_rest: Option<LogIndex>,
    /// What a heartbeat carries for comparison.
    pub(super) state_hash: Option<Arc<StateHashAt>>,
}

impl Leader {
    /// A new leader, which knows nothing of its followers' logs.
    pub(super) fn new(commit: LogIndex, cx: &mut Cx<'_>) -> Leader {
        let last = cx.log.last().index;
        let mut leader = Leader {
            peers: Peers::default(),
            counted: None,
            round: 0,
            rounds: Rounds::default(),
            next_heartbeat: cx.time(),
            next_read: ReadId(1),
            uncommitted_bytes: cx.log.bytes_between(commit, last),
            hand_over: None,
            hand_over_end: None,
            gave_way: None,
            read_for: NodeId(0),
            sender: SnapshotSender::default(),
            at_rest: None,
            state_hash: None,
        };
        leader.on_membership(cx);
        leader
    }

    /// Others belong to the cluster now.
    pub(super) fn on_membership(&mut self, cx: &mut Cx<'_>) {
        let membership = cx.log.membership().clone();
        self.counted = None;
        self.peers.retain(|peer| membership.contains(peer));
        for peer in membership.nodes().filter(|peer| *peer != cx.config.node) {
            let next = cx.log.last().index.next();
            self.peers.add(peer, || Progress::new(next, cx.time()));
        }
        // Another life of a disk begins with nothing.
        for (peer, progress) in self.peers.iter_mut() {
            let counts = |life| membership.counts(peer, life);
            if progress.incarnation.is_some_and(|life| !counts(life)) {
                *progress = Progress::new(cx.log.last().index.next(), cx.time());
            }
        }
        self.end_hand_over_to_no_voter(cx);
    }

    /// Is the membership in force one that was found to be at its end? Asked in
    /// every turn.
    pub(super) fn is_at_rest(&self, cx: &Cx<'_>) -> bool {
        self.at_rest == Some(cx.log.membership_index())
    }

    /// The life of a follower's disk, if it spoke in this term.
    pub(super) fn incarnation_of(&self, peer: NodeId) -> Option<Incarnation> {
        self.peers.get(peer)?.incarnation
    }

    /// How many entries a member lacks, if too many for it to vote: it could
    /// hold up every commit until it has them (dissertation §4.2.1). One that has
    /// never spoken in this term may not be there at all, however short the log is
    /// (see scripts/membership/silent_learner_gets_no_vote.txt).
    pub(super) fn missing(&self, peer: NodeId, cx: &Cx<'_>) -> Option<u64> {
        let last = cx.log.last().index.0;
        let spoken = self.peers.get(peer).filter(|p| p.incarnation.is_some());
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
        let peers = self
            .peers
            .iter()
            .map(|(_, progress)| progress.durable)
            .min();
        peers.map_or(cx.outbox.durable(), |peers| peers.min(cx.outbox.durable()))
    }

    /// Each follower's durable match.
    pub(super) fn matched(&self) -> impl Iterator<Item = (NodeId, LogIndex)> + '_ {
        self.peers
            .iter()
            .map(|(peer, progress)| (peer, progress.durable))
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
        let Some(progress) = self.peers.get_mut(from) else {
            return;
        };
        self.counted = None;
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
        if let Some(progress) = self.peers.get_mut(peer) {
            progress.on_reconnect();
        }
    }

    /// What a majority holds durably, if it is of this term: an older term's
    /// entry is committed only by what follows it (Raft §5.4.2, figure 8).
    /// This node counts like the others, with what is on its own disk. None if
    /// nothing has changed since they were counted last.
    pub(super) fn count(&mut self, term: Term, commit: LogIndex, cx: &Cx<'_>) -> Option<LogIndex> {
        let own = cx.outbox.durable();
        let by = Some((own, cx.log.membership_index()));
        if self.counted == by {
            return None;
        }
        self.counted = by;
        let durable = |node| match node == cx.config.node {
            true => own,
            false => self
                .peers
                .get(node)
                .map_or(LogIndex(0), |progress| progress.durable),
        };
        let reached = cx.log.membership().reached_by_quorum(durable);
        #[cfg(feature = "planted-bugs")]
        let reached =
            super::miscount::reached(cx.config, cx.log.membership(), durable).unwrap_or(reached);
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
            return Some(commit);
        }
        let bytes = cx.log.bytes_between(commit, reached);
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
        Some(reached)
    }

    /// What time asks of a leader: heartbeats, and to give up without a majority.
    pub(super) fn on_time(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) -> Next {
        self.end_late_hand_over(cx);
        if cx.time() < self.next_heartbeat {
            return Next::Stay;
        }
        // CheckQuorum (dissertation §6.2): a leader that nobody hears must not
        // keep clients waiting. It waits for each as long as that one waits for it
        // (`timing`, rule 2): it is not the first to give up. Whose connection closed
        // may be dead, and waits for nobody then: its last word of patience is void.
        let listens = |node| {
            let heard = |progress: &Progress| {
                let told = match progress.down {
                    true => Span::ZERO,
                    false => progress.patience,
                };
                let patience = timing::patience_for(told, &cx.config.knobs);
                cx.time().since(progress.heard) <= patience
            };
            node == cx.config.node || self.peers.get(node).is_some_and(heard)
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
        for (_, progress) in self.peers.iter_mut() {
            if let Flow::Snapshot { offered } = &mut progress.flow {
                *offered = false;
            }
        }
        self.send_to_all(term, commit, cx);
        Next::Stay
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
        if !self.rounds.is_waited_for() {
            return;
        }
        let own = cx.log.term_at(commit) == TermAt::Known(term);
        #[cfg(feature = "planted-bugs")]
        let own = own || cx.config.planted(crate::planted::Bug::ReadBeforeOwnCommit);
        if own && self.rounds.has_room() {
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
        if self.rounds.are_all_confirmed() {
            return Vec::new();
        }
        let (peers, node) = (&self.peers, cx.config.node);
        let answered = |peer, round| peers.get(peer).is_some_and(|p: &Progress| p.round >= round);
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
}
