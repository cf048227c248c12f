//! Requests that are taken back, and jobs that nobody wants any more.

use super::super::DecodeError;
use super::*;
use crate::feature::FeatureLevel;
use crate::limits::CANCEL_JOBS_MAX;

/// A world that keeps waits, with two sessions.
pub(super) struct Waiting {
    pub(super) world: World,
    sequence: u64,
}

pub(super) const ONE: u64 = 3;
pub(super) const OTHER: u64 = 4;

impl Waiting {
    pub(super) fn under(rules: Rules) -> Waiting {
        let mut world = World::under(rules);
        let to = FeatureLevel::JOBS_CANCELLED;
        world.apply(Command::RaiseLevel { to });
        for session in [ONE, OTHER] {
            let opened = world.apply(Command::OpenSession);
            assert_eq!(opened, Outcome::SessionOpened(SessionId(session)));
        }
        Waiting { world, sequence: 0 }
    }

    pub(super) fn new() -> Waiting {
        Waiting::under(rules())
    }

    /// A new request of a session, which has the replies to all before.
    pub(super) fn ask(&mut self, session: u64, command: Command) -> Outcome {
        self.sequence += 1;
        let sequence = self.sequence;
        self.world.ask(session, sequence, sequence, command)
    }

    pub(super) fn submit(&mut self, session: u64, items: Vec<JobSpec>) -> Vec<JobId> {
        match self.ask(session, Command::Submit { items }) {
            Outcome::Submitted(items) => items.iter().map(|item| item.job).collect(),
            other => panic!("not submitted: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, session: u64, jobs: &[JobId]) -> Vec<Cancellation> {
        let jobs = jobs.to_vec();
        match self.ask(session, Command::Leave { jobs }) {
            Outcome::Cancelled(results) => results,
            other => panic!("not left: {other:?}"),
        }
    }

    fn waits(&self) -> u64 {
        self.world.queue.waits.rows.len()
    }
}

const ENDED: Cancellation = Cancellation::Ended { stops: None };

#[test]
fn all_items_of_a_session_are_left_together_and_those_of_others_stay() {
    let mut waiting = Waiting::new();
    let jobs = waiting.submit(ONE, vec![spec("a", 1), spec("a", 1)]);
    waiting.submit(ONE, vec![spec("a", 1)]);
    waiting.submit(OTHER, vec![spec("a", 1)]);
    assert_eq!(waiting.waits(), 2);
    assert_eq!(waiting.leave(ONE, &jobs[..1]), [Cancellation::Left]);
    assert_eq!(waiting.world.queue.job(jobs[0]).unwrap().waiters, 1);
    assert_eq!(waiting.leave(ONE, &jobs[..1]), [Cancellation::NotWaitedFor]);
    assert_eq!(waiting.leave(OTHER, &jobs[..1]), [ENDED]);
    assert_eq!(waiting.waits(), 0);
}

#[test]
fn waits_go_when_their_job_ends_whatever_the_end() {
    let mut waiting = Waiting::new();
    let done = waiting.submit(ONE, vec![spec("a", 1)])[0];
    waiting.world.run(done);
    let dead = waiting.submit(ONE, vec![spec("b", 1)])[0];
    let token = waiting.world.claim(dead);
    waiting.world.fail(dead, token, FailureClass::Permanent);
    assert_eq!(waiting.waits(), 0);
    let cached = waiting.submit(ONE, vec![spec("a", 1)])[0];
    assert_eq!(waiting.waits(), 0, "it never waited");
    let over = [Cancellation::Over; 3];
    assert_eq!(waiting.leave(ONE, &[done, dead, cached]), over);
}

#[test]
fn a_worker_that_runs_a_job_which_ends_with_another_is_to_stop() {
    let mut waiting = Waiting::new();
    let items = vec![
        spec("a", 1),
        needs(spec("folder", 1), &["a"], Policy::Optional),
    ];
    let jobs = waiting.submit(ONE, items);
    let token = waiting.world.claim(jobs[0]);
    assert_eq!(waiting.leave(ONE, &jobs[..1]), [Cancellation::Left]);
    let mut entry = entry(
        0,
        Command::Cancel {
            jobs: vec![jobs[1]],
        },
    );
    entry.acknowledged = Sequence(0);
    let applied = waiting.world.enter(entry);
    assert_eq!(applied.outcome, Outcome::Cancelled(vec![ENDED]));
    assert_eq!(applied.stopped, [WorkerId(1)], "nobody else needed it");
    let late = waiting.world.complete(jobs[0], token, "late");
    assert!(matches!(late, Outcome::Rejected(Rejection::Stale { .. })));
    assert!(
        waiting
            .world
            .enter(super::entry(0, Command::Tick))
            .stopped
            .is_empty()
    );
}

#[test]
fn what_only_an_ended_job_wanted_ends_within_the_bound_of_an_entry() {
    let mut waiting = Waiting::new();
    let names: Vec<String> = (0..900).map(|file| format!("a{file}")).collect();
    let mut items: Vec<JobSpec> = names.iter().map(|name| spec(name, 1)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    items.push(needs(spec("folder", 1), &names, Policy::Optional));
    let jobs = waiting.submit(ONE, items);
    let (folder, files) = jobs.split_last().unwrap();
    for some in files.chunks(500) {
        assert!(
            waiting
                .leave(ONE, some)
                .iter()
                .all(|left| *left == Cancellation::Left)
        );
    }
    // The consistency that the world asks for after each entry holds when it is over.
    let leave = Command::Leave {
        jobs: vec![*folder],
    };
    let request = RequestId {
        session: SessionId(ONE),
        sequence: Sequence(99),
    };
    let mut entry = entry(0, leave);
    entry.request = Some(request);
    let queue = &mut waiting.world.queue;
    queue.apply(LogIndex(1_000), Term(1), entry);
    assert_eq!(queue.counts().cancelled, 1 + 512);
    assert!(queue.cascade_pending());
    let ticked = queue.apply(LogIndex(1_001), Term(1), super::entry(0, Command::Tick));
    assert_eq!(ticked.outcome, Outcome::Ticked { count: 388 });
    assert_eq!(queue.counts().live(), 0);
    queue.check();
}

#[test]
fn many_dependents_that_are_over_do_not_keep_a_job() {
    let mut waiting = Waiting::new();
    let mut items = vec![spec("a", 1)];
    let folder = |number: u64| needs(spec(&format!("f{number}"), 1), &["a"], Policy::Require);
    items.extend((0..200).map(folder));
    let mut jobs = waiting.submit(ONE, items);
    jobs.reverse();
    // Their edges are dropped after the command: it cannot tell yet, and says so.
    let results = waiting.leave(ONE, &jobs);
    assert_eq!(results.last(), Some(&Cancellation::Left));
    assert_eq!(waiting.world.state(JobId(1)), JobState::Cancelled);
    assert_eq!(waiting.waits(), 0);
}

#[test]
fn a_wait_moves_on_when_the_job_that_it_stands_at_is_forgotten() {
    let mut waiting = Waiting::under(Rules {
        jobs_finished_max: 1,
        ..rules()
    });
    let first = waiting.submit(ONE, vec![spec("a", 1)])[0];
    let second = waiting.submit(ONE, vec![spec("a", 2)])[0];
    let third = waiting.submit(OTHER, vec![spec("a", 3)])[0];
    assert_eq!(waiting.world.queue.job(first), None, "forgotten");
    assert_eq!(waiting.leave(ONE, &[first]), [Cancellation::Unknown]);
    assert_eq!(
        waiting.leave(ONE, &[second]),
        [Cancellation::Left],
        "both are left"
    );
    assert_eq!(waiting.world.queue.job(third).unwrap().waiters, 1);
    assert_eq!(waiting.leave(OTHER, &[third]), [ENDED]);
}

#[test]
fn a_way_that_is_too_long_is_gone_in_parts() {
    let mut waiting = Waiting::new();
    let first = waiting.submit(ONE, vec![spec("a", 1)])[0];
    let queue = &mut waiting.world.queue;
    for newer in 0..10_050u64 {
        let mut item = spec("a", 0);
        item.subject = Digest::of(&newer.to_le_bytes());
        let command = Command::Submit { items: vec![item] };
        let mut entry = entry(0, command);
        entry.acknowledged = Sequence(100 + newer);
        entry.request = Some(RequestId {
            session: SessionId(OTHER),
            sequence: Sequence(100 + newer),
        });
        queue.apply(LogIndex(100 + newer), Term(1), entry);
    }
    waiting.world.index = 20_000;
    let [Cancellation::Further { job }] = waiting.leave(ONE, &[first])[..] else {
        panic!("the way is longer than an entry may go");
    };
    assert_eq!(job, JobId(10_001));
    assert_eq!(waiting.leave(ONE, &[first]), [Cancellation::NotWaitedFor]);
    assert_eq!(waiting.leave(ONE, &[job]), [Cancellation::Left]);
    assert_eq!(
        waiting.world.queue.job(JobId(10_051)).unwrap().waiters,
        10_050
    );
}

#[test]
fn who_asked_for_a_job_that_was_cut_out_of_a_circle_waits_for_its_successor() {
    let mut waiting = Waiting::new();
    let running = waiting.submit(ONE, vec![spec("a", 1)])[0];
    waiting.world.claim(running);
    let parked = waiting.submit(ONE, vec![spec("a", 2)])[0];
    waiting.submit(OTHER, vec![needs(spec("b", 1), &["a"], Policy::Optional)]);
    // It needs what waits for the job whose place it takes.
    let newer = waiting.submit(OTHER, vec![needs(spec("a", 3), &["b"], Policy::Optional)])[0];
    assert_eq!(
        waiting.world.state(parked),
        JobState::Superseded { by: newer }
    );
    assert_eq!(waiting.world.queue.job(newer).unwrap().waiters, 2);
    assert_eq!(waiting.leave(ONE, &[parked]), [Cancellation::Left]);
    assert_eq!(waiting.leave(OTHER, &[newer]), [ENDED]);
}

#[test]
fn a_job_that_is_cancelled_for_all_leaves_its_urgency_to_its_heir_with_its_dependents() {
    for (has_dependent, class) in [(false, Class::Idle), (true, Class::Urgent)] {
        let mut waiting = Waiting::new();
        let with_class = |mut item: JobSpec, class| {
            item.class = class;
            item
        };
        let old = waiting.submit(ONE, vec![with_class(spec("a", 1), Class::Urgent)])[0];
        waiting.world.claim(old);
        if has_dependent {
            waiting.submit(ONE, vec![needs(spec("b", 1), &["a"], Policy::Require)]);
        }
        let heir = waiting.submit(ONE, vec![with_class(spec("a", 2), Class::Idle)])[0];
        let stops = Some(WorkerId(1));
        let cancelled = waiting.world.apply(Command::Cancel { jobs: vec![old] });
        assert_eq!(
            cancelled,
            Outcome::Cancelled(vec![Cancellation::Ended { stops }])
        );
        let heir = waiting.world.queue.job(heir).unwrap();
        assert_eq!((heir.state, heir.class), (JobState::Ready, class));
        assert_eq!(
            heir.waiters, 1,
            "who waited for the cancelled one is told so"
        );
    }
}

#[test]
fn what_may_not_be_left_is_refused_and_changes_nothing() {
    let mut waiting = Waiting::new();
    let jobs = waiting.submit(ONE, vec![spec("a", 1)]);
    let hash = waiting.world.queue.waits.rows.hash();
    let too_many = vec![jobs[0]; 1_001];
    for (command, found) in [
        (Command::Leave { jobs: Vec::new() }, 0),
        (
            Command::Leave {
                jobs: too_many.clone(),
            },
            1_001,
        ),
        (Command::Cancel { jobs: too_many }, 1_001),
    ] {
        let limit = CANCEL_JOBS_MAX;
        let rejection = Rejection::JobCount { found, limit };
        assert_eq!(waiting.ask(ONE, command), Outcome::Rejected(rejection));
    }
    let leave = Command::Leave { jobs };
    let nobody = waiting.world.apply(leave.clone());
    assert_eq!(nobody, Outcome::Rejected(Rejection::NoSession));
    assert_eq!(waiting.world.queue.waits.rows.hash(), hash);
    assert_eq!(waiting.world.queue.counts().ready, 1);
    let mut old = World::new();
    let rejection = Rejection::LevelTooLow {
        needed: FeatureLevel(3),
        current: FeatureLevel(1),
    };
    assert_eq!(old.apply(leave), Outcome::Rejected(rejection));
}

#[test]
fn the_audit_says_what_became_of_each_job() {
    let mut waiting = Waiting::new();
    let jobs = waiting.submit(ONE, vec![spec("a", 1), spec("b", 1)]);
    waiting.world.claim(jobs[0]);
    let applied = waiting.world.enter(entry(
        0,
        Command::Cancel {
            jobs: vec![jobs[0], jobs[1], JobId(77)],
        },
    ));
    assert_eq!(
        applied.audit.text,
        "cancel 3 jobs: j1 ended, w1 is to stop; j2 ended; j77 is unknown;"
    );
}

#[test]
fn an_image_in_which_more_wait_than_are_counted_or_a_way_leads_back_is_none() {
    let mut waiting = Waiting::new();
    let done = waiting.submit(ONE, vec![spec("b", 1)])[0];
    waiting.world.run(done);
    let old = waiting.submit(ONE, vec![spec("a", 1)])[0];
    let new = waiting.submit(OTHER, vec![spec("a", 2)])[0];
    let refused = |queue: &QueueManager| match QueueManager::from_image(&queue.image()) {
        Err(DecodeError::Inconsistent { reason }) => reason,
        other => panic!("taken for a state: {:?}", other.map(|queue| queue.counts())),
    };
    let mut more = waiting.world.queue.clone();
    more.waits.add(old, SessionId(ONE), 2);
    assert_eq!(
        refused(&more),
        format!("4 waits lead to {new}, which has 2")
    );
    let mut back = waiting.world.queue.clone();
    back.finished.rows.update(&old, |job| {
        job.state = JobState::Superseded { by: done };
    });
    let reason = format!("{old} gave way to {done}, which had ended before");
    assert_eq!(refused(&back), reason);
}
