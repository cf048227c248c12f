//! What tenants, engines and projects may use.

use super::*;
use crate::feature::FeatureLevel;
use crate::limits::{ACCOUNTS_MAX, RATE_BURST_MAX};

/// A way in which a running job stops running.
pub(super) type End = dyn Fn(&mut World, JobId, Token);

pub(super) fn limited() -> World {
    let mut world = World::new();
    let to = FeatureLevel::WORK_LIMITED;
    world.apply(Command::RaiseLevel { to });
    world
}

fn team() -> Account {
    Account::Tenant("team".into())
}

/// The accounts of every job that [`spec`] makes.
fn accounts() -> [Account; 3] {
    let (engine, project) = ("outline".into(), "p".into());
    [team(), Account::Engine(engine), Account::Project(project)]
}

pub(super) fn running(count: u32) -> Limits {
    Limits {
        running_max: Some(count),
        ..Limits::default()
    }
}

pub(super) fn rate(per_minute: u32, burst: u32) -> Limits {
    Limits {
        rate: Some(Rate { per_minute, burst }),
        ..Limits::default()
    }
}

impl World {
    pub(super) fn limit(&mut self, account: Account, limits: Limits) -> Limits {
        match self.apply(Command::PutLimits { account, limits }) {
            Outcome::LimitsPut { before } => before,
            other => panic!("not limited: {other:?}"),
        }
    }

    fn refuse_limits(&mut self, account: Account, limits: Limits) -> Rejection {
        match self.apply(Command::PutLimits { account, limits }) {
            Outcome::Rejected(rejection) => rejection,
            other => panic!("limited: {other:?}"),
        }
    }

    fn tokens(&self) -> Option<u64> {
        self.queue.accounts().next().unwrap().tokens
    }
}

fn specs(count: u8) -> Vec<JobSpec> {
    (0..count).map(|n| spec(&format!("f{n}"), 1)).collect()
}

#[test]
fn so_many_jobs_of_an_account_run_at_a_time() {
    for account in accounts() {
        let mut world = limited();
        let jobs = world.submit(specs(3));
        world.limit(account.clone(), running(2));
        let first = world.claim(jobs[0].job);
        world.claim(jobs[1].job);
        let third = world.try_claim(jobs[2].job, 1);
        assert_eq!(third, Err(ClaimRefusal::Limited), "{account}");
        world.complete(jobs[0].job, first, "x");
        world.claim(jobs[2].job);
        let view = world.queue.accounts().next().unwrap();
        assert_eq!((view.running, view.limits), (2, running(2)));
    }
}

