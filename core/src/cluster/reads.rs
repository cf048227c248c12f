//! Reads that see everything committed before them (ReadIndex, dissertation
//! §6.4), on every node: how far must it have applied before it may answer?
//! And for reads that need not: how old is what it has applied? Knows nothing
//! of what is read.
//!
//! A node's questions are numbered, and a number covers all that the node
//! wanted to know until then. Whoever answers a question learned of it after
//! the reads that it covers had been asked, so any answer holds for them, however
//! often the question was repeated, to whichever leader. Each send takes a
//! fresh number, and the numbers of another process of the same node are not its own:
//! an old answer never covers a later read (etcd #20418, where they were the client's).
//!
//! A leader gathers the questions of a turn into one round. Its number is fresh,
//! so that only an answer to a message sent after the questions confirms them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::{ClusterCoordinator, Role, say_in_term};
use crate::cx::Cx;
use crate::ids::{LogIndex, NodeId, ReadNumber, Term};
use crate::limits::{HEARD_COMMITS_MAX, ROUNDS_UNDER_WAY_MAX};
use crate::log::{Log, TermAt};
use crate::marks::Mark;
use crate::message::Body;
use crate::time::{Span, Time};

/// A round of a leader: confirmed when a majority answers it, or a later one.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Its number.
    pub(super) round: u64,
    /// When it began.
    pub(super) begun: Time,
    /// What was committed then.
    pub(super) commit: LogIndex,
    /// Who waits for it, with the latest question of each.
    pub(super) readers: BTreeMap<NodeId, ReadNumber>,
}

/// A leader's rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    /// Who waits for the next round to begin.
    waiting: BTreeMap<NodeId, ReadNumber>,
    /// What began and is not confirmed, in order.
    under_way: VecDeque<Round>,
}

impl Rounds {
    /// Somebody waits for the next round. Of two questions of one node the later
    /// one covers both.
    pub(super) fn wait(&mut self, node: NodeId, number: ReadNumber) {
        let waiting = self.waiting.entry(node).or_insert(number);
        if waiting.life != number.life || waiting.count < number.count {
            *waiting = number;
        }
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Is no round under way?
    pub(super) fn are_all_confirmed(&self) -> bool {
        self.under_way.is_empty()
    }

    /// May another round be kept?
    pub(super) fn has_room(&self) -> bool {
        (self.under_way.len() as u64) < ROUNDS_UNDER_WAY_MAX
    }

    pub(super) fn take_waiting(&mut self) -> BTreeMap<NodeId, ReadNumber> {
        std::mem::take(&mut self.waiting)
    }

    /// A round begins.
    pub(super) fn begin(&mut self, round: Round) {
        assert!(self.has_room(), "rounds under way are bounded");
        let follows = |last: &Round| last.round < round.round && last.commit <= round.commit;
        assert!(
            self.under_way.back().is_none_or(follows),
            "a round has a fresh number, and commit never falls: {round:?}"
        );
        self.under_way.push_back(round);
    }

    /// The rounds that are confirmed by now. Who answered a later round
    /// answered the earlier ones too, so they are the first ones.
    pub(super) fn take_confirmed(&mut self, confirmed: impl Fn(u64) -> bool) -> Vec<Round> {
        let count = self
            .under_way
            .iter()
            .take_while(|round| confirmed(round.round))
            .count();
        self.under_way.drain(..count).collect()
    }
}

/// What a node wants to know for its own readers, whoever leads.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The latest number; none before the first question.
    last: Option<ReadNumber>,
    /// The latest number that readers wait for.
    wanted: Option<ReadNumber>,
    /// Readers came since the last question was sent.
    unsent: bool,
    /// Who was asked last, in which term.
    of: Option<(NodeId, Term)>,
    /// When to ask again: what was said may be lost.
    again: Option<Time>,
    /// Answers, in order of arrival.
    confirmed: Vec<(ReadNumber, LogIndex)>,
}

impl Asked {
    fn fresh(&mut self, cx: &mut Cx<'_>) -> ReadNumber {
        let number = match self.last {
            Some(last) => ReadNumber {
                count: last.count + 1,
                ..last
            },
            None => ReadNumber {
                life: cx.random.next_u64(),
                count: 1,
            },
        };
        self.last = Some(number);
        number
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.again
    }

    /// A leader's answer. One that this process never asked for counts for nothing.
    pub(super) fn on_answer(&mut self, number: ReadNumber, index: LogIndex) {
        let known = |last: ReadNumber| last.life == number.life && number.count <= last.count;
        if !self.last.is_some_and(known) || self.wanted.is_none() {
            return;
        }
        if self.wanted.is_some_and(|wanted| wanted <= number) {
            self.forget();
        }
        self.confirmed.push((number, index));
    }

    fn forget(&mut self) {
        (self.wanted, self.unsent, self.again) = (None, false, None);
    }
}

/// How old is what this node has applied?
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// The highest commit of which it heard.
    commit: LogIndex,
    /// What it was told of commits that are not applied here yet: ascending in
    /// index and moment.
    ahead: VecDeque<Told>,
    /// When it was last told of nothing that is not applied by now.
    caught_up: Option<Time>,
}

/// What a leader said of its commit.
#[derive(Clone, Copy, Debug)]
struct Told {
    commit: LogIndex,
    /// The leader's term.
    term: Term,
    /// When.
    then: Time,
}

