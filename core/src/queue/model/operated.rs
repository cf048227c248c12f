//! The model of what operators do: dead letters are redriven and purged, jobs made
//! more or less urgent, and queues paused.

use super::*;

impl Model {
    /// Does dead letters again. Which job a dead letter failed for is told by `cause`:
    /// with several failed ones, either may be named.
    pub(super) fn redrive(
        &mut self,
        jobs: &[JobId],
        dependents: bool,
        session: u64,
        cause: impl Fn(u64) -> Option<u64>,
    ) -> Result<Redrive, ()> {
        let open = |model: &Model, id: &u64| model.letters.get(id) == Some(&None);
        let mut chosen: Vec<u64> = Vec::new();
        let mut reached: Vec<u64> = Vec::new();
        for job in jobs {
            if !reached.contains(&job.0) {
                reached.push(job.0);
            }
        }
        let mut at = 0;
        while let Some(id) = reached.get(at).copied() {
            at += 1;
            if open(self, &id) {
                chosen.push(id);
            }
            let ids: Vec<u64> = self.letters.keys().copied().collect();
            for other in ids {
                let needs_it = open(self, &other) && cause(other) == Some(id);
                if dependents && needs_it && !reached.contains(&other) {
                    reached.push(other);
                }
            }
        }
        let names: BTreeSet<usize> = chosen.iter().map(|id| self.tasks[id].name).collect();
        let mut order: Vec<usize> = Vec::new();
        while order.len() < names.len() {
            let is_free = |name: &usize| {
                let of_it = chosen.iter().filter(|id| self.tasks[id].name == *name);
                let mut wants = of_it.flat_map(|id| &self.tasks[id].wants);
                wants.all(|(want, _)| !names.contains(want) || order.contains(want))
            };
            let mut left = chosen.iter().map(|id| self.tasks[id].name);
            order.push(
                left.find(|name| !order.contains(name) && is_free(name))
                    .ok_or(())?,
            );
        }
        let mut results: BTreeMap<u64, Redriving> = BTreeMap::new();
        let (mut more, mut lacking) = (0, 0);
        for name in order {
            let of_it = chosen.iter().filter(|id| self.tasks[id].name == name);
            for id in of_it.copied().collect::<Vec<_>>() {
                let result = self.redrive_one(id);
                if let Redriving::Again { job, .. } = &result {
                    match jobs.contains(&JobId(id)) {
                        true => *self.waits.entry((job.0, session)).or_default() += 1,
                        false => more += 1,
                    }
                }
                if matches!(result, Redriving::Needs { .. }) && !jobs.contains(&JobId(id)) {
                    lacking += 1;
                }
                results.insert(id, result);
            }
        }
        let of_named = jobs.iter().map(|job| {
            let why = || match (self.letters.get(&job.0), self.tasks.get(&job.0)) {
                (Some(Some(by)), _) => Redriving::Before { job: JobId(*by) },
                (Some(None), _) => panic!("{job} was chosen"),
                (None, None) => Redriving::Unknown,
                (None, Some(task)) => match &task.stage {
                    Stage::Over(state) if state.is_dead_letter() => Redriving::NotKept,
                    _ => Redriving::NotDead,
                },
            };
            results.get(&job.0).cloned().unwrap_or_else(why)
        });
        Ok(Redrive {
            jobs: of_named.collect(),
            dependents: more,
            lacking,
            next: Vec::new(),
        })
    }

    fn redrive_one(&mut self, id: u64) -> Redriving {
        let old = self.tasks[&id].clone();
        if let Some(shown) = self.hit(old.name, old.input) {
            let by = JobId(shown.job);
            self.letters.insert(id, Some(by.0));
            return Redriving::Published { by };
        }
        let live = [self.parked(old.name), self.current(old.name)];
        for live in live.into_iter().flatten() {
            if self.tasks[&live].input == old.input {
                let task = self.tasks.get_mut(&live).unwrap();
                task.waiters += 1;
                task.newest_accept = task.newest_accept.max(old.newest_accept);
                self.raise(live, old.class);
                self.letters.insert(id, Some(live));
                return Redriving::Again {
                    job: JobId(live),
                    how: Admission::Attached,
                };
            }
        }
        for live in live.into_iter().flatten() {
            if self.tasks[&live].newest_accept > old.newest_accept {
                return Redriving::Outdated { by: JobId(live) };
            }
        }
        let newer = |(accept, _): &(u64, u64)| *accept > old.newest_accept;
        if let Some((_, job)) = self.newest(old.name).filter(newer) {
            let by = JobId(job);
            return Redriving::Outdated { by };
        }
        for (want, policy) in &old.wants {
            let there = !self.live(*want).is_empty() || self.valid(*want).is_some();
            if *policy == Policy::Require && !there {
                return Redriving::Needs {
                    address: address(NAMES[*want]),
                };
            }
        }
        self.accepted += 1;
        let job = self.accepted;
        let task = Task {
            not_before: self.now,
            needs: Vec::new(),
            stage: Stage::Waiting,
            waiters: 1,
            failures: 0,
            crashes: 0,
            token: None,
            ..old
        };
        let how = self.make(job, task);
        self.letters.insert(id, Some(job));
        Redriving::Again {
            job: JobId(job),
            how,
        }
    }

    pub(super) fn purge(&mut self, id: u64) -> Purging {
        match self.letters.remove(&id) {
            Some(_) => Purging::Purged,
            None => Purging::NotKept,
        }
    }

    pub(super) fn reprioritise(&mut self, id: u64, class: Class) -> Reprioritisation {
        match self.tasks.get(&id) {
            None => return Reprioritisation::Unknown,
            Some(task) if task.is_over() => return Reprioritisation::Over,
            Some(_) => {}
        }
        let needs_it = |task: &&Task| task.needs.iter().any(|(_, target)| *target == Some(id));
        let dependents = self.tasks.values().filter(needs_it);
        let class = dependents
            .map(|task| task.class)
            .chain([class])
            .min()
            .unwrap();
        self.raise(id, class);
        self.tasks.get_mut(&id).unwrap().class = class;
        Reprioritisation::Now { class }
    }
}
