//! The leader's side of replication: who has what, what to send next, what is
//! committed, and whether a majority still listens.

use std::collections::BTreeMap;

use super::progress::{Flow, Progress};
use super::{Next, quorum};
use crate::action::Action;
use crate::cx::Cx;
use crate::entry::LogEntry;
use crate::ids::{LogIndex, NodeId, ReadId, Term};
use crate::limits::APPEND_BYTES_MAX;
use crate::log::{TermAt, Window};
use crate::marks::Mark;
use crate::message::{Append, AppendReply, AppendResult, Body, LogPosition, Message, StateHashAt};
use crate::time::{Span, Time};

/// A leader's own state: gone with the leadership.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    peers: BTreeMap<NodeId, Progress>,
    heard: BTreeMap<NodeId, Time>,
    /// The latest round that each peer answered.
    answered: BTreeMap<NodeId, u64>,
    round: u64,
    next_heartbeat: Time,
    next_read: ReadId,
    /// The bytes of appended, uncommitted bodies.
    uncommitted_bytes: u64,
    hand_over: Option<HandOver>,
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
        let others = || {
            cx.config
                .voters
                .iter()
                .copied()
                .filter(|peer| *peer != cx.config.node)
        };
        Leader {
            peers: others()
                .map(|peer| (peer, Progress::new(last.next())))
                .collect(),
            heard: others().map(|peer| (peer, cx.time())).collect(),
            answered: BTreeMap::new(),
            round: 0,
            next_heartbeat: cx.time(),
            next_read: ReadId(1),
            uncommitted_bytes: inherited.map(|entry| entry.body.count()).sum(),
            hand_over: None,
            state_hash: None,
        }
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

    /// A peer answered a round of this leadership. It was heard only if that
    /// is news: late copies of old answers are no sign of a quorum.
    pub(super) fn on_heard(&mut self, from: NodeId, round: u64, cx: &Cx<'_>) {
        let answered = self.answered.entry(from).or_default();
        if round > *answered && round <= self.round {
            *answered = round;
            self.heard.insert(from, cx.time());
        }
    }

    /// A follower's answer.
    pub(super) fn on_append_reply(&mut self, from: NodeId, reply: AppendReply, cx: &mut Cx<'_>) {
        let last = cx.log.last().index;
        let Some(progress) = self.peers.get_mut(&from) else {
            return;
        };
        match reply.result {
            // A claim beyond our log cannot be about it.
            AppendResult::Matched { verified, durable }
                if durable <= verified && verified <= last =>
            {
                progress.on_matched(verified, durable);
            }
            AppendResult::Matched { .. } => cx.mark(Mark::StaleTermIgnored),
            AppendResult::Conflict { previous, hint } => {
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
        let now = cx.time();
        let timeout = cx.config.election_timeout_min();
        let fit = self.peers.iter().filter(|(peer, _)| {
            self.heard
                .get(*peer)
                .is_some_and(|heard| now.since(*heard) < timeout)
        });
        let Some((to, _)) =
            fit.max_by_key(|(peer, progress)| (progress.durable, std::cmp::Reverse(**peer)))
        else {
            return false;
        };
        cx.mark(Mark::HandOverStarted);
        let deadline = now + Span::from_ms(cx.config.knobs.election_timeout_ms_max);
        self.hand_over = Some(HandOver {
            to: *to,
            deadline,
            told: false,
        });
        true
    }

    /// What a majority holds durably, if it is of this term: an older term's
    /// entry is committed only by what follows it (Raft §5.4.2, figure 8).
    /// This node counts like the others, with what is on its own disk.
    pub(super) fn committed(&mut self, term: Term, commit: LogIndex, cx: &Cx<'_>) -> LogIndex {
        let mut matched: Vec<_> = self
            .peers
            .values()
            .map(|progress| progress.durable)
            .collect();
        matched.push(cx.outbox.durable());
        let needed = quorum::majority(matched.len() as u64);
        #[cfg(feature = "planted-bugs")]
        let needed = if cx.config.planted(crate::planted::Bug::QuorumOffByOne) {
            (needed - 1).max(1)
        } else {
            needed
        };
        let reached = quorum::committed(&mut matched, needed);
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
        let active = self
            .heard
            .values()
            .filter(|heard| cx.time().since(**heard) <= timeout)
            .count() as u64
            + 1;
        if active < quorum::majority(cx.config.voters.len() as u64) {
            cx.mark(Mark::SteppedDownNoQuorum);
            return Next::Follow { term, leader: None };
        }
        self.round += 1;
        self.next_heartbeat = cx.time() + Span::from_ms(cx.config.knobs.heartbeat_ms);
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.send(peer, Vec::new(), term, commit, cx);
        }
        Next::Stay
    }

    /// Sends each follower what it lacks, as far as its windows allow.
    pub(super) fn replicate(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.replicate_to(peer, term, commit, cx);
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
            cx.outbox.say(
                hand_over.to,
                Message {
                    term,
                    body: Body::TimeoutNow,
                },
            );
        }
    }

    fn replicate_to(&mut self, peer: NodeId, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        loop {
            let progress = self
                .peers
                .get_mut(&peer)
                .expect("replicated to known peers only");
            let in_flight = match &mut progress.flow {
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
            // Compaction never passes the slowest voter, so only one that lost
            // its disk can lack what is gone; that is for an operator to see.
            if cx.log.term_at(next.prev()) == TermAt::Compacted {
                cx.mark(Mark::FollowerBeyondHelp);
                return;
            }
            match cx
                .log
                .entries(next, cx.config.knobs.append_entries_max, APPEND_BYTES_MAX)
            {
                Window::Beyond => return,
                Window::Entries(entries) => self.send_entries(peer, entries, term, commit, cx),
                Window::OnDisk { to } => {
                    cx.mark(Mark::ReadFromDisk);
                    let read = self.next_read;
                    self.next_read = read.next();
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
                Flow::Stream { .. } | Flow::Probe { .. } => None,
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
        cx.outbox.say(
            peer,
            Message {
                term,
                body: Body::Append(append),
            },
        );
    }
}
