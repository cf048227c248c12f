//! The model of what is taken back: sessions leave jobs, jobs are cancelled, and what
//! nobody wants ends.

use super::*;

impl Model {
    /// The unfinished job that answers for another by now.
    pub(super) fn answerer(&self, told: u64) -> Option<u64> {
        match self.tasks.get(&told)?.stage {
            Stage::Over(JobState::Superseded { by }) => self.answerer(by.0),
            Stage::Over(_) => None,
            _ => Some(told),
        }
    }

    pub(super) fn leave(&mut self, told: u64, session: u64) -> Cancellation {
        if !self.tasks.contains_key(&told) {
            return Cancellation::Unknown;
        }
        let Some(id) = self.answerer(told) else {
            return Cancellation::Over;
        };
        let Some(count) = self.waits.remove(&(told, session)) else {
            return Cancellation::NotWaitedFor;
        };
        self.tasks.get_mut(&id).unwrap().waiters -= count;
        match self.is_wanted(id) {
            true => Cancellation::Left,
            false => self.cancel(id),
        }
    }

    pub(super) fn cancel(&mut self, id: u64) -> Cancellation {
        let Some(task) = self.tasks.get(&id) else {
            return Cancellation::Unknown;
        };
        let name = task.name;
        let stops = match task.stage {
            Stage::Over(_) => return Cancellation::Over,
            Stage::Running(worker, _) => Some(WorkerId(worker)),
            _ => None,
        };
        let heir = self.parked(name).filter(|parked| {
            let needs = &self.tasks[parked].needs;
            let targets = needs.iter().filter_map(|(_, target)| *target).collect();
            *parked != id && !self.circular(id, &targets)
        });
        let has_dependents = self.has_dependents(id);
        let class = self.tasks[&id].class;
        self.end(id, JobState::Cancelled, None);
        self.promote(name);
        match heir.filter(|_| has_dependents) {
            Some(heir) => {
                for task in self.tasks.values_mut() {
                    for (_, target) in &mut task.needs {
                        *target = target.map(|target| if target == id { heir } else { target });
                    }
                }
                self.raise(heir, class);
            }
            None => self.untold.push((id, Err(id))),
        }
        Cancellation::Ended { stops }
    }

    pub(super) fn has_dependents(&self, id: u64) -> bool {
        let mut tasks = self.tasks.values();
        tasks.any(|task| task.needs.iter().any(|(_, target)| *target == Some(id)))
    }

    pub(super) fn is_wanted(&self, id: u64) -> bool {
        self.tasks[&id].waiters > 0 || self.has_dependents(id)
    }

    /// Dependents learn of what ended, and whatever nobody wants any more ends:
    /// the rest of every command.
    pub(super) fn settle(&mut self) {
        self.tell_all();
        while let Some(id) = self.unwanted() {
            self.cancel(id);
        }
    }

    fn unwanted(&self) -> Option<u64> {
        let mut ids = self.tasks.keys().copied();
        ids.find(|id| !self.tasks[id].is_over() && !self.is_wanted(*id))
    }
}
