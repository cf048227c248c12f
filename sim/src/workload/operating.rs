//! What one client does as an operator: dead letters are redriven and purged, jobs
//! made more or less urgent, and queues paused for a while. Knows what it was told
//! of, and not what became of it since: some letters were redriven by others.

use std::collections::VecDeque;

use precentor_core::command::{Command, Outcome, Redriving};
use precentor_core::ids::{JobId, WorkerId};
use precentor_core::job::{Account, Class, Finished, JobState, Limits, Needs, Rate, Scope};

use super::items::{OTHER_PROJECT, PROJECT};
use super::taking_back::{note, some_of};
use super::{ENGINE, OTHER_ENGINE};
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Roll, Tape};
use crate::workers::{MEMORY_STEP_MIB, TAGS};

/// How long something is paused or limited.
const HOLD_US_MIN: u64 = 50_000;
const HOLD_US_MAX: u64 = 500_000;

/// Something that this client paused or limited.
#[derive(Clone, Debug)]
struct Held {
    order: Command,
    /// What ends it.
    end: Command,
    until_us: u64,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    /// The order is not answered.
    Asked,
    Held,
    /// The end of it is not answered.
    Ending,
}

/// What one client may do to the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Operating {
    /// Jobs that it was told of.
    told: VecDeque<JobId>,
    /// Dead letters that were seen in the feed.
    dead: VecDeque<JobId>,
    /// Dead letters that it redrove.
    redriven: VecDeque<JobId>,
    held: Option<Held>,
}

impl Operating {
    /// The client was told of a job.
    pub(super) fn on_job(&mut self, job: JobId) {
        note(&mut self.told, job);
    }

    /// A job ended.
    pub(super) fn on_finished(&mut self, finished: &Finished) {
        if finished.state.is_dead_letter() {
            note(&mut self.dead, finished.job);
        }
        if let JobState::DependencyFailed { dependency } = finished.state {
            note(&mut self.dead, dependency);
        }
    }

    /// Is nothing paused or limited by it?
    pub(super) fn is_done(&self) -> bool {
        self.held.is_none()
    }

    /// What it does now, if it does something.
    pub(super) fn next(
        &mut self,
        tape: &mut Tape,
        lane: u32,
        now_us: u64,
        options: &ClientOptions,
        tenant: &str,
    ) -> Option<Command> {
        if !self.redriven.is_empty()
            && let Some(mut roll) = tape.fault(Domain::RedriveAgain, lane, options.redrive_ppm / 2)
        {
            let jobs = some_of(&self.redriven, &mut roll);
            let dependents = roll.chance(500_000);
            return Some(Command::Redrive { jobs, dependents });
        }
        if !self.dead.is_empty() {
            if let Some(mut roll) = tape.fault(Domain::Redrive, lane, options.redrive_ppm) {
                let jobs = some_of(&self.dead, &mut roll);
                jobs.iter().for_each(|job| note(&mut self.redriven, *job));
                let dependents = roll.chance(500_000);
                return Some(Command::Redrive { jobs, dependents });
            }
            if let Some(mut roll) = tape.fault(Domain::Purge, lane, options.redrive_ppm / 8) {
                let jobs = some_of(&self.dead, &mut roll);
                return Some(Command::Purge { jobs });
            }
        }
        if !self.told.is_empty()
            && let Some(mut roll) = tape.fault(Domain::Reprioritise, lane, options.reprioritise_ppm)
        {
            let jobs = some_of(&self.told, &mut roll);
            let class = *roll.pick(&Class::ALL);
            return Some(Command::Reprioritise { jobs, class });
        }
        if let Some(mut roll) = tape.fault(Domain::Expel, lane, options.pause_ppm) {
            let worker = WorkerId(roll.between(1, options.workers));
            return Some(Command::Expel { worker });
        }
        if self.held.is_some() {
            return None;
        }
        if let Some(mut roll) = tape.fault(Domain::Limit, lane, options.limit_ppm) {
            let account = match roll.below(4) {
                0 => Account::Engine(ENGINE.to_owned()),
                1 => Account::Project((*roll.pick(&[PROJECT, OTHER_PROJECT])).to_owned()),
                _ => Account::Tenant(tenant.to_owned()),
            };
            let limits = some_limits(&account, &mut roll);
            let end = Command::PutLimits {
                account: account.clone(),
                limits: Limits::default(),
            };
            let order = Command::PutLimits { account, limits };
            return Some(self.hold(order, end, now_us, &mut roll));
        }
        if let Some(mut roll) = tape.fault(Domain::Need, lane, options.need_ppm) {
            let engine = (*roll.pick(&[ENGINE, OTHER_ENGINE])).to_owned();
            let needs = some_needs(&mut roll);
            let end = Command::PutNeeds {
                engine: engine.clone(),
                needs: Needs::default(),
            };
            let order = Command::PutNeeds { engine, needs };
            return Some(self.hold(order, end, now_us, &mut roll));
        }
        let mut roll = tape.fault(Domain::Hold, lane, options.pause_ppm)?;
        let scope = match roll.below(5) {
            0 => Scope::Cluster,
            1 => Scope::Engine(ENGINE.to_owned()),
            2 => Scope::Worker(WorkerId(roll.between(1, options.workers))),
            _ => Scope::Tenant(tenant.to_owned()),
        };
        let reason = "to look into it".to_owned();
        let end = Command::Resume {
            scope: scope.clone(),
        };
        let order = Command::Pause { scope, reason };
        Some(self.hold(order, end, now_us, &mut roll))
    }

