//! A node that follows a leader, or waits for one: takes entries, and decides
//! when the leader must be gone.

use super::Next;
use super::timing::Timing;
use crate::action::Violation;
use crate::cx::Cx;
use crate::entry::EntryKind;
use crate::ids::{LogIndex, NodeId, Term};
use crate::log::TermAt;
use crate::marks::Mark;
use crate::message::{Append, AppendReply, AppendResult, LogPosition};
use crate::status::{Condition, Health};
use crate::time::{Span, Time};
use crate::wire;

/// A follower's own state.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// Whom it follows; none before the first word of a term's leader.
    pub(super) leader: Option<NodeId>,
    /// When the leader was heard last.
    heard: Option<Time>,
    /// The leader's connection closed, or it was missed by one that cannot stand
    /// itself, and nothing came from it since.
    suspicious: bool,
    /// When to ask for pre-votes.
    pub(super) deadline: Time,
    /// How often it let that pass, for not being well.
    stood_back: u64,
    /// The log equals the leader's up to here, as checked in this term.
    verified: LogIndex,
    /// What the leader is to be told at the end of the turn.
    owed: Option<Owed>,
    /// The leader has heard that this much is durable.
    told: Option<(LogIndex, LogIndex)>,
    /// The latest round heard.
    round: u64,
}

/// An answer that the leader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    /// How far the logs agree.
    Progress,
    /// That they do not.
    Conflict {
        previous: LogIndex,
        hint: LogPosition,
    },
}

impl Follower {
    /// Starts to follow, or to wait.
    pub(super) fn new(leader: Option<NodeId>, deadline: Time, cx: &Cx<'_>) -> Follower {
        Follower {
            leader,
            heard: leader.map(|_| cx.time()),
            suspicious: false,
            deadline,
            stood_back: 0,
            verified: LogIndex(0),
            owed: None,
            told: None,
            round: 0,
        }
    }

    /// Waits anew: the leader spoke, or another candidate got this node's vote.
    pub(super) fn wait_until(&mut self, deadline: Time) {
        self.deadline = deadline;
        self.stood_back = 0;
    }

    /// Its time to stand has come. Does it let others go first? One that is not
    /// well does, a step for each degree, so that in a cluster where nobody is
    /// well somebody stands all the same. One whose disk does not answer could
    /// not vote for itself, and one with much to apply not serve: they wait
    /// until that has passed, which the disk and their own work bring about.
    pub(super) fn lets_others_go_first(&self, own: Condition) -> bool {
        own.stays_back || self.stood_back < own.health as u64
    }

    /// It lets others go first, for one step.
    pub(super) fn stand_back(&mut self, step: Span, cx: &Cx<'_>) {
        self.stood_back += 1;
        self.deadline = cx.time() + step;
    }

    /// It has no vote, and its leader is silent for so long that voters would
    /// stand: it names it to nobody until it is heard again.
    pub(super) fn miss_leader(&mut self, deadline: Time) {
        self.suspicious = true;
        self.wait_until(deadline);
    }

    /// Is the leader believed to live? Then nobody else gets a vote
    /// (dissertation §4.2.3), unless its connection closed here too.
    pub(super) fn trusts_leader(&self, base: Span, cx: &Cx<'_>) -> bool {
        let fresh = |heard| cx.time().since(heard) < base;
        self.leader.is_some() && !self.suspicious && self.heard.is_some_and(fresh)
    }

    /// Has it lost a leader's connection, or missed its word?
    pub(super) fn is_suspicious(&self) -> bool {
        self.suspicious
    }

