//! A node that follows a leader, or waits for one: takes entries, and decides
//! when the leader must be gone.

use super::Next;
use super::timing::Timing;
use crate::action::Violation;
use crate::config::Knobs;
use crate::cx::Cx;
use crate::entries::Entries;
use crate::entry::{EntryKind, LogEntry};
use crate::ids::{LogIndex, NodeId, Term};
use crate::log::TermAt;
use crate::marks::Mark;
use crate::message::{Append, AppendResult, LogPosition};
use crate::status::Condition;
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
    /// What the leader heard last: how far the logs agree, and what of that is durable.
    told: Option<(LogIndex, LogIndex)>,
    /// Since then.
    unanswered: Unanswered,
    /// The latest round heard.
    round: u64,
}

/// What the leader is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) to: NodeId,
    /// The latest round that was heard.
    pub(super) round: u64,
    pub(super) result: AppendResult,
}

/// An answer that the leader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    /// How far the logs agree, whatever the disk does; or when it has all.
    Progress { at_once: bool },
    /// That they do not.
    Conflict {
        previous: LogIndex,
        hint: LogPosition,
    },
}

/// Appends that the leader has not been told of.
#[derive(Clone, Copy, Debug, Default)]
struct Unanswered {
    count: u64,
    bytes: u64,
}

impl Unanswered {
    /// Half of what a leader leaves on its way: it must not wait for this
    /// node's disk before it sends more.
    fn is_much(self, knobs: &Knobs) -> bool {
        self.count * 2 >= knobs.appends_in_flight_max
            || self.bytes * 2 >= knobs.append_bytes_in_flight_max
    }
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
            unanswered: Unanswered::default(),
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
        append: &Append,
        commit: &mut LogIndex,
        cx: &mut Cx<'_>,
    ) -> Next {
        match self.leader {
            Some(leader) if leader != from => {
                return Next::Halt(Box::new(Violation::TwoLeaders {
                    term,
                    first: leader,
                    second: from,
                }));
            }
            Some(_) => {}
            None => self.leader = Some(from),
        }
        let is_news = append.round > self.round;
        self.round = self.round.max(append.round);

        let (previous, entries) = (append.previous, &append.entries);
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
        let end = match take_in(previous, entries, *commit, cx) {
            Ok(end) => end,
            Err(violation) => return Next::Halt(Box::new(violation)),
        };
        self.verified = self.verified.max(end);
        // Only what this leader's messages have checked may be taken as
        // committed: an unchecked tail may be another leader's.
        *commit = (*commit).max(append.commit.min(self.verified));
        self.unanswered.count += 1;
        self.unanswered.bytes += entries.iter().map(|entry| entry.body.count()).sum::<u64>();
        // A heartbeat's answer proves that this node lives, and a new round's that
        // the leader leads: neither may wait for a disk.
        let at_once = is_news || entries.is_empty() || self.unanswered.is_much(&cx.config.knobs);
        self.owe_progress(at_once);
        Next::Stay
    }

    /// The log is the leader's up to here, and will be after a loss of power.
    pub(super) fn verified_durable(&self, cx: &Cx<'_>) -> LogIndex {
        self.verified.min(cx.outbox.durable())
    }

    /// A snapshot stands for the log up to here.
    pub(super) fn on_installed(&mut self, index: LogIndex) {
        self.verified = self.verified.max(index);
        self.owed = Some(Owed::Progress { at_once: true });
    }

    /// What the leader is to be told at the end of this turn, if anything: an
    /// answer it waits for, or that more is durable.
    pub(super) fn report(&mut self, repairing: bool, cx: &Cx<'_>) -> Option<Answer> {
        let leader = self.leader?;
        let durable = self.verified_durable(cx);
        #[cfg(feature = "planted-bugs")]
        let durable = if cx.config.planted(crate::planted::Bug::AckBeforeDurable) {
            self.verified
        } else {
            durable
        };
        let progress = (self.verified, durable);
        // While the disk has not confirmed all, one answer is enough: the one that
        // follows. What it has confirmed is told, asked or unasked.
        let is_whole = durable == self.verified;
        let is_more = self.told.map_or(LogIndex(0), |told| told.1) != durable;
        let result = match self.owed {
            Some(Owed::Conflict { previous, hint }) => AppendResult::Conflict {
                previous,
                hint,
                repairing,
            },
            Some(Owed::Progress { at_once }) if at_once || is_whole || is_more => {
                self.matched(durable)
            }
            None if is_more || (is_whole && self.told.is_some_and(|told| told != progress)) => {
                self.matched(durable)
            }
            Some(Owed::Progress { .. }) | None => return None,
        };
        self.owed = None;
        if matches!(result, AppendResult::Matched { .. }) {
            self.told = Some(progress);
            self.unanswered = Unanswered::default();
        }
        Some(Answer {
            to: leader,
            round: self.round,
            result,
        })
    }

    fn matched(&self, durable: LogIndex) -> AppendResult {
        AppendResult::Matched {
            verified: self.verified,
            durable,
        }
    }

    /// Of several answers of a turn one is given: that of a conflict before others.
    fn owe_progress(&mut self, at_once: bool) {
        self.owed = Some(match self.owed {
            Some(conflict @ Owed::Conflict { .. }) => conflict,
            Some(Owed::Progress { at_once: before }) => Owed::Progress {
                at_once: at_once || before,
            },
            None => Owed::Progress { at_once },
        });
    }
}

