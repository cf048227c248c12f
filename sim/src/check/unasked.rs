//! What leaders do to the membership unasked: only a learner that has caught up
//! gets a vote, the voters do not become even in number by it, and nobody is replaced
//! who was heard lately. Looks at the disks and hears what the leader hears.

use std::collections::BTreeMap;

use precentor_core::config::Knobs;
use precentor_core::entry::LogEntry;
use precentor_core::event::Event;
use precentor_core::ids::{Incarnation, LogIndex, NodeId, Term};
use precentor_core::membership::{Membership, Seat};
use precentor_core::message::Body;
use precentor_core::status::RoleName;
use precentor_core::time::Time;
use precentor_core::view::View;
use precentor_core::wire::membership::decode;

use super::{Checker, Moment, Verdict, ensure};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// The latest of what a follower said to a node as its leader.
#[derive(Clone, Copy, Debug)]
struct Word {
    term: Term,
    round: u64,
    at: Time,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Unasked {
    target: u64,
    silence_us: u64,
    lag: u64,
    words: BTreeMap<(Place, NodeId), Word>,
}

impl Unasked {
    pub(super) fn new(knobs: &Knobs) -> Unasked {
        Unasked {
            target: knobs.voters_target,
            silence_us: knobs.voter_silence_ms * 1_000,
            lag: knobs.promotion_lag_entries_max,
            words: BTreeMap::new(),
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.words.retain(|(listener, _), _| *listener != place);
    }

    /// A late copy of an old answer is no sign of life, nor is the word of another disk.
    pub(super) fn on_event(&mut self, moment: Moment, event: &Event, view: &View<'_>) {
        let Event::Peer { from, message } = event else {
            return;
        };
        let Body::AppendReply(reply) = &message.body else {
            return;
        };
        let (term, round) = (message.term, reply.round);
        let counts = view.membership().counts(*from, message.incarnation);
        if view.role() != RoleName::Leader || term != view.term() || !counts {
            return;
        }
        let key = (moment.place, *from);
        let is_news = |word: &Word| (word.term, word.round) < (term, round);
        if self.words.get(&key).is_none_or(is_news) {
            let at = moment.now.time;
            self.words.insert(key, Word { term, round, at });
        }
    }

    /// A leader writes a membership. `before` is the one that was in force.
    pub(super) fn on_write(
        &self,
        moment: Moment,
        view: &View<'_>,
        entry: &LogEntry,
        before: &Membership,
        disks: &[Disk],
        marks: &mut Marks,
    ) -> Verdict {
        let is_own = view.role() == RoleName::Leader && entry.term == view.term();
        if !is_own {
            return Ok(());
        }
        // What cannot be decoded was reported as such.
        let Ok(decoded) = decode(&entry.body) else {
            return Ok(());
        };
        if decoded.principal.cluster_reason().is_none() {
            return Ok(());
        }
        let (index, after) = (entry.index, &decoded.membership);
        let claim = |holds, why: &dyn Fn() -> String| {
            ensure(holds, Checker::Unasked, || {
                format!("{index} makes [{after}] of [{before}] unasked: {}", why())
            })
        };
        let count = |members: &Membership, stays: bool| {
            let votes = |seat: &Seat| match seat {
                Seat::Voter => true,
                Seat::Incoming => stays,
                Seat::Outgoing { .. } => !stays,
                Seat::Learner(_) => false,
            };
            members.iter().filter(|(_, m)| votes(&m.seat)).count() as u64
        };
        let (old, new) = (count(before, false), count(after, true));
        claim(
            self.target > 0 && new <= self.target.max(old) && new >= old,
            &|| format!("{} voters are wanted", self.target),
        )?;
        claim(new == old || new % 2 == 1 || new == self.target, &|| {
            format!("{new} voters after {old}")
        })?;
        for (node, member) in after.iter() {
            let was = before.get(node).map(|member| member.seat);
            match (was, member.seat) {
                (Some(Seat::Learner(_)), Seat::Incoming) => {
                    marks.hit(Mark::PromotedUnasked);
                    let disk = &disks[node.0 as Place - 1];
                    let needs = LogIndex(index.0.saturating_sub(1 + self.lag));
                    // A disk that was just lost or damaged had it, and the leader cannot know.
                    let life = Some(Incarnation(disk.incarnation()));
                    let is_other = life != member.incarnation || disk.repairing().is_some();
                    claim(is_other || disk.is_durable(needs), &|| {
                        format!("{node} has not caught up to {needs}")
                    })?;
                }
                (Some(Seat::Voter), Seat::Outgoing { then }) => {
                    marks.hit(Mark::ReplacedUnasked);
                    let word = self.words.get(&(moment.place, node));
                    let word = word.filter(|word| word.term == entry.term);
                    let silence = word.map(|word| moment.now.time.since(word.at));
                    claim(
                        silence.is_none_or(|silence| silence.0 >= self.silence_us),
                        &|| format!("{node} was heard {silence:?} ago"),
                    )?;
                    claim(then.is_some(), &|| format!("{node} is no member after it"))?;
                }
                (_, seat) => claim(was == Some(seat), &|| format!("{node} is {seat:?}"))?,
            }
        }
        claim(before.nodes().eq(after.nodes()), &|| "others".into())
    }
}