    /// The connection to a peer closed: if it is the leader's, it probably died.
    pub(super) fn on_peer_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.leader == Some(peer) {
            self.suspicious = true;
            let wait = cx
                .random
                .between(0, cx.config.knobs.suspicion_ms_max * 1_000);
            self.deadline = self.deadline.min(cx.time() + Span(wait));
        }
    }

    /// The leader lives: this is the first word of a new round. Late copies of
    /// older ones must not keep a leader in trust that nobody hears any more.
    pub(super) fn on_heard(&mut self, timing: &Timing, cx: &mut Cx<'_>) {
        self.heard = Some(cx.time());
        self.suspicious = false;
        let wait = timing.draw(cx);
        self.wait_until(cx.time() + wait);
    }

    /// The leader's word: entries, or a heartbeat.
    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        term: Term,
        append: Append,
        commit: &mut LogIndex,
        cx: &mut Cx<'_>,
    ) -> Next {
        match self.leader {
            Some(leader) if leader != from => {
                return Next::Halt(Violation::TwoLeaders {
                    term,
                    first: leader,
                    second: from,
                });
            }
            Some(_) => {}
            None => self.leader = Some(from),
        }
        self.round = self.round.max(append.round);

        let Append {
            previous,
            entries,
            commit: leader_commit,
            ..
        } = append;
        // What is committed here is in every leader's log (Raft §5.4.3): it
        // needs no check, and may be in a snapshot where it cannot be checked.
        let agrees = previous.index <= *commit
            || cx.log.term_at(previous.index) == TermAt::Known(previous.term);
        #[cfg(feature = "planted-bugs")]
        let agrees = agrees
            || (cx.config.planted(crate::planted::Bug::SkipLogCheck)
                && cx.log.term_at(previous.index) != TermAt::Beyond);
        if !agrees {
            cx.mark(Mark::AppendConflict);
            let hint = cx.log.conflict_hint(previous);
            self.owed = Some(Owed::Conflict {
                previous: previous.index,
                hint,
            });
            return Next::Stay;
        }
        let mut end = previous.index;
        for entry in entries {
            if let Some(ours) = cx.log.chain_before(entry.index)
                && ours != entry.chain
            {
                // The first entry's link speaks of what both logs were found to
                // agree on: then one of them is not what its leader wrote. A
                // later one's speaks of this message only.
                if end == previous.index {
                    return Next::Halt(Violation::LogDiverged {
                        index: end,
                        ours,
                        theirs: entry.chain,
                    });
                }
                cx.mark(Mark::ChainMismatch);
                break;
            }
            if entry.kind == EntryKind::Membership
                && let Err(error) = wire::membership::decode(&entry.body)
            {
                return Next::Halt(Violation::Undecodable {
                    index: entry.index,
                    reason: error.to_string(),
                });
            }
            end = entry.index;
            match cx.log.term_at(entry.index) {
                TermAt::Beyond => cx.append(entry),
                TermAt::Known(term) if term == entry.term => {
                    #[cfg(feature = "planted-bugs")]
                    if cx.config.planted(crate::planted::Bug::TruncateAgreeing)
                        && entry.index > cx.log.first_known()
                        && cx.log.window_first() <= entry.index
                    {
                        cx.truncate(entry.index);
                        cx.append(entry);
                    }
                }
                TermAt::Compacted => {}
                TermAt::Known(_) if entry.index <= *commit => {
                    let violation = Violation::CommittedConflict {
                        index: entry.index,
                        term: entry.term,
                    };
                    return Next::Halt(violation);
                }
                TermAt::Known(_) => {
                    cx.mark(Mark::TailTruncated);
                    cx.truncate(entry.index);
                    cx.append(entry);
                }
            }
        }
        self.verified = self.verified.max(end);
        // Only what this leader's messages have checked may be taken as
        // committed: an unchecked tail may be another leader's.
        *commit = (*commit).max(leader_commit.min(self.verified));
        if !matches!(self.owed, Some(Owed::Conflict { .. })) {
            self.owed = Some(Owed::Progress);
        }
        Next::Stay
    }

    /// The log is the leader's up to here, and will be after a loss of power.
    pub(super) fn verified_durable(&self, cx: &Cx<'_>) -> LogIndex {
        self.verified.min(cx.outbox.durable())
    }

    /// A snapshot stands for the log up to here.
    pub(super) fn on_installed(&mut self, index: LogIndex) {
        self.verified = self.verified.max(index);
        self.owed = Some(Owed::Progress);
    }

    /// What the leader is to be told at the end of this turn, if anything: an
    /// answer it waits for, or that more is durable.
    pub(super) fn report(
        &mut self,
        repairing: bool,
        health: Health,
        patience: Span,
        cx: &Cx<'_>,
    ) -> Option<(NodeId, AppendReply)> {
        let leader = self.leader?;
        let durable = self.verified_durable(cx);
        #[cfg(feature = "planted-bugs")]
        let durable = if cx.config.planted(crate::planted::Bug::AckBeforeDurable) {
            self.verified
        } else {
            durable
        };
        let progress = (self.verified, durable);
        let result = match self.owed.take() {
            Some(Owed::Conflict { previous, hint }) => AppendResult::Conflict {
                previous,
                hint,
                repairing,
            },
            Some(Owed::Progress) => AppendResult::Matched {
                verified: self.verified,
                durable,
            },
            // Unasked, but only of what was verified: before that there is nothing to say.
            None if self.verified > LogIndex(0) && self.told != Some(progress) => {
                AppendResult::Matched {
                    verified: self.verified,
                    durable,
                }
            }
            None => return None,
        };
        if matches!(result, AppendResult::Matched { .. }) {
            self.told = Some(progress);
        }
        Some((
            leader,
            AppendReply {
                round: self.round,
                result,
                health,
                patience,
            },
        ))
    }
}