/// Takes a leader's entries into the log. Says up to where the two are equal now.
fn take_in(
    previous: LogPosition,
    entries: &Entries,
    commit: LogIndex,
    cx: &mut Cx<'_>,
) -> Result<LogIndex, Violation> {
    let mut end = previous.index;
    for (nth, entry) in entries.iter().enumerate() {
        if let Some(ours) = cx.log.chain_before(entry.index)
            && ours != entry.chain
        {
            // The first entry's link speaks of what both logs were found to
            // agree on: then one of them is not what its leader wrote. A
            // later one's speaks of this message only.
            if end == previous.index {
                return Err(Violation::LogDiverged {
                    index: end,
                    ours,
                    theirs: entry.chain,
                });
            }
            cx.mark(Mark::ChainMismatch);
            return Ok(end);
        }
        check_readable(entry)?;
        match cx.log.term_at(entry.index) {
            TermAt::Beyond => return add(end, entries.clone().behind(nth), cx),
            TermAt::Known(term) if term == entry.term => {
                #[cfg(feature = "planted-bugs")]
                if cx.config.planted(crate::planted::Bug::TruncateAgreeing)
                    && entry.index > cx.log.first_known()
                    && cx.log.window_first() <= entry.index
                {
                    cx.truncate(entry.index);
                    return add(end, entries.clone().behind(nth), cx);
                }
            }
            TermAt::Compacted => {}
            TermAt::Known(_) if entry.index <= commit => {
                return Err(Violation::CommittedConflict {
                    index: entry.index,
                    term: entry.term,
                });
            }
            TermAt::Known(_) => {
                cx.mark(Mark::TailTruncated);
                cx.truncate(entry.index);
                return add(end, entries.clone().behind(nth), cx);
            }
        }
        end = entry.index;
    }
    Ok(end)
}

/// Adds entries that begin where the log ends, as far as they are linked. Says
/// where it ends now; `end` is where it did.
fn add(end: LogIndex, mut new: Entries, cx: &mut Cx<'_>) -> Result<LogIndex, Violation> {
    let unreadable = new
        .iter()
        .find_map(|entry| Some((entry.index, check_readable(entry).err()?)));
    if let Some((index, _)) = &unreadable {
        new.truncate_before(*index);
    }
    let taken = cx.extend(&new);
    if taken < new.len() {
        cx.mark(Mark::ChainMismatch);
    } else if let Some((_, violation)) = unreadable {
        return Err(violation);
    }
    Ok(LogIndex(end.0 + taken as u64))
}

/// A membership is in force as soon as it is in the log.
fn check_readable(entry: &LogEntry) -> Result<(), Violation> {
    if entry.kind == EntryKind::Command {
        return Ok(());
    }
    match wire::membership::decode(&entry.body) {
        Ok(_) => Ok(()),
        Err(error) => Err(Violation::Undecodable {
            index: entry.index,
            reason: error.to_string(),
        }),
    }
}
