//! The model of who may do what: a list of grants, and of each command a list of what it
//! needs. Before each command of a sequence somebody else tries the same. Where the
//! list says that it may not, the queue must say so too, for the same reason; and then
//! the queue still does what the model does, so that nothing came of it.

use proptest::prelude::*;

use crate::access::{Area, DenialReason, Grant, Role};
use crate::principal::Principal;

use super::super::tests::{entry, worker};
use super::against::{Pair, SLOTS};
use super::steps::{SESSIONS, Step, steps};
use super::*;

/// Who tries. What they may do changes.
const INTRUDERS: [&str; 3] = ["eve", "mallory", "trent"];

/// Whoever may do nothing but say who may.
const ROOT: &str = "root";

/// Whoever does what a sequence says, and may.
pub(super) const CLIENT: &str = "client";

/// The slow table, and who tries what the client does.
#[derive(Clone, Debug, Default)]
pub(in crate::queue) struct Guard {
    grants: Vec<(String, Grant)>,
    tries: usize,
}

/// Something that a command needs.
struct Need {
    role: Role,
    /// None for all places.
    place: Option<String>,
    class: Option<Class>,
    /// It is enough to have the role somewhere.
    somewhere: bool,
    /// And not enough to have it at the place alone.
    inside: bool,
}

fn somewhere(role: Role) -> Need {
    Need {
        role,
        place: None,
        class: None,
        somewhere: true,
        inside: false,
    }
}

fn everywhere(role: Role) -> Need {
    Need {
        somewhere: false,
        ..somewhere(role)
    }
}

fn place(role: Role, address: &str, class: Option<Class>) -> Need {
    Need {
        place: Some(address.to_owned()),
        class,
        ..everywhere(role)
    }
}

/// By names, one after the other.
fn covers(area: &Area, place: &str) -> bool {
    let names = |text: &str| -> Vec<String> {
        let names = text.strip_prefix("ucxl://").unwrap().split('/');
        let names = names.filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    match area {
        Area::Everywhere => true,
        Area::Within(within) => {
            let (outer, inner) = (names(within.as_str()), names(place));
            inner.len() >= outer.len() && inner[..outer.len()] == outer[..]
        }
        Area::At(at) => names(at.as_str()) == names(place),
    }
}

fn has(role: Role, needed: Role) -> bool {
    let all: &[Role] = match role {
        Role::Viewer => &[Role::Viewer],
        Role::Agent => &[Role::Viewer, Role::Agent],
        Role::Worker => &[Role::Worker],
        Role::Operator => &[Role::Viewer, Role::Agent, Role::Operator],
        Role::Admin => &[Role::Viewer, Role::Agent, Role::Operator, Role::Admin],
    };
    all.contains(&needed)
}

fn is_leaders(command: &Command) -> bool {
    matches!(
        command,
        Command::TakeOver { .. }
            | Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }
            | Command::Expire { .. }
            | Command::Tick
            | Command::RaiseLevel { .. }
            | Command::Evict { .. }
            | Command::NoteDenials { .. }
    )
}

impl Guard {
    /// Everything that the client does it may.
    pub(super) fn first_grants() -> Vec<(&'static str, Vec<Grant>)> {
        let client = [Role::Agent, Role::Worker, Role::Operator];
        vec![
            (ROOT, vec![Grant::everywhere(Role::Admin)]),
            (CLIENT, client.map(Grant::everywhere).to_vec()),
        ]
    }

    pub(super) fn put(&mut self, name: &str, grants: &[Grant]) {
        self.grants.retain(|(who, _)| who != name);
        let grants = grants.iter().map(|grant| (name.to_owned(), grant.clone()));
        self.grants.extend(grants);
    }

    /// The entry as the one who may do it sends it, and the tries of one who may not.
    pub(in crate::queue) fn tries(
        &mut self,
        entry: &mut Entry,
        queue: &QueueManager,
    ) -> Vec<(Entry, DenialReason)> {
        let by = match &entry.command {
            command if is_leaders(command) => "cluster",
            Command::PutRoles { .. } => ROOT,
            _ => CLIENT,
        };
        entry.principal = Principal(by.to_owned());
        self.tries += 1;
        let who = INTRUDERS[self.tries % INTRUDERS.len()];
        let mut tries = Vec::new();
        let alike = |request| Entry {
            principal: Principal(who.to_owned()),
            request,
            ..entry.clone()
        };
        if entry.request.is_some() {
            tries.push((alike(entry.request), DenialReason::ForeignSession));
        }
        if let Some(reason) = self.reason(who, &entry.command, queue) {
            tries.push((alike(None), reason));
        }
        tries
    }

