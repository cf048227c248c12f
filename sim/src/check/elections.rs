//! Is there at most one leader in a term, does each node vote once in it, and
//! does neither term nor vote ever go back, not even through a crash? Was what
//! a vote promises durable before it was said (Raft §5.2, §5.4)?

use std::collections::BTreeMap;

use precentor_core::action::Write;
use precentor_core::entry::HardState;
use precentor_core::event::Event;
use precentor_core::ids::{Incarnation, LogIndex, NodeId, Term};
use precentor_core::log::TermAt;
use precentor_core::membership::Member;
use precentor_core::message::{Body, LogPosition, Message};
use precentor_core::status::{PhaseName, RoleName};
use precentor_core::time::Time;
use precentor_core::view::View;

use super::logs::Logs;
use super::members::{has_majorities, votes};
use super::{Checker, Moment, Verdict, ensure};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};
use crate::network::Place;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: Term,
    commit: LogIndex,
    applied: LogIndex,
    role: Option<RoleName>,
    yielding: bool,
    /// The end of its log after this turn, and after the one before.
    last: LogPosition,
    last_before: LogPosition,
    stands_at: Option<Time>,
}

/// What of a turn's events may delay a candidacy.
#[derive(Clone, Debug, Default)]
struct Reasons {
    /// A leader's word in a new round, or its successor's call.
    heard: bool,
    /// A connection closed.
    lost: bool,
    /// Who asked for a vote: one that got it is waited for.
    asked: Vec<NodeId>,
    /// The latest round of a leader that came, with its term.
    round: Option<(Term, u64)>,
}

/// What was seen of elections.
#[derive(Clone, Debug)]
pub struct Elections {
    leaders: BTreeMap<Term, Place>,
    votes: BTreeMap<(Place, Term), NodeId>,
    /// Who gave a candidate its vote in a term, by which life of its disk.
    given: BTreeMap<(NodeId, Term), Vec<(NodeId, Incarnation)>>,
    /// With which log each candidate stood.
    stood: BTreeMap<(NodeId, Term), LogPosition>,
    /// With which log each vote was given: it leaves when it is durable, and
    /// what is borrowed meanwhile does not make it wrong.
    voted_with: BTreeMap<(Place, Term), (NodeId, LogPosition)>,
    seen: Vec<Seen>,
    reasons: Vec<Reasons>,
}

impl Elections {
    pub(super) fn new(count: usize) -> Elections {
        Elections {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            given: BTreeMap::new(),
            stood: BTreeMap::new(),
            voted_with: BTreeMap::new(),
            seen: vec![Seen::default(); count],
            reasons: vec![Reasons::default(); count],
        }
    }

    /// Another life of the disk knows of no vote.
    pub(super) fn on_disk_lost(&mut self, place: Place) {
        self.votes.retain(|(voter, _), _| *voter != place);
        self.voted_with.retain(|(voter, _), _| *voter != place);
    }

    pub(super) fn on_event(&mut self, place: Place, event: &Event) {
        let reasons = &mut self.reasons[place];
        if let Event::Peer { from, message } = event {
            match message.body {
                Body::Append(ref append) => {
                    let round = Some((message.term, append.round));
                    reasons.heard |= reasons.round < round;
                    reasons.round = reasons.round.max(round);
                }
                Body::TimeoutNow => reasons.heard = true,
                Body::Vote { .. } => reasons.asked.push(*from),
                Body::PreVote { .. }
                | Body::PreVoteReply { .. }
                | Body::VoteReply { .. }
                | Body::AppendReply(_)
                | Body::Removed { .. }
                | Body::Lend(_)
                | Body::ReadIndex { .. }
                | Body::ReadIndexReply { .. }
                | Body::Forward { .. }
                | Body::Forwarded { .. }
                | Body::SnapshotOffer(_)
                | Body::SnapshotFetch { .. }
                | Body::SnapshotPiece { .. }
                | Body::BodiesFetch { .. }
                | Body::Bodies { .. } => {}
            }
        }
        // Its time comes at once then, and one that cannot stand waits anew.
        reasons.lost |= matches!(event, Event::PeerDown { .. });
    }

    /// Whoever asks in vain must not keep others from standing (dissertation
    /// §9.6: a pre-vote changes nothing at who is asked).
    pub(super) fn check_timer(&mut self, moment: Moment, view: &View<'_>, disk: &Disk) -> Verdict {
        let next = Reasons {
            round: self.reasons[moment.place].round,
            ..Reasons::default()
        };
        let reasons = std::mem::replace(&mut self.reasons[moment.place], next);
        let (Some(before), Some(after)) = (self.seen[moment.place].stands_at, view.stands_at())
        else {
            return Ok(());
        };
        let given = view
            .vote()
            .is_some_and(|vote| reasons.asked.contains(&vote));
        let due = before <= moment.now.time;
        // Whoever writes a vote waits for that.
        let durable = disk.durable_state();
        let writes = (durable.term, durable.vote) != (view.term(), view.vote());
        ensure(
            after <= before || reasons.heard || reasons.lost || given || due || writes,
            Checker::ElectionTimer,
            || {
                format!(
                    "{} was to stand at {before:?} and now at {after:?}: nobody leads it or got its vote, asked by {:?}",
                    view.node(),
                    reasons.asked
                )
            },
        )
    }

