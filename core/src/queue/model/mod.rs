//! A slow and obvious queue, and the real one against it (in `against`). The
//! model has no index, line or cascade: it scans, follows successors and
//! recurses. Where the two agree over random commands, the clever one is right.

pub(in crate::queue) mod access;
mod against;
mod cached;
mod cancel;
mod edited;
mod fitted;
mod kept;
mod limited;
mod operated;
mod steps;
mod together;

use std::collections::{BTreeMap, BTreeSet};

use crate::command::*;
use crate::digest::Digest;
use crate::ids::*;
use crate::job::*;
use crate::time::Stamp;

use super::QueueManager;
use super::tests::{address, spec};

use self::cached::Cached;
use self::fitted::Fitted;
use self::kept::Kept;
use self::limited::Limited;
use self::together::Together;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Waiting,
    Delayed(u64),
    Ready,
    Running(u64, Token),
    Parked,
    Over(JobState),
}

#[derive(Clone, Debug)]
struct Task {
    name: usize,
    input: u8,
    class: Class,
    newest_accept: u64,
    /// What it was asked to wait for.
    wants: Vec<(usize, Policy)>,
    /// Whom it needs, and the job that it waits for while that is not over.
    needs: Vec<(Policy, Option<u64>)>,
    not_before: u64,
    stage: Stage,
    waiters: u32,
    failures: u32,
    crashes: u32,
    token: Option<Token>,
}

impl Task {
    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    fn is_run_by(&self, worker: u64) -> bool {
        matches!(self.stage, Stage::Running(holder, _) if holder == worker)
    }
}

/// What is published at an address: input, accept number, job; when the attempt that
/// made it was given out, and when it was published.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    input: u8,
    accept: u64,
    job: u64,
    began: LogIndex,
    at: u64,
}

#[derive(Clone, Debug, Default)]
struct Model {
    tasks: BTreeMap<u64, Task>,
    shown: BTreeMap<usize, Shown>,
    incarnations: BTreeMap<u64, u64>,
    accepted: u64,
    now: u64,
    /// Ends that dependents learn of when the whole command is done.
    untold: Vec<(u64, Result<(), u64>)>,
    /// How often which session was told which job and has not left it.
    waits: BTreeMap<(u64, u64), u32>,
    /// Jobs that may be redriven, and those that were.
    letters: BTreeMap<u64, Option<u64>>,
    paused: BTreeSet<Scope>,
    limited: Limited,
    together: Together,
    fitted: Fitted,
    kept: Kept,
    cached: Cached,
    /// What people said of which address, in the order of the log.
    said: BTreeMap<usize, Vec<edited::Said>>,
}

impl Model {
    fn live(&self, name: usize) -> Vec<u64> {
        let own = self.tasks.iter();
        own.filter(|(_, task)| task.name == name && !task.is_over())
            .map(|(id, _)| *id)
            .collect()
    }

    fn parked(&self, name: usize) -> Option<u64> {
        let is_parked = |id: &u64| self.tasks[id].stage == Stage::Parked;
        self.live(name).into_iter().find(is_parked)
    }

    fn current(&self, name: usize) -> Option<u64> {
        let is_parked = |id: &u64| self.tasks[id].stage == Stage::Parked;
        self.live(name).into_iter().find(|id| !is_parked(id))
    }

    fn running(&self, id: u64) -> bool {
        matches!(self.tasks[&id].stage, Stage::Running(..))
    }

    /// Everything that a job waits for, directly or not.
    fn awaited(&self, from: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut all = from.clone();
        loop {
            let mut more = all.clone();
            for id in &all {
                let task = &self.tasks[id];
                more.extend(task.needs.iter().filter_map(|(_, target)| *target));
                if task.stage == Stage::Parked {
                    more.extend(self.current(task.name));
                }
            }
            if more == all {
                return all;
            }
            all = more;
        }
    }

    /// Would a job with these targets, in the place of `old`, wait for itself?
    fn circular(&self, old: u64, targets: &BTreeSet<u64>) -> bool {
        // Through `old` itself there is no circle: its own needs go with it.
        let strict: BTreeSet<u64> = targets.iter().copied().filter(|id| *id != old).collect();
        self.awaited(&strict).contains(&old)
    }

    fn rest(&self, id: u64) -> Stage {
        let task = &self.tasks[&id];
        if task.needs.iter().any(|(_, target)| target.is_some()) {
            Stage::Waiting
        } else if task.not_before > self.now {
            Stage::Delayed(task.not_before)
        } else {
            Stage::Ready
        }
    }