    fn reason(&self, who: &str, command: &Command, queue: &QueueManager) -> Option<DenialReason> {
        if is_leaders(command) {
            return Some(DenialReason::LeaderOnly);
        }
        let needs = needs_of(command, queue);
        let missing = needs.iter().find_map(|need| self.missing(who, need));
        missing.or_else(|| foreign(command, queue))
    }

    fn missing(&self, who: &str, need: &Need) -> Option<DenialReason> {
        let own = self.grants.iter().filter(|(name, _)| name == who);
        let of_role: Vec<&Grant> = own
            .map(|(_, grant)| grant)
            .filter(|grant| has(grant.role, need.role))
            .collect();
        if of_role.is_empty() {
            return Some(DenialReason::Role(need.role));
        }
        let Some(place) = &need.place else {
            let all = of_role.iter().any(|grant| grant.area == Area::Everywhere);
            let lacks = !need.somewhere && !all;
            return lacks.then_some(DenialReason::Everywhere(need.role));
        };
        let there: Vec<&&Grant> = of_role
            .iter()
            .filter(|grant| covers(&grant.area, place))
            .collect();
        if there.is_empty() {
            return Some(DenialReason::Place(need.role));
        }
        let is_at = |grant: &&&Grant| matches!(grant.area, Area::At(_));
        if need.inside && there.iter().all(is_at) {
            return Some(DenialReason::Inside(need.role));
        }
        let class = need.class?;
        let rank = |class| Class::ALL.iter().position(|other| *other == class);
        let may = there.iter().any(|grant| rank(grant.class) <= rank(class));
        (!may).then_some(DenialReason::Class)
    }
}

/// Nothing of what the client has is an intruder's.
fn foreign(command: &Command, queue: &QueueManager) -> Option<DenialReason> {
    match command {
        Command::Register { worker } => {
            let known = queue.workers().any(|known| known.worker == worker.worker);
            known.then_some(DenialReason::ForeignWorker)
        }
        Command::PutOffer { worker, .. } => {
            let known = queue.workers().any(|known| known.worker == *worker);
            known.then_some(DenialReason::ForeignWorker)
        }
        Command::Complete { job, token, .. }
        | Command::Fail { job, token, .. }
        | Command::FailTogether { job, token, .. }
        | Command::Release { job, token } => {
            let view = queue.job(*job)?;
            let open = !view.state.is_terminal() && view.last_token == Some(*token);
            open.then_some(DenialReason::ForeignToken)
        }
        _ => None,
    }
}

fn needs_of(command: &Command, queue: &QueueManager) -> Vec<Need> {
    let at_jobs = |jobs: &[JobId], class: Option<Class>| {
        let mut needs = vec![somewhere(Role::Operator)];
        let known = jobs.iter().filter_map(|job| queue.job(*job));
        needs.extend(known.map(|job| place(Role::Operator, job.address.as_str(), class)));
        needs
    };
    match command {
        Command::OpenSession | Command::Leave { .. } | Command::KeepSources { .. } => {
            vec![somewhere(Role::Agent)]
        }
        Command::Submit { items } | Command::Ask { items, .. } => {
            let mut needs = vec![somewhere(Role::Agent)];
            for item in items {
                needs.push(place(Role::Agent, item.address.as_str(), Some(item.class)));
                let read = item.dependencies.iter();
                needs.extend(read.map(|read| place(Role::Viewer, read.address.as_str(), None)));
            }
            needs
        }
        Command::Register { .. }
        | Command::PutOffer { .. }
        | Command::Complete { .. }
        | Command::Fail { .. }
        | Command::FailTogether { .. }
        | Command::Release { .. } => vec![everywhere(Role::Worker)],
        Command::Cancel { jobs }
        | Command::Purge { jobs }
        | Command::Redrive {
            jobs,
            dependents: false,
        } => at_jobs(jobs, None),
        Command::Reprioritise { jobs, class } => at_jobs(jobs, Some(*class)),
        Command::PutLimits {
            account: Account::Project(project),
            ..
        } => vec![Need {
            inside: true,
            ..place(Role::Operator, &format!("ucxl://{project}/"), None)
        }],
        Command::Invalidate {
            reach: Reach::Address(address),
        } => vec![place(Role::Operator, address.as_str(), None)],
        Command::Invalidate {
            reach: Reach::Prefix(address),
        } => vec![Need {
            inside: true,
            ..place(Role::Operator, address.as_str(), None)
        }],
        Command::PutRoles { .. } => vec![everywhere(Role::Admin)],
        Command::Annotate { address, .. } | Command::Resolve { address, .. } => {
            vec![place(Role::Agent, address.as_str(), None)]
        }
        _ => vec![everywhere(Role::Operator)],
    }
}

