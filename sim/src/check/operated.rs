//! Does the queue do what operators order, and no more? Nothing paused is given out,
//! a dead letter is redriven once and never as a newer input than it was, and no job
//! is made less urgent than one that waits for it. Each log index is judged once, at
//! the replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{Claim, Command};
use precentor_core::ids::{JobId, LogIndex, RequestId, Token, WorkerId};
use precentor_core::job::Scope;
use precentor_core::view::View;

use super::history::Told;
use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// What is paused in one state.
#[derive(Debug)]
pub(super) struct Held(Vec<Scope>);

impl Held {
    pub(super) fn of(view: &View<'_>) -> Held {
        Held(view.queue().pauses().map(|pause| pause.scope).collect())
    }

    pub(super) fn covers(&self, tenant: &str, engine: &str) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Cluster => true,
            Scope::Engine(paused) => paused == engine,
            Scope::Tenant(paused) => paused == tenant,
            // It holds back no job.
            Scope::Worker(_) => false,
        })
    }

    fn covers_worker(&self, worker: WorkerId) -> bool {
        self.0.contains(&Scope::Worker(worker))
    }
}

/// What operators did to the queue.
#[derive(Clone, Debug, Default)]
pub struct Operated {
    /// The last index that was judged.
    judged: LogIndex,
    /// The last job that was accepted by then.
    last_job: JobId,
    /// What became of each dead letter that was redriven.
    redriven: BTreeMap<JobId, JobId>,
    /// As which job each was said to be done again.
    said: BTreeMap<JobId, JobId>,
    /// How old the inputs of jobs are that do dead letters again: as old as the
    /// job which was accepted first for it; none where that was not seen.
    ages: BTreeMap<JobId, Option<JobId>>,
    /// How old the input is that each context was made of.
    published: BTreeMap<Address, JobId>,
    /// Requests that were done: an entry of one again has no effect.
    done: BTreeSet<RequestId>,
}

/// What the entries of one turn say.
#[derive(Debug, Default)]
struct Entries {
    claims: Vec<(Claim, Token)>,
    expelled: Vec<WorkerId>,
    registers: bool,
    reprioritised: Vec<JobId>,
    completed: Vec<JobId>,
    submits: bool,
    redrives: bool,
    pauses: bool,
}

impl Operated {
    pub(super) fn on_turn(&mut self, view: &View<'_>, logs: &Logs, marks: &mut Marks) -> Verdict {
        if view.applied() <= self.judged {
            return Ok(());
        }
        let from = std::mem::replace(&mut self.judged, view.applied());
        let entries = self.read(from, view.applied(), logs);
        if entries.redrives {
            self.note_ages(view, entries.submits)?;
        }
        self.last_job = view.queue().last_job();
        for job in &entries.completed {
            self.on_completed(*job, view)?;
        }
        for job in &entries.reprioritised {
            check_urgency(*job, view)?;
        }
        // Who registers again may be given something again.
        if !entries.registers {
            for worker in &entries.expelled {
                check_expelled(*worker, view, marks)?;
            }
        }
        if !entries.claims.is_empty() && !entries.pauses {
            check_claims(&entries.claims, view, marks)?;
        }
        Ok(())
    }

    fn read(&mut self, from: LogIndex, to: LogIndex, logs: &Logs) -> Entries {
        let mut entries = Entries::default();
        let indices = (from.0 + 1..=to.0).map(LogIndex);
        for index in indices.filter(|index| !logs.was_rejected(*index)) {
            let entry = logs
                .get(index)
                .and_then(|committed| committed.command.as_ref());
            let Some(entry) = entry else {
                continue;
            };
            let is_again = |request: RequestId| !self.done.insert(request);
            if !entry.request.is_some_and(is_again) {
                entries.take(index, &entry.command);
            }
        }
        entries
    }

    /// Which jobs do letters again that were not redriven before. Those that were
    /// made by it have numbers above all that there were.
    fn note_ages(&mut self, view: &View<'_>, others_were_made: bool) -> Verdict {
        for (letter, by) in view.queue().redriven() {
            let before = self.redriven.insert(letter, by);
            ensure(
                before.is_none_or(|before| before == by),
                Checker::RedrivenOnce,
                || format!("{letter} was redriven as {before:?}, and is as {by}"),
            )?;
            if before.is_some() {
                continue;
            }
            let age = self.age_of(letter);
            let known = match self.ages.get(&by) {
                Some(known) => *known,
                None if by <= self.last_job => Some(by),
                None if others_were_made => None,
                None => age,
            };
            // A job has the age of the newest input that it answers for.
            let both = known.zip(age).map(|(known, age)| known.max(age));
            self.ages.insert(by, both);
        }
        Ok(())
    }

