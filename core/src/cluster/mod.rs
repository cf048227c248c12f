//! `ClusterCoordinator`: term, vote, role and replication. Knows nothing of
//! what entries mean, of clients or of workers.
//!
//! Every role answers an event with a [`Next`]; only this file performs it, so
//! that term and vote change in one place. Timers are looked at when a turn
//! ends, after everything that had already arrived was taken in: a node that
//! was stalled reads its mail before it judges others.

mod appends;
mod candidate;
mod follower;
mod forwarding;
mod hand_over;
mod leader;
mod loans;
mod members;
#[cfg(feature = "planted-bugs")]
mod miscount;
mod peers;
mod progress;
mod promotion;
mod reads;
mod receiver;
mod repair;
mod replicate;
mod sender;
mod standing;
mod timing;
mod transfer;
mod unsafe_recovery;
mod votes;

use std::sync::Arc;

use crate::action::Violation;
use crate::bytes::Bytes;
use crate::config::Knobs;
use crate::cx::Cx;
use crate::digest::Digest;
use crate::entry::{EntryKind, HardState, LogEntry};
use crate::ids::{LogIndex, NodeId, ReadId, RequestId, Term};
use crate::marks::Mark;
use crate::membership::{RecoveryError, RecoveryReport};
use crate::message::{AppendReply, Body, ForwardEnd, Message, StateHashAt};
use crate::request::{HandOverError, Refusal};
use crate::snapshot::SnapshotMeta;
use crate::status::{Condition, RoleName};
use crate::time::{Span, Time};

use candidate::Candidate;
use follower::Follower;
use leader::Leader;
pub use members::ChangeRefused;
use reads::{Asked, Heard};
use receiver::SnapshotReceiver;
use timing::Timing;
use unsafe_recovery::UnsafeRecovery;

/// What a role wants to become.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Next {
    /// As it is.
    Stay,
    /// Follow in a term: the same or a later one.
    Follow { term: Term, leader: Option<NodeId> },
    /// Ask for pre-votes.
    PreCampaign,
    /// Ask for votes in the next term.
    Campaign { transfer: bool },
    /// Lead.
    Lead,
    /// Stop for ever.
    Halt(Box<Violation>),
}

#[derive(Clone, Debug)]
enum Role {
    Follower(Follower),
    PreCandidate(Candidate),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// What the rest of the node must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// This node leads now: its first entry must be proposed at once.
    Elected {
        /// The new term.
        term: Term,
    },
    /// This node leads no more: what it proposed may or may not survive.
    Deposed,
    /// A hand-over came to nothing: this node goes on leading.
    HandOverEnded(HandOverError),
    /// An unsafe recovery has begun to take effect: the survivors' membership is appended.
    Recovered(RecoveryReport),
    /// An unsafe recovery came to nothing.
    RecoveryFailed(RecoveryError),
    /// The image of the leader's snapshot is whole.
    ImageReceived {
        /// Of which.
        meta: SnapshotMeta,
        /// Its bytes, one after the other.
        pieces: Vec<Bytes>,
    },
    /// Bodies that the snapshot speaks of came.
    BodiesReceived(Vec<(Digest, Bytes)>),
    /// A member sends a request that it keeps for a client.
    Forward {
        /// Which member.
        from: NodeId,
        /// Names the sending.
        attempt: u64,
        /// The encoded entry.
        entry: Bytes,
    },
    /// Whom this node took for its leader says what became of such a request.
    Forwarded {
        /// Which.
        request: RequestId,
        /// Of which sending.
        attempt: u64,
        /// What.
        end: ForwardEnd,
    },
    /// A broken invariant.
    Halt(Violation),
}

/// Why a proposal was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProposeError {
    /// This node does not lead.
    NotLeader,
    /// It does not take proposals now.
    Refused(Refusal),
}

/// This node's part in consensus.
#[derive(Clone, Debug)]
pub struct ClusterCoordinator {
    hard_state: HardState,
    role: Role,
    commit: LogIndex,
    /// The latest round heard of a leader, with its term: what comes of this
    /// round or an earlier one may be a late copy, and proves no life.
    heard_round: Option<(Term, u64)>,
    held_by_all: LogIndex,
    /// The latest state hash of a leader, and its term.
    peer_state_hash: Option<(Term, StateHashAt)>,
    /// Since which entry others say that this node is no member.
    removed_since: Option<LogIndex>,
    timing: Timing,
    /// How many rounds of votes failed since a leader was known.
    rounds_failed: u32,
    /// What this node thinks of itself.
    own: Condition,
    /// It is about to end, and stands for nothing any more.
    stopping: bool,
    /// An operator wants this node to lead without a majority.
    recovery: Option<UnsafeRecovery>,
    /// A snapshot that comes from the leader.
    receiver: Option<SnapshotReceiver>,
    /// What this node wants to know for its own readers: outlives every role.
    asked: Asked,
    heard: Heard,
    changes: Vec<Change>,
}