    fn hold(&mut self, order: Command, end: Command, now_us: u64, roll: &mut Roll) -> Command {
        self.held = Some(Held {
            order: order.clone(),
            end,
            until_us: now_us + roll.between(HOLD_US_MIN, HOLD_US_MAX),
            stands: Stands::Asked,
        });
        order
    }

    /// What it ends now: what it ordered long enough ago, or all when it retires, but
    /// not before it knows that it is so.
    pub(super) fn take_due(&mut self, now_us: u64, retiring: bool) -> Option<Command> {
        let held = self.held.as_mut()?;
        if held.stands != Stands::Held || !(retiring || now_us >= held.until_us) {
            return None;
        }
        held.stands = Stands::Ending;
        Some(held.end.clone())
    }

    /// What was asked for came to this; which jobs are done again. None if that is
    /// no answer to it.
    pub(super) fn on_outcome(
        &mut self,
        command: &Command,
        outcome: &Outcome,
    ) -> Option<Vec<JobId>> {
        match (command, outcome) {
            (Command::Redrive { jobs, .. }, Outcome::Redriven(redrive))
                if redrive.jobs.len() == jobs.len() =>
            {
                let again = redrive.jobs.iter().filter_map(|result| match result {
                    Redriving::Again { job, .. } => Some(*job),
                    _ => None,
                });
                return Some(again.collect());
            }
            (Command::Purge { jobs }, Outcome::Purged(results)) if results.len() == jobs.len() => {}
            (Command::Reprioritise { jobs, .. }, Outcome::Reprioritised(results))
                if results.len() == jobs.len() => {}
            (Command::Expel { .. }, Outcome::Expelled { .. }) => {}
            (Command::Pause { .. }, Outcome::Paused { .. })
            | (Command::Resume { .. }, Outcome::Resumed { .. })
            | (Command::PutNeeds { .. }, Outcome::NeedsPut(_))
            | (Command::PutLimits { .. }, Outcome::LimitsPut { .. }) => self.on_held(command),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Does it end something that stands in others' way?
    pub(super) fn insists_on(&self, command: &Command) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.stands == Stands::Ending && held.end == *command)
    }

    /// Nothing came of it: some program is too old. A copy of an order that was sent before
    /// may arrive when none is any more: it is ended when all is calm.
    pub(super) fn on_refused(&mut self, command: &Command) {
        self.held.take_if(|held| held.end == *command);
        if let Some(held) = self.held.as_mut().filter(|held| held.order == *command) {
            (held.stands, held.until_us) = (Stands::Held, u64::MAX);
        }
    }

    fn on_held(&mut self, command: &Command) {
        let Some(held) = &mut self.held else { return };
        match held.stands {
            Stands::Asked if *command == held.order => held.stands = Stands::Held,
            Stands::Ending if *command == held.end => self.held = None,
            // The answer to a copy.
            _ => {}
        }
    }
}

/// What an account may use for a while.
/// Tags that some workers have, and memory that is enough for some of their slots.
fn some_needs(roll: &mut Roll) -> Needs {
    let tags = TAGS.iter().filter(|_| roll.chance(400_000));
    let tags: Vec<String> = tags.map(|tag| (*tag).to_owned()).collect();
    let memory_mib = roll.between(0, 3) * MEMORY_STEP_MIB;
    Needs { tags, memory_mib }
}

fn some_limits(account: &Account, roll: &mut Roll) -> Limits {
    let mut limits = Limits::default();
    match (account, roll.below(6)) {
        (Account::Tenant(_), 0) => limits.queued_max = Some(roll.between(1, 40)),
        (Account::Tenant(_), 1) => limits.weight = Some(roll.between(1, 100) as u32),
        (_, 0..3) => {
            limits.rate = Some(Rate {
                per_minute: roll.between(600, 12_000) as u32,
                burst: roll.between(1, 5) as u32,
            });
        }
        _ => limits.running_max = Some(roll.between(1, 4) as u32),
    }
    limits
}