#[test]
fn every_way_to_stop_running_makes_room() {
    let lost = |class| move |world: &mut World, job, token| drop(world.fail(job, token, class));
    let ways: [&End; 6] = [
        &lost(FailureClass::Retryable),
        &lost(FailureClass::Permanent),
        &|world, job, token| drop(world.apply(Command::Release { job, token })),
        &|world, job, token| drop(world.expire(job, token)),
        &|world, job, _| drop(world.apply(Command::Cancel { jobs: vec![job] })),
        &|world, _, _| {
            world.apply(worker(1, 2, 8));
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut world = limited();
        world.limit(team(), running(1));
        let jobs = world.submit(specs(2));
        let token = world.claim(jobs[0].job);
        assert!(world.try_claim(jobs[1].job, 1).is_err());
        way(&mut world, jobs[0].job, token);
        assert!(world.try_claim(jobs[1].job, 1).is_ok(), "way {number}");
    }
}

#[test]
fn a_lower_limit_stops_nothing_that_runs() {
    let mut world = limited();
    let jobs = world.submit(specs(3));
    let tokens = [world.claim(jobs[0].job), world.claim(jobs[1].job)];
    assert_eq!(world.limit(team(), running(1)), Limits::default());
    world.complete(jobs[0].job, tokens[0], "x");
    assert!(world.try_claim(jobs[2].job, 1).is_err(), "one still runs");
    world.complete(jobs[1].job, tokens[1], "x");
    world.run(jobs[2].job);
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    for account in accounts() {
        let mut world = limited();
        let jobs = world.submit(specs(6));
        // A token in two seconds.
        world.limit(account, rate(30, 3));
        for job in &jobs[..3] {
            world.run(job.job);
        }
        assert_eq!(world.tokens(), Some(0));
        let refused = world.try_claim(jobs[3].job, 1);
        assert_eq!(refused, Err(ClaimRefusal::Limited));
        assert_eq!(world.queue.next_timer(), Some(Stamp(2_000)));
        world.t = 2_000;
        assert!(world.try_claim(jobs[3].job, 1).is_err(), "no tick has come");
        assert_eq!(world.tick_to(2_000), Outcome::Ticked { count: 1 });
        world.run(jobs[3].job);
        assert_eq!(world.queue.next_timer(), Some(Stamp(4_000)));
        world.tick_to(3_999);
        assert!(world.try_claim(jobs[4].job, 1).is_err());
        world.tick_to(1_000_000);
        assert_eq!(world.tokens(), Some(3), "it holds no more");
    }
}

#[test]
fn a_bucket_is_not_filled_by_being_ordered_again() {
    let mut world = limited();
    let jobs = world.submit(specs(3));
    world.limit(team(), rate(60, 2));
    world.run(jobs[0].job);
    world.run(jobs[1].job);
    world.limit(team(), rate(60, 2));
    assert_eq!(world.tokens(), Some(0));
    world.tick_to(1_000);
    assert_eq!(world.tokens(), Some(1));
    world.limit(team(), rate(60_000, 50));
    assert_eq!(world.tokens(), Some(1), "it holds more, and has as much");
    world.limit(team(), running(1));
    assert_eq!(world.tokens(), None);
    assert_eq!(world.queue.next_timer(), None);
}

#[test]
fn an_empty_bucket_costs_at_most_an_entry_in_ten_milliseconds() {
    let mut world = limited();
    let jobs = world.submit(specs(1));
    world.limit(team(), rate(10_000_000, 1));
    world.run(jobs[0].job);
    assert_eq!(world.queue.next_timer(), Some(Stamp(10)));
}

#[test]
fn a_tenant_has_so_many_unfinished_jobs() {
    let mut world = limited();
    let limits = Limits {
        queued_max: Some(3),
        ..Limits::default()
    };
    world.limit(team(), limits);
    let jobs = world.submit(specs(3));
    let refused = world.refuse(vec![spec("g", 1)]);
    let full = Rejection::TenantFull {
        tenant: "team".into(),
        live: 3,
        limit: 3,
        retry_after_ms: 1_000,
    };
    assert_eq!(refused, full);
    // What has its job already adds nothing, and others have their own bound.
    world.submit(specs(3));
    let mut other = spec("g", 1);
    other.tenant = "others".into();
    world.submit(vec![other]);
    world.run(jobs[0].job);
    world.submit_one(spec("h", 1));
    let view = world.queue.accounts().next().unwrap();
    assert_eq!(view.queued, Some(3));
}

#[test]
fn limits_are_checked_one_by_one() {
    let mut world = limited();
    let engine = || Account::Engine("outline".into());
    let out_of_range = |rejection: &Rejection| matches!(rejection, Rejection::OutOfRange { .. });
    for limits in [
        running(0),
        rate(0, 1),
        rate(1, 0),
        rate(1, RATE_BURST_MAX as u32 + 1),
        Limits {
            weight: Some(101),
            ..Limits::default()
        },
    ] {
        let refused = world.refuse_limits(team(), limits);
        assert!(out_of_range(&refused), "{limits}: {refused}");
    }
    let only_tenants = world.refuse_limits(
        engine(),
        Limits {
            weight: Some(2),
            ..Limits::default()
        },
    );
    let expected = "weight is for tenants; engines and projects have running_max and a rate";
    assert_eq!(only_tenants.to_string(), expected);
    let nameless = world.refuse_limits(Account::Project(String::new()), running(1));
    assert_eq!(nameless.to_string(), "the project to limit has no name");
    assert_eq!(world.queue.accounts().count(), 0);
}

#[test]
fn so_many_accounts_are_limited_and_no_limits_make_room() {
    let mut world = limited();
    for n in 0..ACCOUNTS_MAX {
        let account = Account::Project(format!("p{n}"));
        let limits = running(1);
        world.apply_unchecked(Command::PutLimits { account, limits });
    }
    let full = world.refuse_limits(team(), running(1));
    assert!(matches!(full, Rejection::Full { .. }), "{full}");
    let first = Account::Project("p0".into());
    assert_eq!(world.limit(first, Limits::default()), running(1));
    world.limit(team(), running(1));
}

#[test]
fn nothing_is_limited_before_its_level() {
    let mut world = World::new();
    let (account, limits) = (team(), running(1));
    let refused = world.apply(Command::PutLimits { account, limits });
    let needed = FeatureLevel::WORK_LIMITED;
    let current = FeatureLevel::FOUNDING;
    let rejection = Rejection::LevelTooLow { needed, current };
    assert_eq!(refused, Outcome::Rejected(rejection));
}

#[test]
fn a_weight_multiplies_that_of_the_class() {
    let mut world = limited();
    world.submit(specs(1));
    let key = |world: &World| {
        let opened = world.queue.opened_after(Default::default());
        let keys: Vec<_> = opened.map(|(_, key)| key.clone()).collect();
        keys[0].clone()
    };
    let queue = key(&world);
    assert_eq!(world.queue.weight(&queue), 64);
    let limits = Limits {
        weight: Some(3),
        ..Limits::default()
    };
    world.limit(team(), limits);
    assert_eq!(world.queue.weight(&queue), 192);
}

#[test]
fn a_job_s_explanation_names_the_account_that_is_full() {
    let mut world = limited();
    world.limit(team(), running(1));
    let jobs = world.submit(specs(2));
    world.claim(jobs[0].job);
    let explanation = world.queue.explain(jobs[1].job).unwrap();
    let Hold::Limited(account) = &explanation.holds[0] else {
        panic!("{explanation}");
    };
    assert_eq!((&account.account, account.running), (&team(), 1));
    let words = explanation.holds[0].to_string();
    let expected = "tenant team is limited to 1 running; running: 1; it goes on when a job of it ends, or a token comes";
    assert_eq!(words, expected);
}
