//! Who may do what, and what becomes of those who may not.

mod caching;
mod owned;
mod told;

use super::*;
use crate::access::{Area, Denial, DenialReason, Denied, Grant, Role, Tally};
use crate::feature::FeatureLevel;
use crate::limits::{DENIALS_NAMED_MAX, GRANTS_MAX, PRINCIPALS_MAX};

fn who(name: &str) -> Principal {
    Principal(name.into())
}

fn grant(role: Role, area: Area) -> Grant {
    Grant {
        role,
        area,
        class: Class::Urgent,
    }
}

fn within(name: &str) -> Area {
    Area::Within(address(name))
}

impl World {
    fn by(&mut self, name: &str, command: Command) -> Outcome {
        let entry = Entry {
            principal: who(name),
            ..entry(self.t, command)
        };
        self.enter(entry).outcome
    }

    fn by_cluster(&mut self, command: Command) -> Outcome {
        self.by("cluster", command)
    }

    fn put(&mut self, by: &str, name: &str, grants: Vec<Grant>) -> Outcome {
        let principal = who(name);
        self.by(by, Command::PutRoles { principal, grants })
    }

    /// The denial, which must have changed nothing.
    fn denied(&mut self, name: &str, command: Command) -> Denial {
        let denial = self.queue.command_denial(&who(name), &command);
        let before = (self.queue.counts(), self.queue.last_job());
        let outcome = self.by(name, command);
        let Outcome::Rejected(Rejection::Denied(found)) = outcome else {
            panic!("not denied: {outcome:?}");
        };
        assert_eq!((self.queue.counts(), self.queue.last_job()), before);
        assert_eq!(denial, Some(found.clone()), "the leader says the same");
        found
    }

