//! What may not go out is not proposed, and holds up nobody else.

use super::*;

/// A room in which work can be limited, with a worker that has many slots.
fn limited_room() -> Room {
    let mut room = Room::new();
    let to = crate::feature::FeatureLevel::WORK_LIMITED;
    assert_eq!(room.apply(Command::RaiseLevel { to }), Outcome::LevelRaised);
    room.register(1, 1, 64, &["outline", "summary"]);
    room
}

impl Room {
    fn limit(&mut self, account: Account, limits: Limits) {
        let outcome = self.apply(Command::PutLimits { account, limits });
        assert!(matches!(outcome, Outcome::LimitsPut { .. }), "{outcome:?}");
    }

    fn submit_in(&mut self, project: &str, names: std::ops::Range<u32>) {
        let items = names.map(|name| JobSpec {
            address: format!("ucxl://{project}/{name}").parse().unwrap(),
            ..self.spec("red", Class::Normal, "outline", name)
        });
        let items = items.collect();
        self.apply(Command::Submit { items });
    }

    fn end(&mut self, job: u64) {
        let job = JobId(job);
        let token = self.queue.job(job).unwrap().last_token.unwrap();
        self.apply(Command::Release { job, token });
    }
}

fn running(count: u32) -> Limits {
    Limits {
        running_max: Some(count),
        ..Limits::default()
    }
}

#[test]
fn a_full_account_gets_what_it_may_and_others_go_on() {
    let red = || Account::Tenant("red".into());
    for account in [red(), Account::Engine("summary".into())] {
        let mut room = limited_room();
        room.submit_for("red", Class::Urgent, "summary", 0..5);
        room.submit_for("blue", Class::Normal, "outline", 5..8);
        room.limit(account.clone(), running(2));
        let given = room.round(20);
        assert_eq!(
            given.iter().filter(|job| **job <= 5).count(),
            2,
            "{account}"
        );
        assert_eq!(given.len(), 5, "{account}: {given:?}");
        assert_eq!(room.round(20), [], "{account}");
        room.end(1);
        assert_eq!(room.round(20), [1], "{account}: it keeps its place");
    }
}

#[test]
fn what_is_under_way_counts() {
    let mut room = limited_room();
    room.submit_for("red", Class::Normal, "outline", 0..5);
    room.limit(Account::Tenant("red".into()), running(2));
    room.poll(1, 20, &[]);
    let claims = room.propose();
    assert_eq!(claims.len(), 1);
    assert_eq!(room.propose(), [], "both are proposed and not applied");
}

#[test]
fn jobs_of_a_full_project_let_those_behind_them_pass() {
    let mut room = limited_room();
    room.submit_in("monorepo", 0..6);
    room.submit_in("site", 6..8);
    room.limit(Account::Project("monorepo".into()), running(1));
    assert_eq!(room.round(20), [1, 7, 8]);
    room.submit_in("site", 8..9);
    assert_eq!(room.round(20), [9], "the queue kept its seat");
    room.end(1);
    assert_eq!(room.round(20), [1]);
}

#[test]
fn a_bucket_is_used_up_within_a_round_and_filled_by_a_tick() {
    let mut room = limited_room();
    room.submit_for("red", Class::Normal, "outline", 0..5);
    let rate = Some(Rate {
        per_minute: 60,
        burst: 2,
    });
    let limits = Limits {
        rate,
        ..Limits::default()
    };
    room.limit(Account::Tenant("red".into()), limits);
    assert_eq!(room.round(20), [1, 2]);
    room.wait_ms(1_000);
    assert_eq!(room.round(20), [], "no entry says so yet");
    room.apply(Command::Tick);
    assert_eq!(room.round(20), [3]);
}

#[test]
fn a_full_tenant_s_turns_are_not_lost_and_not_made_up_for() {
    let mut room = limited_room();
    room.submit_for("red", Class::Normal, "outline", 0..20);
    room.submit_for("blue", Class::Normal, "outline", 20..60);
    room.limit(Account::Tenant("red".into()), running(1));
    let first = room.round(10);
    assert_eq!(first.iter().filter(|job| **job <= 20).count(), 1);
    room.limit(Account::Tenant("red".into()), Limits::default());
    let both = room.round(8);
    let of_red = both.iter().filter(|job| **job <= 20).count();
    assert_eq!((both.len(), of_red), (8, 4), "they take turns: {both:?}");
}

#[test]
fn a_tenant_that_weighs_more_gets_more_turns() {
    let mut room = limited_room();
    room.submit_for("red", Class::Normal, "outline", 0..20);
    room.submit_for("blue", Class::Normal, "outline", 20..60);
    let limits = Limits {
        weight: Some(3),
        ..Limits::default()
    };
    room.limit(Account::Tenant("blue".into()), limits);
    let both = room.round(16);
    let of_red = both.iter().filter(|job| **job <= 20).count();
    assert_eq!((both.len(), of_red), (16, 4), "{both:?}");
}

#[test]
fn a_tenant_that_is_made_to_weigh_more_need_not_wait_as_long_as_before() {
    let mut room = limited_room();
    room.submit_for("blue", Class::Urgent, "outline", 0..40);
    room.submit_for("red", Class::Normal, "outline", 40..50);
    // Eight turns of the urgent ones, and it would be red's.
    assert_eq!(room.round(2), [1, 2]);
    let limits = Limits {
        weight: Some(8),
        ..Limits::default()
    };
    room.limit(Account::Tenant("red".into()), limits);
    let given = room.round(4);
    assert_eq!(
        given.iter().filter(|job| **job > 40).count(),
        2,
        "{given:?}"
    );
}

#[test]
fn a_broken_engine_is_tried_with_one_job() {
    let mut room = limited_room();
    room.submit_for("red", Class::Normal, "summary", 0..12);
    room.submit_for("blue", Class::Normal, "outline", 12..14);
    let given = room.round(12);
    let failed = given.iter().filter(|job| **job <= 12).take(10);
    let failed: Vec<u64> = failed.copied().collect();
    for job in &failed {
        let job = JobId(*job);
        let token = room.queue.job(job).unwrap().last_token.unwrap();
        room.apply(Command::Fail {
            job,
            token,
            class: FailureClass::Busy,
            message: "down".into(),
            retry_after_ms: Some(5),
        });
    }
    room.wait_ms(500);
    room.apply(Command::Tick);
    let other = room.round(20);
    assert!(other.iter().all(|job| *job > 12), "{other:?}");
    room.wait_ms(2_000);
    room.apply(Command::Tick);
    assert_eq!(room.round(20).len(), 1, "a probe");
    assert_eq!(room.round(20), []);
}