    fn end(&mut self, id: u64, state: JobState, tell: Option<Result<(), u64>>) {
        if state.is_dead_letter() {
            self.letters.insert(id, None);
        }
        if self.running(id) {
            let made = matches!(state, JobState::Done { .. });
            self.hear(id, made.then_some(false));
        }
        let task = self.tasks.get_mut(&id).unwrap();
        task.stage = Stage::Over(state);
        task.needs.clear();
        if let Some(result) = tell {
            self.tell(id, result);
        }
    }

    fn promote(&mut self, name: usize) {
        if let (None, Some(parked)) = (self.current(name), self.parked(name)) {
            self.tasks.get_mut(&parked).unwrap().stage = self.rest(parked);
        }
    }

    fn tell_all(&mut self) {
        for (ended, result) in std::mem::take(&mut self.untold) {
            self.tell(ended, result);
        }
    }

    fn tell(&mut self, ended: u64, result: Result<(), u64>) {
        let ids: Vec<u64> = self.tasks.keys().copied().collect();
        for id in ids {
            loop {
                let needs = &mut self.tasks.get_mut(&id).unwrap().needs;
                let Some((policy, target)) = needs.iter_mut().find(|(_, t)| *t == Some(ended))
                else {
                    break;
                };
                *target = None;
                match (result, *policy) {
                    (Err(cause), Policy::Require) => {
                        let name = self.tasks[&id].name;
                        let dependency = JobId(cause);
                        let state = JobState::DependencyFailed { dependency };
                        self.end(id, state, Some(Err(id)));
                        self.promote(name);
                    }
                    (Err(_), Policy::Optional) | (Ok(()), _) => {
                        if self.tasks[&id].stage == Stage::Waiting {
                            self.tasks.get_mut(&id).unwrap().stage = self.rest(id);
                        }
                    }
                }
            }
        }
    }

    fn follow(&mut self, old: u64, new: u64) {
        for task in self.tasks.values_mut() {
            for (_, target) in &mut task.needs {
                if *target == Some(old) {
                    *target = Some(new);
                }
            }
        }
        let (waiters, class) = (self.tasks[&old].waiters, self.tasks[&old].class);
        self.tasks.get_mut(&new).unwrap().waiters += waiters;
        self.raise(new, class);
    }

    fn raise(&mut self, id: u64, class: Class) {
        let task = self.tasks.get_mut(&id).unwrap();
        if task.class <= class {
            return;
        }
        task.class = class;
        let targets: Vec<u64> = task
            .needs
            .iter()
            .filter_map(|(_, target)| *target)
            .collect();
        for target in targets {
            self.raise(target, class);
        }
    }

    fn submit(
        &mut self,
        items: &[(JobSpec, usize, u8)],
        session: u64,
        looks: bool,
    ) -> Result<Vec<Submitted>, ()> {
        let names: BTreeSet<usize> = items.iter().map(|item| item.1).collect();
        let needed = |spec: &JobSpec| -> Vec<(usize, Policy)> {
            let edges = spec.dependencies.iter();
            edges
                .map(|edge| {
                    let at = NAMES.iter().position(|name| address(name) == edge.address);
                    (at.unwrap(), edge.policy)
                })
                .collect()
        };
        // Repeatedly admit an address all of whose needs in the batch are admitted.
        let mut order: Vec<usize> = Vec::new();
        while order.len() < names.len() {
            let next = items
                .iter()
                .map(|item| item.1)
                .filter(|name| !order.contains(name))
                .find(|name| {
                    items.iter().filter(|item| item.1 == *name).all(|item| {
                        needed(&item.0)
                            .iter()
                            .all(|(need, _)| !names.contains(need) || order.contains(need))
                    })
                });
            order.push(next.ok_or(())?);
        }
        for (spec, _, _) in items {
            for (need, policy) in needed(spec) {
                let known = names.contains(&need)
                    || !self.live(need).is_empty()
                    || self.valid(need).is_some();
                if policy == Policy::Require && !known {
                    return Err(());
                }
            }
        }
        if !self.may_queue(items, looks) {
            return Err(());
        }
        let base = self.accepted;
        self.accepted += items.len() as u64;
        let mut answers = vec![None; items.len()];
        for name in order {
            for (position, (spec, own, input)) in items.iter().enumerate() {
                if *own == name {
                    let id = base + 1 + position as u64;
                    answers[position] =
                        Some(self.admit(id, spec, name, *input, &needed(spec), looks));
                }
            }
        }
        self.tell_all();
        let answers: Vec<Submitted> = answers.into_iter().map(Option::unwrap).collect();
        for answer in &answers {
            *self.waits.entry((answer.job.0, session)).or_default() += 1;
        }
        Ok(answers)
    }