impl ClusterCoordinator {
    /// A node that starts with what its disk holds, as a follower of nobody.
    #[must_use]
    pub fn new(hard_state: HardState, commit: LogIndex, cx: &mut Cx<'_>) -> ClusterCoordinator {
        let timing = Timing::default();
        let wait = timing.draw(cx);
        ClusterCoordinator {
            hard_state,
            role: Role::Follower(Follower::new(None, cx.time() + wait, cx)),
            commit,
            heard_round: None,
            held_by_all: LogIndex(0),
            peer_state_hash: None,
            removed_since: None,
            timing,
            rounds_failed: 0,
            own: Condition::default(),
            stopping: false,
            recovery: None,
            receiver: None,
            asked: Asked::default(),
            heard: Heard::default(),
            changes: Vec::new(),
        }
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Who got this node's vote in the current term.
    #[must_use]
    pub fn vote(&self) -> Option<NodeId> {
        self.hard_state.vote
    }

    /// The highest index known to be committed.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        self.commit
    }

    /// The role's name.
    #[must_use]
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Follower(_) => RoleName::Follower,
            Role::PreCandidate(_) => RoleName::PreCandidate,
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }

    /// Who leads this term, if that is known.
    #[must_use]
    pub fn leader(&self, node: NodeId) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader.filter(|_| !follower.is_suspicious()),
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(node),
        }
    }

    /// Does this node lead, and hand over?
    #[must_use]
    pub fn is_yielding(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.is_yielding())
    }

    /// Every voter has all up to here, durably.
    #[must_use]
    pub fn held_by_all(&self) -> LogIndex {
        self.held_by_all
    }

    /// How far each follower's durable log is known to agree; empty unless this node leads.
    #[must_use]
    pub fn matched(&self) -> Vec<(NodeId, LogIndex)> {
        match &self.role {
            Role::Leader(leader) => leader.matched().collect(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        }
    }

    /// When time alone will change something.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let role = self.role_deadline();
        self.asked.deadline().map_or(role, |asked| asked.min(role))
    }

    fn role_deadline(&self) -> Time {
        match &self.role {
            Role::Follower(follower) => follower.deadline,
            Role::PreCandidate(candidate) | Role::Candidate(candidate) => candidate.deadline,
            Role::Leader(leader) => leader.deadline(),
        }
    }

    /// For how long this node waits for its leader: the least, and the most.
    #[must_use]
    pub fn election_timeout(&self, knobs: &Knobs) -> (Span, Span) {
        (self.timing.base(knobs), self.timing.longest(knobs))
    }

    /// When its time to stand for election comes; none unless it follows.
    #[must_use]
    pub fn stands_at(&self) -> Option<Time> {
        match &self.role {
            Role::Follower(follower) => Some(follower.deadline),
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => None,
        }
    }

    /// Has anything happened since changes were taken last? Mostly not.
    #[must_use]
    #[inline]
    pub fn has_changes(&self) -> bool {
        let ended = matches!(&self.role, Role::Leader(leader) if leader.hand_over_end.is_some());
        ended || !self.changes.is_empty()
    }

    /// What happened since this was asked last, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        if let Role::Leader(leader) = &mut self.role {
            let ended = leader.take_hand_over_end();
            self.changes.extend(ended.map(Change::HandOverEnded));
        }
        std::mem::take(&mut self.changes)
    }

    /// What a leader's appends carry for its followers to compare.
    pub fn set_state_hash(&mut self, state_hash: StateHashAt) {
        if let Role::Leader(leader) = &mut self.role {
            leader.state_hash = Some(Arc::new(state_hash));
        }
    }

    /// Appends a client's proposal, if this node leads and has room.
    ///
    /// # Errors
    /// If it certainly was not appended.
    pub fn propose(&mut self, body: Bytes, cx: &mut Cx<'_>) -> Result<LogIndex, ProposeError> {
        let Role::Leader(leader) = &mut self.role else {
            return Err(ProposeError::NotLeader);
        };
        let yields = leader.is_yielding();
        #[cfg(feature = "planted-bugs")]
        let yields = yields
            && !cx
                .config
                .planted(crate::planted::Bug::YieldingLeaderAppends);
        if yields {
            return Err(ProposeError::Refused(Refusal::Yielding));
        }
        if !leader.has_room(body.count(), cx) {
            cx.mark(Mark::ProposalRefused);
            return Err(ProposeError::Refused(Refusal::UncommittedBytes));
        }
        Ok(self.append_own(body, cx))
    }

    /// Appends an entry of the leader's own: small, and never refused for room.
    ///
    /// # Panics
    /// If this node does not lead: our own error.
    pub fn append_own(&mut self, body: Bytes, cx: &mut Cx<'_>) -> LogIndex {
        self.append_as_leader(EntryKind::Command, body, cx)
    }

    fn append_as_leader(&mut self, kind: EntryKind, body: Bytes, cx: &mut Cx<'_>) -> LogIndex {
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader has entries of its own");
        };
        leader.on_proposed(body.count());
        let entry = cx.log.next_entry(self.hard_state.term, kind, body);
        let index = entry.index;
        cx.append(entry);
        index
    }

    /// A peer's connection opened.
    pub fn on_peer_up(&mut self, peer: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_reconnect(peer);
        }
    }

    /// A peer's connection closed.
    pub fn on_peer_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        match &mut self.role {
            Role::Follower(follower) => follower.on_peer_down(peer, cx),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => leader.on_peer_down(peer, cx),
        }
    }

    /// Old entries that were asked for are here.
    pub fn on_log_read(&mut self, read: ReadId, entries: Vec<LogEntry>, cx: &mut Cx<'_>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_log_read(read, entries, self.hard_state.term, self.commit, cx);
        }
    }

    /// A voter's word.
    pub fn on_message(&mut self, from: NodeId, message: Message, cx: &mut Cx<'_>) {
        let (term, incarnation) = (message.term, message.incarnation);
        if from == cx.config.node || !self.is_heard(from, incarnation, &message.body, cx) {
            return;
        }
        if term > self.hard_state.term && self.adopts(&message.body, cx) {
            let leader = matches!(message.body, Body::Append(_)).then_some(from);
            if matches!(self.role, Role::Leader(_)) {
                cx.mark(Mark::SteppedDownHigherTerm);
            }
            self.perform(Next::Follow { term, leader }, cx);
        }
        let next = match message.body {
            Body::PreVote { last } => self.on_pre_vote(from, term, last, cx),
            Body::Vote { last, transfer } => self.on_vote(from, term, last, transfer, cx),
            Body::PreVoteReply { granted } => self.on_pre_vote_reply(from, term, granted, cx),
            Body::VoteReply { granted } => self.on_vote_reply(from, term, granted, cx),
            Body::Append(ref append) => self.on_append(from, term, append, cx),
            Body::AppendReply(reply) => {
                match &mut self.role {
                    Role::Leader(leader) if term == self.hard_state.term => {
                        leader.on_append_reply(from, incarnation, reply, cx);
                    }
                    Role::Leader(_)
                    | Role::Follower(_)
                    | Role::PreCandidate(_)
                    | Role::Candidate(_) => {}
                }
                Next::Stay
            }
            Body::Lend(loan) => self.on_lend(from, term, loan, cx),
            Body::TimeoutNow => {
                let follows = matches!(&self.role, Role::Follower(f) if f.leader == Some(from));
                let stands = self.may_campaign(cx) && !self.own.stays_back;
                if term == self.hard_state.term && follows && stands {
                    Next::Campaign { transfer: true }
                } else {
                    Next::Stay
                }
            }
            Body::Removed { since } => {
                self.on_removed(since, cx);
                Next::Stay
            }
            Body::ReadIndex { number } => {
                self.on_read_index(from, term, number, cx);
                Next::Stay
            }
            Body::ReadIndexReply { number, index } => {
                self.asked.on_answer(number, index);
                Next::Stay
            }
            body @ (Body::Forward { .. } | Body::Forwarded { .. }) => {
                self.on_forwarding(from, body);
                Next::Stay
            }
            body @ (Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. }) => {
                self.on_transfer(from, term, body, cx);
                Next::Stay
            }
        };
        self.perform(next, cx);
    }

    /// The end of a turn's events: what the disk has confirmed counts, and what
    /// time demands is done, as far as this node is well enough for it.
    pub fn on_turn(&mut self, own: Condition, cx: &mut Cx<'_>) {
        self.own = own;
        #[cfg(feature = "planted-bugs")]
        if cx.config.planted(crate::planted::Bug::ConfigOnCommit) {
            cx.log.in_force_up_to = Some(self.commit);
        }
        // A lone voter goes from follower to leader without another event.
        loop {
            let next = self.next_by_time(cx);
            if next == Next::Stay {
                break;
            }
            self.perform(next, cx);
            if matches!(self.role, Role::Leader(_)) {
                break;
            }
        }
        if let Role::Leader(leader) = &mut self.role {
            if let Some(commit) = leader.count(self.hard_state.term, self.commit, cx) {
                assert!(
                    commit >= self.commit,
                    "commit never falls: {commit} after {}",
                    self.commit
                );
                self.commit = commit;
                self.held_by_all = self.held_by_all.max(leader.held_by_all(cx));
            }
            self.promote_unasked(cx);
            self.advance_membership(cx);
        }
        self.advance_reads(cx);
    }

    /// The turn is over: followers are told what is new, or the leader is.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        cx.seal();
        self.end_repair(cx);
        let term = self.hard_state.term;
        self.go_on_receiving(cx);
        match &mut self.role {
            Role::Leader(leader) => leader.replicate(term, self.commit, cx),
            Role::Follower(follower) => {
                let repairing = self.hard_state.repairing.is_some();
                if let Some(answer) = follower.report(repairing, cx) {
                    let reply = AppendReply {
                        round: answer.round,
                        result: answer.result,
                        health: self.own.health,
                        patience: self.timing.longest(&cx.config.knobs),
                    };
                    // The reply speaks of what is durable only.
                    say_in_term(answer.to, term, Body::AppendReply(reply), cx);
                }
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }

    fn perform(&mut self, next: Next, cx: &mut Cx<'_>) {
        match next {
            Next::Stay => {}
            Next::Follow { term, leader } => self.become_follower(term, leader, cx),
            Next::PreCampaign => self.become_pre_candidate(cx),
            Next::Campaign { transfer } => self.become_candidate(transfer, cx),
            Next::Lead => self.become_leader(cx),
            Next::Halt(violation) => self.changes.push(Change::Halt(*violation)),
        }
    }

    fn become_follower(&mut self, term: Term, leader: Option<NodeId>, cx: &mut Cx<'_>) {
        assert!(
            term >= self.hard_state.term,
            "terms never fall: {term} after {}",
            self.hard_state.term
        );
        if matches!(self.role, Role::Leader(_)) {
            self.changes.push(Change::Deposed);
        }
        self.give_recovery_up();
        // In the same term the vote stays: it was given.
        if term > self.hard_state.term {
            self.hard_state.term = term;
            self.hard_state.vote = None;
            self.save_hard_state(cx);
        }
        let drawn = self.timing.draw(cx);
        let mut deadline = cx.time() + drawn;
        // A higher term alone is no word of a leader: whoever asks for votes that
        // nobody gives it must not keep this node from standing itself.
        if let (Role::Follower(waiting), None) = (&self.role, leader) {
            deadline = deadline.min(waiting.deadline);
        }
        self.role = Role::Follower(Follower::new(leader, deadline, cx));
    }

    fn become_leader(&mut self, cx: &mut Cx<'_>) {
        assert!(
            matches!(self.role, Role::Candidate(_)),
            "only a candidate becomes leader"
        );
        assert_eq!(
            self.hard_state.vote,
            Some(cx.config.node),
            "a candidate voted for itself"
        );
        if !self.is_recovery_possible(cx) {
            let term = self.hard_state.term;
            return self.become_follower(term, None, cx);
        }
        cx.mark(Mark::ElectionWon);
        self.rounds_failed = 0;
        self.role = Role::Leader(Box::new(Leader::new(self.commit, cx)));
        self.changes.push(Change::Elected {
            term: self.hard_state.term,
        });
        self.found_anew(cx);
    }

    fn survivors(&self) -> Option<Vec<NodeId>> {
        self.recovery.as_ref().map(UnsafeRecovery::survivors)
    }

    fn save_hard_state(&mut self, cx: &mut Cx<'_>) {
        cx.outbox.set_hard_state(self.hard_state);
    }
}

/// Says what depends on no write but that of the term itself.
fn say_in_term(to: NodeId, term: Term, body: Body, cx: &mut Cx<'_>) {
    let message = cx.message(term, body);
    if cx.outbox.is_hard_state_durable() {
        cx.outbox.say(to, message);
    } else {
        cx.outbox.say_durable(to, message);
    }
}
