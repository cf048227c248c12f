//! What the limits leave to be given out in one round of claims (QUEUE F5). Knows no
//! worker and no turn, only counts: what is proposed and not applied uses up as much
//! as if it were.

use std::collections::BTreeMap;

use crate::ids::JobId;
use crate::job::Account;
use crate::queue::QueueManager;

use super::stride::UnderWay;

/// How many more jobs may go out, by name. Who is not in it is not limited.
type Left<'q> = BTreeMap<&'q str, u64>;

/// What is left.
#[derive(Debug)]
pub(super) struct Room<'q> {
    queue: &'q QueueManager,
    tenants: Left<'q>,
    engines: Left<'q>,
    projects: Left<'q>,
}

impl<'q> Room<'q> {
    /// Room without an end.
    pub(super) fn without(queue: &'q QueueManager) -> Room<'q> {
        Room {
            queue,
            tenants: BTreeMap::new(),
            engines: BTreeMap::new(),
            projects: BTreeMap::new(),
        }
    }

    /// What the queue leaves besides what is under way.
    pub(super) fn of(queue: &'q QueueManager, under_way: &UnderWay) -> Room<'q> {
        let mut room = Room::without(queue);
        for (account, left) in queue.rooms() {
            let (accounts, name) = match account {
                Account::Tenant(name) => (&mut room.tenants, name),
                Account::Engine(name) => (&mut room.engines, name),
                Account::Project(name) => (&mut room.projects, name),
            };
            accounts.insert(name, left);
        }
        for (engine, left) in queue.broken_engines() {
            let known = room.engines.entry(engine).or_insert(left);
            *known = left.min(*known);
        }
        under_way.keys().for_each(|job| room.take(*job));
        room
    }

    /// May a job of this engine go out?
    pub(super) fn has_engine(&self, engine: &str) -> bool {
        self.engines.get(engine).is_none_or(|left| *left > 0)
    }

    /// May a job of this tenant go out?
    pub(super) fn has_tenant(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_none_or(|left| *left > 0)
    }

    /// May a job of this job's project go out?
    pub(super) fn has_project_of(&self, job: JobId) -> bool {
        if self.projects.is_empty() {
            return true;
        }
        let accounts = self.queue.accounts_of(job);
        let (_, _, project) = accounts.expect("a ready job is unfinished");
        self.projects.get(project).is_none_or(|left| *left > 0)
    }

    /// A job goes out.
    pub(super) fn take(&mut self, job: JobId) {
        if self.tenants.is_empty() && self.engines.is_empty() && self.projects.is_empty() {
            return;
        }
        let Some((tenant, engine, project)) = self.queue.accounts_of(job) else {
            return;
        };
        for left in [
            self.tenants.get_mut(tenant),
            self.engines.get_mut(engine),
            self.projects.get_mut(project),
        ]
        .into_iter()
        .flatten()
        {
            // What is under way may be more than there is room for by now.
            *left = left.saturating_sub(1);
        }
    }
}