    fn admit(
        &mut self,
        id: u64,
        spec: &JobSpec,
        name: usize,
        input: u8,
        needed: &[(usize, Policy)],
        looks: bool,
    ) -> Submitted {
        let answer = |job: u64, how| Submitted {
            job: JobId(job),
            how,
        };
        let (current, parked) = (self.current(name), self.parked(name));
        if looks && self.hit(name, input).is_some() {
            self.shown.get_mut(&name).unwrap().accept = id;
            let state = JobState::Done {
                result: body_digest(),
                from_cache: true,
            };
            let task = self.task(id, spec, name, input, Vec::new());
            self.tasks.insert(id, task);
            self.tasks.get_mut(&id).unwrap().stage = Stage::Over(state);
            for old in [parked, current].into_iter().flatten() {
                if self.may_answer(old, input) {
                    self.tasks.get_mut(&old).unwrap().newest_accept = id;
                } else if !self.running(old) {
                    self.end(old, JobState::Superseded { by: JobId(id) }, None);
                    self.untold.push((old, Ok(())));
                }
            }
            return answer(id, Admission::FromCache);
        }
        for live in [parked, current].into_iter().flatten() {
            if !self.may_answer(live, input) {
                continue;
            }
            let task = self.tasks.get_mut(&live).unwrap();
            task.waiters += 1;
            task.newest_accept = task.newest_accept.max(id);
            self.raise(live, spec.class);
            if let Some(other) = parked.filter(|other| *other != live) {
                let needs = self.tasks[&live].needs.clone();
                let targets = needs.iter().filter_map(|(_, target)| *target).collect();
                if !self.circular(other, &targets) {
                    let state = JobState::Superseded { by: JobId(live) };
                    self.end(other, state, None);
                    self.follow(other, live);
                }
            }
            return answer(live, Admission::Attached);
        }
        let task = self.task(id, spec, name, input, needed.to_vec());
        let hopeless = self.hopeless(name, input, needed.is_empty());
        if let Some(dead) = hopeless.filter(|_| looks) {
            let dead = JobId(dead);
            let message = format!("no ({dead} failed so; redrive that one to try it again)");
            let state = JobState::Dead(DeadReason::Permanent { message });
            let stage = Stage::Over(state);
            self.tasks.insert(id, Task { stage, ..task });
            return answer(id, Admission::FailedBefore);
        }
        let how = self.make(id, task);
        answer(id, how)
    }

    /// The dead letter that answers a request for an input, if one does.
    fn hopeless(&self, name: usize, input: u8, needs_nothing: bool) -> Option<u64> {
        let message = "no".into();
        let stage = Stage::Over(JobState::Dead(DeadReason::Permanent { message }));
        let open = self.letters.iter().filter(|(_, again)| again.is_none());
        let same = |id: &u64| {
            let task = &self.tasks[id];
            let is_same = (task.name, task.input) == (name, input) && task.stage == stage;
            is_same && task.wants.is_empty() && needs_nothing
        };
        open.map(|(id, _)| *id).filter(same).max()
    }

    /// A new job, for an input that no job is for.
    fn make(&mut self, id: u64, mut task: Task) -> Admission {
        self.kept.made.insert(task.input);
        let name = task.name;
        let (current, parked) = (self.current(name), self.parked(name));
        let needs: Vec<(Policy, Option<u64>)> = task
            .wants
            .iter()
            .map(|(need, policy)| (*policy, self.parked(*need).or(self.current(*need))))
            .collect();
        task.needs.clone_from(&needs);
        let targets: BTreeSet<u64> = needs.iter().filter_map(|(_, target)| *target).collect();
        let takes = current.filter(|old| !self.running(*old) && !self.circular(*old, &targets));
        let state = JobState::Superseded { by: JobId(id) };
        let cut = parked.filter(|old| self.circular(*old, &targets));
        self.tasks.insert(id, task);
        for old in parked.filter(|_| cut.is_none()).into_iter().chain(takes) {
            self.end(old, state.clone(), None);
            self.follow(old, id);
        }
        let behind = self.current(name).is_some_and(|other| other != id);
        self.tasks.get_mut(&id).unwrap().stage = if behind { Stage::Parked } else { self.rest(id) };
        // Only what is told comes last: a job that is over hands no urgency on.
        if let Some(old) = cut {
            self.end(old, state, None);
            let waiters = self.tasks[&old].waiters;
            self.tasks.get_mut(&id).unwrap().waiters += waiters;
        }
        let class = self.tasks[&id].class;
        for target in targets {
            self.raise(target, class);
        }
        if let Some(old) = cut {
            self.untold.push((old, Err(old)));
        }
        if behind {
            Admission::Parked
        } else {
            Admission::Created
        }
    }