/// Grants of somebody: few, and of some places.
pub(super) fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let role = prop::sample::select(vec![
        Role::Viewer,
        Role::Agent,
        Role::Agent,
        Role::Operator,
        Role::Worker,
    ]);
    let at = |name: &str| address(name);
    let area = prop::sample::select(vec![
        Area::Everywhere,
        Area::Within("ucxl://p/".parse().unwrap()),
        Area::Within(at("a")),
        Area::At(at("b")),
        Area::Within(at("c")),
    ]);
    let class = prop::sample::select(Class::ALL.to_vec());
    let grant = (role, area, class).prop_map(|(role, area, class)| Grant {
        role,
        area: match role.is_for_all() {
            true => Area::Everywhere,
            false => area,
        },
        class,
    });
    prop::collection::vec(grant, 0..4)
}

/// Who gets grants.
pub(super) fn intruder() -> impl Strategy<Value = &'static str> {
    prop::sample::select(INTRUDERS.to_vec())
}

/// An entry that gives grants to somebody.
pub(super) fn putting(name: &str, grants: Vec<Grant>) -> Entry {
    let principal = Principal(name.to_owned());
    Entry {
        principal: Principal(ROOT.to_owned()),
        ..entry(0, Command::PutRoles { principal, grants })
    }
}

impl Pair {
    /// The same, while others may do less, and try what the client does.
    fn guarded() -> Pair {
        let mut pair = Pair::new();
        // Whose things are that were there before is known when they are used.
        pair.world.apply(worker(1, 1, SLOTS));
        for session in 0..SESSIONS.len() {
            let jobs = vec![JobId(1)];
            pair.ask(session, Command::Cancel { jobs });
        }
        let mut guard = Guard::default();
        for (name, grants) in Guard::first_grants() {
            guard.put(name, &grants);
            let outcome = pair.world.enter(putting(name, grants)).outcome;
            assert_eq!(outcome, Outcome::RolesPut { before: 0 });
        }
        pair.world.guard = Some(Box::new(guard));
        pair
    }

    /// Others may do something else from now on.
    fn put_roles(&mut self, name: &str, grants: Vec<Grant>) {
        let entry = Entry {
            t: Stamp(self.world.t),
            ..putting(name, grants.clone())
        };
        let outcome = self.world.enter(entry).outcome;
        assert!(matches!(outcome, Outcome::RolesPut { .. }), "{outcome:?}");
        let guard = self.world.guard.as_mut();
        guard.expect("it is guarded").put(name, &grants);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whoever_may_not_changes_nothing_and_is_told_why_as_the_model_is(
        steps in steps(),
        roles in prop::collection::vec((0..60usize, intruder(), grants()), 1..12),
        cut in 0..60usize,
    ) {
        let mut pair = Pair::guarded();
        for (number, step) in steps.into_iter().enumerate() {
            if number == cut {
                let twin = QueueManager::from_image(&pair.world.queue.image()).unwrap();
                pair.world.twin = Some(twin);
            }
            for (at, name, grants) in &roles {
                if *at == number {
                    pair.put_roles(name, grants.clone());
                }
            }
            // Whose results would count that were expelled must register first.
            let again = match &step {
                Step::Expel(worker) => Some(Step::Register(*worker, 1)),
                _ => None,
            };
            pair.take(step);
            again.into_iter().for_each(|again| pair.take(again));
            pair.compare();
        }
    }
}
