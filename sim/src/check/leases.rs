//! Does a live worker keep what it holds? A new leader owes every lease a
//! reattach window, and a worker that named a token to it a full lease from
//! then on (QUEUE L3). One that stood still owes every lease a full one from when
//! it is back: its own silence is not its workers' (L8). Judged by the leader's own
//! clock.

use std::collections::BTreeMap;

use precentor_core::command::Command;
use precentor_core::config::Knobs;
use precentor_core::event::Event;
use precentor_core::ids::{LogIndex, Term, Token, WorkerId, WorkerIncarnation};
use precentor_core::request::Request;
use precentor_core::status::RoleName;
use precentor_core::time::Time;
use precentor_core::view::View;

use super::logs::Logs;
use super::{Checker, Moment, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// How many polls of a worker are remembered: those after an expiry was
/// proposed must not hide the ones before.
const POLLS: usize = 8;

#[derive(Clone, Debug)]
struct Polled {
    place: Place,
    term: Term,
    at: Time,
    held: Vec<Token>,
}

/// What leaders heard of workers.
#[derive(Clone, Debug)]
pub struct Leases {
    lease_us: u64,
    reattach_us: u64,
    polls: BTreeMap<WorkerId, Vec<Polled>>,
    /// So long without a turn, and a leader stood still.
    still_us: u64,
    /// Each node's last turn, and which term it led then.
    last_turns: BTreeMap<Place, (Time, Option<Term>)>,
    /// When a leader came back from standing still, and led on.
    resumed: BTreeMap<(Place, Term), Vec<Time>>,
    /// When each leader was first seen to lead.
    led_since: BTreeMap<(Place, Term), Time>,
    /// The latest life of each worker, and where it registered.
    lives: BTreeMap<WorkerId, (WorkerIncarnation, LogIndex)>,
}

impl Leases {
    pub(super) fn new(knobs: &Knobs) -> Leases {
        // A tenth is left for rounding and for what is on its way.
        Leases {
            lease_us: knobs.lease_ms * 900,
            reattach_us: knobs.reattach_ms.min(knobs.lease_ms) * 900,
            // It is to wake for each heartbeat: of what is longer by one it must know.
            still_us: knobs.heartbeat_ms * 2_000,
            last_turns: BTreeMap::new(),
            resumed: BTreeMap::new(),
            polls: BTreeMap::new(),
            led_since: BTreeMap::new(),
            lives: BTreeMap::new(),
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        for polls in self.polls.values_mut() {
            polls.retain(|poll| poll.place != place);
        }
        self.last_turns.remove(&place);
        self.resumed.retain(|(resumed, _), _| *resumed != place);
    }

    pub(super) fn on_turn(&mut self, moment: Moment, view: &View<'_>, marks: &mut Marks) {
        let (place, now) = (moment.place, moment.now.time);
        let leads = (view.role() == RoleName::Leader).then(|| view.term());
        let before = self.last_turns.insert(place, (now, leads));
        if let Some((last, led)) = before
            && let Some(term) = leads.filter(|_| led == leads)
            && now.since(last).0 > self.still_us
        {
            marks.hit(Mark::StoodStill);
            self.resumed.entry((place, term)).or_default().push(now);
        }
    }

    pub(super) fn on_event(&mut self, moment: Moment, event: &Event, view: &View<'_>) {
        if view.role() != RoleName::Leader {
            return;
        }
        let (place, term, at) = (moment.place, view.term(), moment.now.time);
        self.led_since.entry((place, term)).or_insert(at);
        let Event::Client {
            request: Request::Poll(poll),
            principal,
            ..
        } = event
        else {
            return;
        };
        let queue = view.queue();
        if queue.worker_denial(principal, poll.worker).is_some() || queue.is_nobodys(poll.worker) {
            // Who may not speak for a worker renews nothing.
            return;
        }
        if self
            .lives
            .get(&poll.worker)
            .is_some_and(|(latest, _)| poll.incarnation < *latest)
        {
            // Nothing is owed to a former life.
            return;
        }
        let polls = self.polls.entry(poll.worker).or_default();
        if polls.len() == POLLS {
            polls.remove(0);
        }
        polls.push(Polled {
            place,
            term,
            at,
            held: poll.held.clone(),
        });
    }

    pub(super) fn on_committed(
        &mut self,
        index: LogIndex,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(committed) = logs.get(index) else {
            return Ok(());
        };
        let Some(command) = committed.command() else {
            return Ok(());
        };
        match command {
            Command::Register { worker } => {
                let life = self
                    .lives
                    .entry(worker.worker)
                    .or_insert((worker.incarnation, index));
                if worker.incarnation > life.0 {
                    *life = (worker.incarnation, index);
                }
                Ok(())
            }
            Command::Expire { leases } => leases.iter().try_for_each(|lease| {
                marks.hit(Mark::LeaseExpired);
                self.on_expired(index, lease.token, logs)
            }),
            Command::Complete { token, .. } => {
                let claim_term = logs.get(token.index).map(|claim| claim.entry.term);
                if claim_term.is_some_and(|term| term < committed.entry.term) {
                    marks.hit(Mark::LeaseSurvivedTakeover);
                }
                Ok(())
            }
            Command::TakeOver { .. }
            | Command::OpenSession
            | Command::Submit { .. }
            | Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }
            | Command::Fail { .. }
            | Command::FailTogether { .. }
            | Command::Release { .. }
            | Command::Tick
            | Command::RaiseLevel { .. }
            | Command::Leave { .. }
            | Command::Cancel { .. }
            | Command::Redrive { .. }
            | Command::Purge { .. }
            | Command::Reprioritise { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Expel { .. }
            | Command::PutLimits { .. }
            | Command::PutNeeds { .. }
            | Command::PutOffer { .. }
            | Command::Ask { .. }
            | Command::Invalidate { .. }
            | Command::PutBudget { .. }
            | Command::Evict { .. }
            | Command::PutRoles { .. }
            | Command::NoteDenials { .. }
            | Command::Annotate { .. }
            | Command::Resolve { .. }
            | Command::KeepSources { .. }
            | Command::PutSourceBudget { .. } => Ok(()),
        }
    }

    fn on_expired(&self, index: LogIndex, token: Token, logs: &Logs) -> Verdict {
        let (Some(expiry), Some(claim)) = (logs.get(index), logs.get(token.index)) else {
            return Ok(());
        };
        let command = claim.command();
        let given = command.and_then(|command| command.claims().nth(token.position as usize));
        let Some(worker) = given.map(|given| given.worker) else {
            return Ok(());
        };
        if self
            .lives
            .get(&worker)
            .is_some_and(|(_, registered)| *registered > token.index)
        {
            // Its holder is gone: a later life of it registered.
            return Ok(());
        }
        let (place, term, at) = (expiry.place, expiry.entry.term, expiry.at);
        let resumed = self.resumed.get(&(place, term)).and_then(|resumed| {
            let before = |resumed: &&Time| **resumed <= at;
            resumed.iter().rev().find(before)
        });
        if let Some(resumed) = resumed {
            ensure(
                at.since(*resumed).0 >= self.lease_us,
                Checker::StoodStill,
                || {
                    format!(
                        "{token} of {worker} expires at {index}, {:?} after n{} came back from standing still",
                        at.since(*resumed),
                        place + 1
                    )
                },
            )?;
        }
        let named = self.polls.get(&worker).and_then(|polls| {
            polls.iter().rev().find(|p| {
                p.place == place && p.term == term && p.at <= at && p.held.contains(&token)
            })
        });
        if let Some(poll) = named {
            return ensure(
                at.since(poll.at).0 >= self.lease_us,
                Checker::Reattach,
                || {
                    format!(
                        "{token} of {worker} expires at {index}, {:?} after it named it",
                        at.since(poll.at)
                    )
                },
            );
        }
        let since = self.led_since.get(&(place, term)).copied();
        let since = since.filter(|_| claim.entry.term < term);
        ensure(
            since.is_none_or(|since| at.since(since).0 >= self.reattach_us),
            Checker::Reattach,
            || {
                format!(
                    "{token} of {worker} expires at {index}, within the reattach window of {term}"
                )
            },
        )
    }
}