    pub(super) fn on_recovered(&mut self, place: Place, view: &View<'_>, disk: &Disk) -> Verdict {
        let durable = disk.durable_state();
        self.reasons[place] = Reasons::default();
        self.seen[place] = Seen {
            term: durable.term,
            last: view.last(),
            last_before: view.last(),
            ..Seen::default()
        };
        ensure(
            view.term() == durable.term && view.vote() == durable.vote,
            Checker::ElectionSafety,
            || {
                format!(
                    "{} restarts in {} with vote {:?}; its disk has {durable:?}",
                    view.node(),
                    view.term(),
                    view.vote()
                )
            },
        )
    }

    pub(super) fn on_turn(
        &mut self,
        moment: Moment,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let place = moment.place;
        let (term, role, commit, applied) =
            (view.term(), view.role(), view.commit(), view.applied());
        let seen = &mut self.seen[place];
        let node = view.node();
        ensure(term >= seen.term, Checker::ElectionSafety, || {
            format!("{node} went from {} back to {term}", seen.term)
        })?;
        ensure(
            commit >= seen.commit && applied >= seen.applied,
            Checker::CommittedNeverLost,
            || format!("{node} went back from {seen:?} to commit {commit}, applied {applied}"),
        )?;
        ensure(
            applied <= commit && commit <= view.last().index,
            Checker::CommittedNeverLost,
            || {
                format!(
                    "{node} has applied {applied}, commit {commit}, last {:?}",
                    view.last()
                )
            },
        )?;
        let seen_term = seen.term;
        let was = seen.role;
        let (yielded, yielding) = (seen.yielding, view.phase() == PhaseName::Yielding);
        let last_before = seen.last;
        *seen = Seen {
            last: view.last(),
            last_before,
            term,
            commit,
            applied,
            role: Some(role),
            yielding,
            stands_at: view.stands_at(),
        };
        let (had, has) = (last_before, view.last());
        ensure(
            !(yielded && yielding && seen_term == term) || had == has,
            Checker::HandOver,
            || format!("{node} hands over in {term}, and its log went from {had:?} to {has:?}"),
        )?;
        if yielding && !yielded {
            marks.hit(Mark::Yielding);
        }
        match (was, role) {
            (Some(RoleName::Leader), RoleName::Leader) => return Ok(()),
            (Some(RoleName::Leader), _) => marks.hit(Mark::LeaderDeposed),
            (Some(RoleName::Candidate), RoleName::PreCandidate | RoleName::Candidate) => {
                marks.hit(Mark::SplitVote);
            }
            _ => {}
        }
        if matches!(role, RoleName::Candidate | RoleName::Leader) {
            ensure(votes(view.membership(), node), Checker::VotersStand, || {
                format!(
                    "{node} stands in {term}, and has no vote in [{}]",
                    view.membership()
                )
            })?;
        }
        if role != RoleName::Leader {
            return Ok(());
        }
        marks.hit(Mark::Elected);
        let first = *self.leaders.entry(term).or_insert(place);
        ensure(first == place, Checker::ElectionSafety, || {
            format!("{node} leads in {term}, and so did n{}", first + 1)
        })?;
        self.check_votes(view)?;
        let (tip, tip_term) = logs.tip_before(term);
        let found = view.term_at(tip);
        let holds =
            tip.0 == 0 || matches!(found, TermAt::Compacted) || found == TermAt::Known(tip_term);
        ensure(holds, Checker::CommittedNeverLost, || {
            format!(
                "{node} leads in {term} without committed entry {tip} of {tip_term}: it has {found:?}"
            )
        })
    }

    /// A new leader's votes must be a majority of each half, and of nobody else.
    fn check_votes(&self, view: &View<'_>) -> Verdict {
        let (node, term) = (view.node(), view.term());
        let given = self.given.get(&(node, term)).map_or(&[][..], |given| given);
        let has_vote = |voter: NodeId, member: &Member| {
            let counts = |life| member.incarnation.is_none_or(|known| known == life);
            voter == node || given.iter().any(|&(by, life)| by == voter && counts(life))
        };
        ensure(
            has_majorities(view.membership(), has_vote),
            Checker::ElectedByMembers,
            || {
                format!(
                    "{node} leads in {term} by the votes of {given:?} and its own; the members are [{}]",
                    view.membership()
                )
            },
        )
    }