    fn task(
        &self,
        id: u64,
        spec: &JobSpec,
        name: usize,
        input: u8,
        wants: Vec<(usize, Policy)>,
    ) -> Task {
        Task {
            name,
            input,
            class: spec.class,
            newest_accept: id,
            wants,
            needs: Vec::new(),
            not_before: self.now + spec.delay_ms,
            // Not parked until it is said so: it must not find itself in the slot.
            stage: Stage::Waiting,
            waiters: 1,
            failures: 0,
            crashes: 0,
            token: None,
        }
    }

    fn complete(&mut self, id: u64, token: Token) -> bool {
        let Some(task) = self.tasks.get(&id) else {
            return false;
        };
        let name = task.name;
        match task.stage {
            Stage::Running(..) | Stage::Ready | Stage::Delayed(_) => {
                if task.token != Some(token) {
                    return false;
                }
            }
            Stage::Over(JobState::Done { .. }) => return task.token == Some(token),
            Stage::Over(_) | Stage::Waiting | Stage::Parked => return false,
        }
        let shown = Shown {
            input: task.input,
            accept: task.newest_accept,
            job: id,
            began: token.index,
            at: self.now,
        };
        let newest = self.newest(name);
        if newest.is_none_or(|(accept, _)| accept <= shown.accept) {
            self.shown.insert(name, shown);
        }
        let state = JobState::Done {
            result: body_digest(),
            from_cache: false,
        };
        self.end(id, state, None);
        self.promote(name);
        self.tell(id, Ok(()));
        true
    }

    /// An attempt ends; `at` is when the queue says it goes on.
    fn end_attempt(&mut self, id: u64, class: FailureClass, at: Option<Stamp>) {
        let counted = self.counted(id, class, false);
        let counts = self.hear_of(id, class);
        self.end_counted(id, counted, at, counts);
    }

    /// What the end of an attempt says of the engine.
    fn hear_of(&mut self, id: u64, class: FailureClass) -> bool {
        self.hear(
            id,
            match class {
                FailureClass::Retryable | FailureClass::Busy => Some(true),
                FailureClass::Permanent => Some(false),
                FailureClass::WorkerLost | FailureClass::Drained => None,
            },
        )
    }

    fn end_counted(&mut self, id: u64, class: FailureClass, at: Option<Stamp>, counts: bool) {
        let name = self.tasks[&id].name;
        let task = self.tasks.get_mut(&id).unwrap();
        task.stage = Stage::Ready;
        let mut dead = None;
        match class {
            FailureClass::Retryable if !counts => {}
            FailureClass::Permanent => {
                task.failures += 1;
                dead = Some(DeadReason::Permanent {
                    message: "no".into(),
                });
            }
            FailureClass::Retryable => {
                task.failures += 1;
                if task.failures >= 5 {
                    dead = Some(DeadReason::Failures {
                        count: 5,
                        message: "no".into(),
                    });
                }
            }
            FailureClass::WorkerLost => {
                task.crashes += 1;
                if task.crashes >= 3 {
                    dead = Some(DeadReason::Crashes { count: 3 });
                }
            }
            FailureClass::Busy | FailureClass::Drained => {}
        }
        if let Some(parked) = self.parked(name) {
            let needs = &self.tasks[&parked].needs;
            let targets = needs.iter().filter_map(|(_, target)| *target).collect();
            if !self.circular(id, &targets) {
                let state = JobState::Superseded { by: JobId(parked) };
                self.end(id, state, None);
                self.promote(name);
                self.follow(id, parked);
                return;
            }
        }
        if let Some(reason) = dead {
            self.end(id, JobState::Dead(reason), None);
            self.promote(name);
            self.tell(id, Err(id));
        } else if let Some(at) = at.filter(|at| at.0 > self.now) {
            self.tasks.get_mut(&id).unwrap().stage = Stage::Delayed(at.0);
        }
    }

    fn held_by(&self, id: u64, token: Token) -> bool {
        let is = |task: &Task| matches!(task.stage, Stage::Running(_, held) if held == token);
        self.tasks.get(&id).is_some_and(is)
    }

    fn tick(&mut self) {
        for task in self.tasks.values_mut() {
            if matches!(task.stage, Stage::Delayed(until) if until <= self.now) {
                task.stage = Stage::Ready;
            }
        }
        self.tick_limits();
    }
}

fn body_digest() -> Digest {
    Digest::of(b"x")
}