    fn session_of(&mut self, name: &str) -> SessionId {
        match self.by(name, Command::OpenSession) {
            Outcome::SessionOpened(session) => session,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn asks(&mut self, name: &str, session: SessionId, sequence: u64, command: Command) -> Outcome {
        let request = RequestId {
            session,
            sequence: Sequence(sequence),
        };
        let entry = Entry {
            principal: who(name),
            request: Some(request),
            ..entry(self.t, command)
        };
        self.enter(entry).outcome
    }

    fn given(&mut self, job: JobId, worker: u64) -> Token {
        self.try_given(job, worker).unwrap()
    }

    fn try_given(&mut self, job: JobId, worker: u64) -> Result<Token, ClaimRefusal> {
        let claim = Claim {
            job,
            worker: WorkerId(worker),
            rule: ClaimRule::OnlyFit,
        };
        let claims = vec![claim];
        match self.by_cluster(Command::Claim { claims }) {
            Outcome::Claimed(results) => results[0],
            other => panic!("not claimed: {other:?}"),
        }
    }
}

fn completion(job: JobId, token: Token) -> Command {
    Command::Complete {
        job,
        token,
        result: Digest::of(b"x"),
        body: Bytes::from(b"x".as_slice()),
    }
}

fn submit(items: Vec<JobSpec>) -> Command {
    Command::Submit { items }
}

/// At the level, and nobody has a grant.
fn open() -> World {
    let mut world = World::new();
    let to = FeatureLevel::ACCESS_CHECKED;
    world.apply(Command::RaiseLevel { to });
    world
}

/// With one principal of each role: `admin`, `operator`, `agent`, `viewer`, `worker`,
/// who has worker 1; and `guest`, who has none.
fn closed() -> World {
    let mut world = open();
    assert_eq!(world.by("worker", worker(1, 2, 8)), Outcome::Registered);
    for role in [
        Role::Admin,
        Role::Operator,
        Role::Agent,
        Role::Viewer,
        Role::Worker,
    ] {
        let put = world.put("admin", &role.to_string(), vec![Grant::everywhere(role)]);
        assert_eq!(put, Outcome::RolesPut { before: 0 });
    }
    world
}

#[test]
fn below_the_level_nobody_is_given_a_role_and_nothing_is_noted() {
    let mut world = World::new();
    let put = world.put("admin", "admin", vec![Grant::everywhere(Role::Admin)]);
    let needed = FeatureLevel::ACCESS_CHECKED;
    let current = FeatureLevel::FOUNDING;
    assert_eq!(
        put,
        Outcome::Rejected(Rejection::LevelTooLow { needed, current })
    );
    let session = world.session_of("a");
    assert_eq!(world.queue.owner_of_session(session), None);
    assert_eq!(world.queue.owner_of_worker(WorkerId(1)), None);
}

#[test]
fn while_nobody_has_a_grant_everybody_may_do_everything() {
    let mut world = open();
    let job = world.submit_one(spec("a", 1));
    let token = world.claim(job);
    let outcome = world.by("anybody", completion(job, token));
    assert_eq!(outcome, Outcome::Completed);
    assert!(!world.queue.checks_access());
}

#[test]
fn the_first_grant_must_be_an_admins_and_the_last_admin_stays() {
    let mut world = open();
    let agent = vec![Grant::everywhere(Role::Agent)];
    let last = |name: &str| {
        let principal = who(name);
        Outcome::Rejected(Rejection::LastAdmin { principal })
    };
    assert_eq!(world.put("a", "b", agent.clone()), last("b"));
    assert!(!world.queue.checks_access(), "nothing was changed");
    // Nothing for whoever has nothing is no change, and no lock-out.
    assert_eq!(world.put("a", "b", vec![]), Outcome::RolesPut { before: 0 });
    let admin = vec![Grant::everywhere(Role::Admin)];
    world.put("a", "a", admin.clone());
    assert_eq!(world.put("a", "a", agent), last("a"));
    assert_eq!(world.put("a", "a", vec![]), last("a"));
    assert_eq!(world.put("a", "b", admin), Outcome::RolesPut { before: 0 });
    assert_eq!(world.put("a", "a", vec![]), Outcome::RolesPut { before: 1 });
    let (rights, next) = world.queue.rights_after(None, 10);
    assert_eq!(
        (rights.len(), &rights[0].principal, next),
        (1, &who("b"), None)
    );
}

#[test]
fn grants_and_principals_are_limited_and_only_some_are_possible() {
    let mut world = closed();
    let too_many = vec![Grant::everywhere(Role::Viewer); GRANTS_MAX as usize + 1];
    assert!(matches!(
        world.put("admin", "x", too_many),
        Outcome::Rejected(Rejection::OutOfRange { .. })
    ));
    for role in [Role::Worker, Role::Admin] {
        let grants = vec![Grant::everywhere(Role::Viewer), grant(role, within("a"))];
        assert_eq!(
            world.put("admin", "x", grants),
            Outcome::Rejected(Rejection::RoleForAll { grant: 1, role })
        );
    }
    for name in ["", "cluster", "cluster: because"] {
        assert_eq!(
            world.put("admin", name, vec![]),
            Outcome::Rejected(Rejection::NoPrincipal {
                principal: who(name)
            })
        );
    }
    let known = world.queue.rights_after(None, u32::MAX).0.len() as u64;
    for number in known..PRINCIPALS_MAX {
        let put = world.put(
            "admin",
            &format!("v{number}"),
            vec![Grant::everywhere(Role::Viewer)],
        );
        assert_eq!(put, Outcome::RolesPut { before: 0 });
    }
    let one_more = world.put("admin", "x", vec![Grant::everywhere(Role::Viewer)]);
    assert!(matches!(
        one_more,
        Outcome::Rejected(Rejection::Full { .. })
    ));
    let changed = world.put("admin", "viewer", vec![Grant::everywhere(Role::Agent)]);
    assert_eq!(changed, Outcome::RolesPut { before: 1 });
}

#[test]
fn each_command_needs_its_role_and_none_less() {
    let mut world = closed();
    let job = world.by("agent", submit(vec![spec("a", 1)]));
    let Outcome::Submitted(items) = job else {
        panic!("not submitted: {job:?}");
    };
    let jobs = vec![items[0].job];
    let token = Token {
        index: LogIndex(1),
        position: 0,
    };
    let scope = Scope::Cluster;
    let account = Account::Tenant("t".into());
    let (reason, limits) = (String::new(), Limits::default());
    let needs = [
        (Role::Agent, Command::OpenSession),
        (Role::Agent, submit(vec![spec("a", 1)])),
        (Role::Agent, Command::Leave { jobs: jobs.clone() }),
        (Role::Worker, worker(1, 2, 8)),
        (Role::Worker, completion(jobs[0], token)),
        (
            Role::Worker,
            Command::Release {
                job: jobs[0],
                token,
            },
        ),
        (Role::Operator, Command::Cancel { jobs: jobs.clone() }),
        (
            Role::Operator,
            Command::Redrive {
                jobs: jobs.clone(),
                dependents: false,
            },
        ),
        (
            Role::Operator,
            Command::Redrive {
                jobs: jobs.clone(),
                dependents: true,
            },
        ),
        (Role::Operator, Command::Purge { jobs: jobs.clone() }),
        (
            Role::Operator,
            Command::Reprioritise {
                jobs,
                class: Class::Idle,
            },
        ),
        (
            Role::Operator,
            Command::Pause {
                scope: scope.clone(),
                reason,
            },
        ),
        (Role::Operator, Command::Resume { scope }),
        (
            Role::Operator,
            Command::Expel {
                worker: WorkerId(9),
            },
        ),
        (Role::Operator, Command::PutLimits { account, limits }),
        (
            Role::Admin,
            Command::PutRoles {
                principal: who("x"),
                grants: vec![],
            },
        ),
    ];
    for (needed, command) in needs {
        for role in Role::ALL {
            let denial = world
                .queue
                .command_denial(&who(&role.to_string()), &command);
            let held = vec![role];
            let expected = (!role.carries(needed)).then_some(Denial::Role { needed, held });
            assert_eq!(denial, expected, "{role} and {command:?}");
        }
        let held = vec![];
        let denial = world.denied("guest", command);
        assert_eq!(denial, Denial::Role { needed, held });
    }
}

#[test]
fn what_the_leader_does_nobody_else_can() {
    let mut world = closed();
    let commands = [
        Command::Tick,
        Command::Claim { claims: vec![] },
        Command::ClaimFrom { claims: vec![] },
        Command::Expire { leases: vec![] },
        Command::TakeOver {
            term: Term(1),
            node: NodeId(1),
        },
        Command::RaiseLevel {
            to: FeatureLevel::LATEST,
        },
        Command::NoteDenials {
            denied: vec![],
            others: None,
        },
    ];
    for command in commands {
        assert_eq!(world.denied("admin", command), Denial::LeaderOnly);
    }
    assert_eq!(
        world.by_cluster(Command::Tick),
        Outcome::Ticked { count: 0 }
    );
    let by_name = world.denied("cluster", submit(vec![spec("a", 1)]));
    let (needed, held) = (Role::Agent, vec![]);
    assert_eq!(by_name, Denial::Role { needed, held });
}

#[test]
fn a_batch_is_all_or_nothing_and_the_first_item_beyond_is_named() {
    let mut world = closed();
    let agent = Grant {
        class: Class::Normal,
        ..grant(Role::Agent, within("a"))
    };
    let grants = vec![agent, grant(Role::Viewer, within("lib"))];
    world.put("admin", "agent", grants);
    let outside = submit(vec![spec("a/x", 1), spec("ab", 1), spec("c", 1)]);
    let place = |needed, name| Denial::Place {
        needed,
        item: Some(1),
        address: address(name),
    };
    assert_eq!(world.denied("agent", outside), place(Role::Agent, "ab"));
    let urgent = JobSpec {
        class: Class::Urgent,
        ..spec("a/y", 1)
    };
    let too_urgent = Denial::Class {
        item: Some(1),
        address: address("a/y"),
        asked: Class::Urgent,
        allowed: Class::Normal,
    };
    let batch = submit(vec![spec("a/x", 1), urgent]);
    assert_eq!(world.denied("agent", batch), too_urgent);
    let reads = |name| needs(spec("a/y", 1), &[name], Policy::Optional);
    let batch = submit(vec![spec("a/x", 1), reads("secret")]);
    assert_eq!(world.denied("agent", batch), place(Role::Viewer, "secret"));
    let fine = world.by("agent", submit(vec![spec("a/x", 1), reads("lib/z")]));
    assert!(matches!(fine, Outcome::Submitted(items) if items.len() == 2));
}

#[test]
fn an_operator_of_a_part_operates_no_more_than_that() {
    let mut world = closed();
    world.put(
        "admin",
        "operator",
        vec![grant(Role::Operator, within("a"))],
    );
    let own = world.submit_for("agent", spec("a/x", 1));
    let other = world.submit_for("agent", spec("b", 1));
    let place = |position| Denial::Place {
        needed: Role::Operator,
        item: Some(position),
        address: address("b"),
    };
    let jobs = vec![own, JobId(99), other];
    let cancel = Command::Cancel { jobs: jobs.clone() };
    assert_eq!(world.denied("operator", cancel), place(2));
    let class = Class::Idle;
    let lower = Command::Reprioritise { jobs, class };
    assert_eq!(world.denied("operator", lower), place(2));
    let needed = Role::Operator;
    let everywhere = Denial::Everywhere { needed };
    let scope = Scope::Engine("outline".into());
    let pause = Command::Resume { scope };
    assert_eq!(world.denied("operator", pause), everywhere);
    let (jobs, dependents) = (vec![own], true);
    let redrive = Command::Redrive { jobs, dependents };
    assert_eq!(world.denied("operator", redrive), everywhere);
    let jobs = vec![own];
    let outcome = world.by("operator", Command::Cancel { jobs });
    assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
    // A project's limits are the project's operator's.
    let limit = |name: &str| Command::PutLimits {
        account: Account::Project(name.into()),
        limits: Limits::default(),
    };
    let whole = Area::Within("ucxl://p/".parse().unwrap());
    assert!(matches!(
        world.denied("operator", limit("p")),
        Denial::Place { .. }
    ));
    // Who operates the root alone does not operate what is inside.
    let root = Area::At("ucxl://p/".parse().unwrap());
    world.put("admin", "operator", vec![grant(Role::Operator, root)]);
    assert!(matches!(
        world.denied("operator", limit("p")),
        Denial::Inside { .. }
    ));
    world.put("admin", "operator", vec![grant(Role::Operator, whole)]);
    assert!(matches!(
        world.by("operator", limit("p")),
        Outcome::LimitsPut { .. }
    ));
    assert!(matches!(
        world.denied("operator", limit("q")),
        Denial::Place { .. }
    ));
    assert_eq!(world.denied("operator", limit("p/a")), everywhere);
}

impl World {
    fn submit_for(&mut self, name: &str, item: JobSpec) -> JobId {
        match self.by(name, submit(vec![item])) {
            Outcome::Submitted(items) => items[0].job,
            other => panic!("not submitted: {other:?}"),
        }
    }
}

#[test]
fn a_state_with_roles_comes_back_from_its_image() {
    let mut world = closed();
    let session = world.session_of("agent");
    world.put("admin", "part", vec![grant(Role::Agent, within("a"))]);
    let image = world.queue.image();
    let back = QueueManager::from_image(&image).unwrap();
    assert_eq!(back.state_hash(), world.queue.state_hash());
    assert_eq!(back.owner_of_session(session), Some(&who("agent")));
    assert_eq!(back.owner_of_worker(WorkerId(1)), Some(&who("worker")));
    assert_eq!(
        back.rights_after(None, 99),
        world.queue.rights_after(None, 99)
    );
    assert_eq!(back.rights_after(None, 2).1, Some(who("agent")));
    let after = back.rights_after(Some(&who("agent")), 2);
    assert_eq!(after.0[0].principal, who("operator"));
}