    /// A vote is written in the turn in which it is given.
    pub(super) fn on_write(&mut self, place: Place, write: &Write) {
        let Some(HardState {
            term,
            vote: Some(candidate),
            ..
        }) = write.hard_state
        else {
            return;
        };
        // The vote was given between these two: the shorter is no excuse for a
        // log that is behind both.
        let Seen {
            last, last_before, ..
        } = self.seen[place];
        let with = if last.is_behind(last_before) {
            last
        } else {
            last_before
        };
        let vote = self.voted_with.entry((place, term));
        let (known, _) = *vote.or_insert((candidate, with));
        // A vote that a crash took before it was durable was never told, and the
        // next life may vote with a shorter log. That a vote which was told is
        // not given twice is judged where it is told.
        if known != candidate {
            self.voted_with.insert((place, term), (candidate, with));
        }
    }

    pub(super) fn on_say(
        &mut self,
        place: Place,
        to: NodeId,
        message: &Message,
        view: &View<'_>,
        disks: &[Disk],
    ) -> Verdict {
        let (term, mine) = (message.term, view.last());
        match message.body {
            Body::Vote { last, .. } => {
                self.stood.insert((NodeId(place as u64 + 1), term), last);
            }
            Body::VoteReply { granted: true } => {
                let voted = self.voted_with.get(&(place, term));
                let mine = voted.map_or(mine, |&(_, with)| with);
                // Since the vote was given, a leader of that term may have added entries.
                let theirs = self.stood.get(&(to, term)).filter(|_| mine.term < term);
                ensure(
                    theirs.is_none_or(|theirs| !theirs.is_behind(mine)),
                    Checker::ElectionSafety,
                    || {
                        format!(
                            "n{} votes in {term} for {to}, whose log ends at {theirs:?}; its own ended at {mine:?}",
                            place + 1
                        )
                    },
                )?;
            }
            // Since its last word the successor may follow another, in a later term,
            // and its disk may have been damaged, or lost: what the new disk says
            // does not count, so its leader knows of that when somebody tells it.
            // Such a successor does not stand, and the leader leads on.
            Body::TimeoutNow if view.role() == RoleName::Leader => {
                let successor = &disks[to.0 as usize - 1];
                let has_all = successor.holds_durably(mine.index, mine.term);
                let counted = view.membership().get(to).and_then(|m| m.incarnation);
                let is_lost = counted.is_some_and(|life| life.0 != successor.incarnation());
                let is_damaged = is_lost || successor.repairing().is_some();
                ensure(
                    has_all || successor.written_term() > term || is_damaged,
                    Checker::HandOver,
                    || {
                        format!(
                            "{} tells {to} to stand in {term}, whose disk lacks {mine:?}",
                            view.node()
                        )
                    },
                )?;
            }
            Body::VoteReply { granted: false }
            | Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Append(_)
            | Body::AppendReply(_)
            | Body::TimeoutNow
            | Body::Removed { .. }
            | Body::Lend(_)
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forward { .. }
            | Body::Forwarded { .. }
            | Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. } => {}
        }
        let vote = match message.body {
            Body::Vote { .. } => Some(NodeId(place as u64 + 1)),
            Body::VoteReply { granted: true } => Some(to),
            Body::VoteReply { granted: false }
            | Body::Append(_)
            | Body::AppendReply(_)
            | Body::Lend(_)
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forward { .. }
            | Body::Forwarded { .. }
            | Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. } => None,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::TimeoutNow
            | Body::Removed { .. } => return Ok(()),
        };
        if let Body::VoteReply { granted: true } = message.body {
            let given = self.given.entry((to, term)).or_default();
            given.push((NodeId(place as u64 + 1), message.incarnation));
        }
        if let Some(vote) = vote {
            let first = *self.votes.entry((place, term)).or_insert(vote);
            ensure(first == vote, Checker::ElectionSafety, || {
                format!(
                    "n{} votes for {vote} in {term}, and before for {first}",
                    place + 1
                )
            })?;
        }
        let stands = matches!(message.body, Body::Vote { .. });
        let repairing = disks[place].repairing();
        ensure(
            repairing.is_none() || vote.is_none(),
            Checker::RepairBeforeVote,
            || {
                format!(
                    "n{} {} in {term}, and its log is damaged: it lacks up to {repairing:?}",
                    place + 1,
                    if stands { "stands" } else { "votes" }
                )
            },
        )?;
        let durable = disks[place].durable_state();
        let holds =
            durable.term >= term && (vote.is_none() || durable.term > term || durable.vote == vote);
        ensure(holds, Checker::DurableFirst, || {
            format!(
                "n{} says {message:?} to {to}, and its disk has {durable:?}",
                place + 1
            )
        })
    }
}