impl Heard {
    /// The highest commit of which it heard.
    pub(super) fn commit(&self) -> LogIndex {
        self.commit
    }

    /// A leader's word of what was committed at `then`, or before. One that says
    /// less than another before it is late, or new and does not know yet.
    pub(super) fn on_commit(&mut self, commit: LogIndex, term: Term, then: Time) {
        if commit < self.commit {
            return;
        }
        self.commit = commit;
        let told = Told { commit, term, then };
        let full = self.ahead.len() as u64 >= HEARD_COMMITS_MAX;
        match self.ahead.back_mut() {
            // A later moment for more: what falls between is not needed.
            Some(last) if full || last.commit == commit => *last = told,
            Some(_) | None => self.ahead.push_back(told),
        }
    }

    /// A leader's word that may be an old one: it does not make this node's state
    /// younger, but what it tells of must be applied before that is.
    pub(super) fn on_late_commit(&mut self, commit: LogIndex) {
        self.commit = self.commit.max(commit);
    }

    /// All up to `applied` is applied. A leader knows what is committed only
    /// when an entry of its own term is (§6.4): before that its predecessor may
    /// have committed more, and its word makes nobody younger.
    fn on_applied(&mut self, applied: LogIndex, log: &Log) {
        while let Some(told) = self.ahead.front()
            && told.commit <= applied
        {
            if log.term_at(told.commit) == TermAt::Known(told.term) {
                self.caught_up = self.caught_up.max(Some(told.then));
            }
            self.ahead.pop_front();
        }
    }

    #[cfg(feature = "planted-bugs")]
    pub(super) fn pretend_to_have_caught_up(&mut self, now: Time) {
        self.caught_up = Some(now);
    }
}

impl ClusterCoordinator {
    /// Readers wait at this node: the number that covers them.
    pub fn ask_read(&mut self, cx: &mut Cx<'_>) -> ReadNumber {
        let number = self.asked.fresh(cx);
        self.asked.wanted = Some(number);
        self.asked.unsent = true;
        number
    }

    /// Nobody waits any more.
    pub fn forget_reads(&mut self) {
        self.asked.forget();
    }

    /// What was confirmed since this was asked last: readers whom a number
    /// covers may be answered from any state that has applied its index.
    pub fn take_confirmed_reads(&mut self) -> Vec<(ReadNumber, LogIndex)> {
        std::mem::take(&mut self.asked.confirmed)
    }

    /// This node has applied so far.
    pub fn on_applied(&mut self, applied: LogIndex, log: &Log) {
        self.heard.on_applied(applied, log);
    }

    /// How long ago this node had applied all that leaders had told it; none if never.
    #[must_use]
    pub fn age(&self, now: Time) -> Option<Span> {
        self.heard.caught_up.map(|then| now.since(then))
    }

    pub(super) fn on_read_index(
        &mut self,
        from: NodeId,
        term: Term,
        number: ReadNumber,
        cx: &mut Cx<'_>,
    ) {
        match &mut self.role {
            Role::Leader(leader) if term == self.hard_state.term => leader.on_read(from, number),
            // Who asked learns who leads, and asks there.
            Role::Leader(_) | Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                cx.mark(Mark::StaleTermIgnored);
            }
        }
    }

    /// Asks whoever leads, and as a leader begins and confirms rounds.
    pub(super) fn advance_reads(&mut self, cx: &mut Cx<'_>) {
        self.ask_leader(cx);
        let (term, commit, node) = (self.hard_state.term, self.commit, cx.config.node);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.begin_read_round(term, commit, cx);
        for round in leader.confirmed_rounds(cx) {
            assert!(round.commit <= commit, "what was committed stays so");
            self.heard.on_commit(round.commit, term, round.begun);
            if !round.readers.is_empty() {
                cx.mark(Mark::ReadsConfirmed);
            }
            for (reader, number) in round.readers {
                let index = round.commit;
                if reader == node {
                    self.asked.on_answer(number, index);
                } else {
                    say_in_term(reader, term, Body::ReadIndexReply { number, index }, cx);
                }
            }
        }
    }

    fn ask_leader(&mut self, cx: &mut Cx<'_>) {
        if self.asked.wanted.is_none() {
            return;
        }
        let (term, node) = (self.hard_state.term, cx.config.node);
        let Some(leader) = self.leader(node) else {
            // Asked as soon as there is one.
            (self.asked.of, self.asked.again) = (None, None);
            return;
        };
        let of = Some((leader, term));
        let late = self.asked.again.is_some_and(|again| again <= cx.time());
        if self.asked.of == of && !self.asked.unsent && !late {
            return;
        }
        if self.asked.of.is_some() && !self.asked.unsent {
            cx.mark(Mark::ReadAskedAgain);
        }
        let number = match self.asked.last {
            Some(last) if self.asked.unsent => last,
            Some(_) | None => self.asked.fresh(cx),
        };
        (self.asked.of, self.asked.unsent) = (of, false);
        if let Role::Leader(own) = &mut self.role {
            // Nothing that this node says to itself is lost.
            self.asked.again = None;
            own.on_read(node, number);
            return;
        }
        // Two heartbeats later an answer has come, or something was lost.
        let patience = Span::from_ms(2 * cx.config.knobs.heartbeat_ms);
        self.asked.again = Some(cx.time() + patience);
        cx.mark(Mark::ReadForwarded);
        say_in_term(leader, term, Body::ReadIndex { number }, cx);
    }
}