    fn age_of(&self, job: JobId) -> Option<JobId> {
        self.ages.get(&job).copied().unwrap_or(Some(job))
    }

    /// What is published now is of no older input than what was before.
    fn on_completed(&mut self, job: JobId, view: &View<'_>) -> Verdict {
        let Some(found) = view.queue().job(job) else {
            return Ok(());
        };
        let context = view.queue().context(&found.address);
        let Some(context) = context.filter(|context| context.job == job) else {
            return Ok(());
        };
        let Some(age) = self.age_of(job) else {
            self.published.remove(&context.address);
            return Ok(());
        };
        let before = self.published.insert(context.address, age);
        ensure(
            before.is_none_or(|before| before <= age),
            Checker::PointerForward,
            || {
                format!(
                    "{} has the result of {job}, whose input is as old as {age}; it had that of an input as old as {before:?}",
                    found.address
                )
            },
        )
    }

    /// A session was told that dead letters are done again.
    pub(super) fn on_told(&mut self, told: &Told) -> Verdict {
        for (letter, job) in &told.again {
            let before = self.said.insert(*letter, *job);
            ensure(
                before.is_none_or(|before| before == *job),
                Checker::RedrivenOnce,
                || format!("{letter} is done again as {job}, and was as {before:?}"),
            )?;
        }
        Ok(())
    }
}

impl Entries {
    fn take(&mut self, index: LogIndex, command: &Command) {
        match command {
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                let tokens = (0..).map(|position| Token { index, position });
                self.claims.extend(command.claims().copied().zip(tokens));
            }
            Command::Reprioritise { jobs, .. } => self.reprioritised.extend(jobs),
            Command::Complete { job, .. } => self.completed.push(*job),
            Command::Expel { worker } => self.expelled.push(*worker),
            Command::Register { .. } => self.registers = true,
            Command::Submit { .. } | Command::Ask { .. } => self.submits = true,
            Command::Redrive { .. } => self.redrives = true,
            Command::Pause { .. } | Command::Resume { .. } => self.pauses = true,
            _ => {}
        }
    }
}

/// No job is less urgent than one that waits for it.
fn check_urgency(job: JobId, view: &View<'_>) -> Verdict {
    let queue = view.queue();
    let Some(named) = queue.unfinished_job(job) else {
        return Ok(());
    };
    for dependent in queue.dependents(job) {
        let other = queue.unfinished_job(dependent);
        let other = other.expect("dependents are unfinished");
        // Ordered from the most urgent.
        ensure(named.class <= other.class, Checker::Urgency, || {
            format!(
                "{job} was made {:?}, and {dependent}, which waits for it, is {:?}",
                named.class, other.class
            )
        })?;
    }
    Ok(())
}

/// Who was expelled is not known and holds nothing.
fn check_expelled(worker: WorkerId, view: &View<'_>, marks: &mut Marks) -> Verdict {
    let queue = view.queue();
    let held = queue.leases_count(worker);
    ensure(
        held == 0 && queue.worker(worker).is_none(),
        Checker::Expelled,
        || format!("{worker} was expelled, and holds {held} jobs"),
    )?;
    marks.hit(Mark::WorkerExpelled);
    Ok(())
}

/// No claim of what is paused was granted. Nothing was paused or resumed in these
/// entries, so that what is paused after them was before.
fn check_claims(claims: &[(Claim, Token)], view: &View<'_>, marks: &mut Marks) -> Verdict {
    let (queue, held) = (view.queue(), Held::of(view));
    for (Claim { job, worker, .. }, token) in claims {
        let Some(found) = queue.unfinished_job(*job) else {
            continue;
        };
        if !held.covers(found.tenant, found.engine) && !held.covers_worker(*worker) {
            continue;
        }
        let granted = queue.job(*job).and_then(|job| job.last_token) == Some(*token);
        ensure(!granted, Checker::PausedWork, || {
            format!(
                "{job} of tenant {} and engine {} was claimed for {worker} at {}; paused are {:?}",
                found.tenant, found.engine, token.index, held.0
            )
        })?;
        marks.hit(Mark::PausedRefused);
    }
    Ok(())
}
