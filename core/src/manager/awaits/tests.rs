use super::*;
use crate::command::{Command, Outcome};
use crate::ids::{RequestId, Sequence, SessionId};
use crate::job::{JobSpec, JobState};
use crate::manager::alone::{Alone, item, propose};
use crate::request::Request;

struct World {
    alone: Alone,
    session: SessionId,
    sequence: Sequence,
}

impl World {
    fn new() -> World {
        let mut alone = Alone::new();
        let Reply::Applied {
            outcome: Outcome::SessionOpened(session),
            ..
        } = alone.propose("agent", Command::OpenSession)
        else {
            panic!("no session is opened");
        };
        World {
            alone,
            session,
            sequence: Sequence(0),
        }
    }

    fn submit(&mut self, items: Vec<JobSpec>) -> (LogIndex, Vec<JobId>) {
        self.sequence = self.sequence.next();
        let request = Request::Propose {
            request: Some(RequestId {
                session: self.session,
                sequence: self.sequence,
            }),
            acknowledged: self.sequence,
            command: Command::Submit { items },
        };
        match self.alone.reply("agent", request) {
            Reply::Applied {
                index,
                outcome: Outcome::Submitted(items),
            } => (index, items.iter().map(|item| item.job).collect()),
            other => panic!("{other:?}"),
        }
    }

    /// Asks, and looks at what is answered at once.
    fn wait(&mut self, jobs: Vec<JobId>, after: LogIndex) -> Option<Reply> {
        self.alone.answers.clear();
        self.alone.ask("agent", Request::Await { jobs, after });
        self.alone.answers.pop().map(|(_, reply)| reply)
    }

    fn held(&self) -> &Awaits {
        &self.alone.driver.view().0.awaits
    }
}

fn over(by: JobId, state: JobState) -> Ending {
    Ending::Over { by, state }
}

#[test]
fn whoever_waits_is_answered_in_the_turn_in_which_the_last_job_ends() {
    let mut world = World::new();
    let (after, jobs) = world.submit(vec![item("a", 1), item("b", 1)]);
    let [a, b] = jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(world.wait(jobs.clone(), after), None);
    world
        .alone
        .ask("agent", propose(Command::Cancel { jobs: vec![b] }));
    world.alone.pass(20);
    assert!(
        world
            .alone
            .answers
            .iter()
            .all(|(_, reply)| !is_awaited(reply))
    );
    world
        .alone
        .ask("agent", propose(Command::Cancel { jobs: vec![a] }));
    world.alone.turn(Vec::new());
    let mut awaited = world.alone.answers.iter().filter(|it| is_awaited(&it.1));
    let (_, reply) = awaited.next_back().expect("all is over");
    let Reply::Awaited { endings, applied } = reply else {
        panic!("{reply:?}");
    };
    let cancelled = [a, b].map(|job| over(job, JobState::Cancelled));
    assert_eq!(
        (endings.as_slice(), *applied),
        (&cancelled[..], world.alone.applied())
    );
    // Whoever comes later is told the same.
    let reply = world.wait(jobs, after).expect("it is known");
    assert!(matches!(reply, Reply::Awaited { endings, .. } if endings == cancelled));
    assert!(world.held().waiters.is_empty() && world.held().by_job.is_empty());
    assert_eq!(world.held().jobs, 0);
}

fn is_awaited(reply: &Reply) -> bool {
    matches!(reply, Reply::Awaited { .. })
}

#[test]
fn a_way_longer_than_the_work_of_a_turn_is_gone_in_several() {
    let mut world = World::new();
    let batches = 2 * STEPS_PER_TURN_MAX / 1_000 + 1;
    let mut first = None;
    let mut last = JobId(0);
    for batch in 0..batches {
        let items = (0..1_000).map(|input| item("a", batch * 1_000 + input));
        let (_, jobs) = world.submit(items.collect());
        first.get_or_insert(jobs[0]);
        last = jobs[999];
    }
    let first = first.expect("there are batches");
    assert_eq!(world.wait(vec![first, last], LogIndex(0)), None);
    let is_at = |world: &World, job| {
        world
            .held()
            .by_job
            .iter()
            .any(|(at, (_, place))| (*at, *place) == (job, 0))
    };
    assert!(!is_at(&world, last), "the work of one turn does not reach");
    assert_eq!(
        world.alone.driver.deadline(),
        Some(Time(0)),
        "it goes on at once"
    );
    world.alone.turn(Vec::new());
    world.alone.turn(Vec::new());
    assert!(is_at(&world, last));
    assert_ne!(world.alone.driver.deadline(), Some(Time(0)));
    world
        .alone
        .pass(world.alone.driver.view().0.config().knobs.worker_poll_ms);
    let (_, reply) = world.alone.answers.pop().expect("its time is over");
    let unfinished = Ending::Unfinished { by: last };
    assert!(
        matches!(reply, Reply::Awaited { endings, .. } if endings == [unfinished.clone(), unfinished])
    );
}

#[test]
fn a_node_that_was_not_told_in_time_says_so() {
    let mut world = World::new();
    let (after, jobs) = world.submit(vec![item("a", 1)]);
    assert_eq!(world.wait(jobs, LogIndex(after.0 + 1_000)), None);
    world
        .alone
        .pass(world.alone.driver.view().0.config().knobs.worker_poll_ms);
    let (_, reply) = world.alone.answers.pop().expect("its time is over");
    let reason = Refusal::Behind;
    assert!(matches!(reply, Reply::Refused { reason: found, .. } if found == reason));
}

#[test]
fn what_is_not_known_is_said_at_once() {
    let mut world = World::new();
    let reply = world.wait(vec![JobId(99), JobId(99)], LogIndex(0));
    let endings = vec![Ending::Unknown; 2];
    let applied = world.alone.applied();
    assert_eq!(reply, Some(Reply::Awaited { endings, applied }));
}

#[test]
fn too_many_are_refused_and_those_that_wait_lose_nothing() {
    let mut world = World::new();
    let (after, jobs) = world.submit((0..1_000).map(|file| item(&file.to_string(), 1)).collect());
    for count in [0, AWAIT_JOBS_MAX as usize + 1] {
        let reply = world.wait(vec![jobs[0]; count], after);
        assert!(matches!(reply, Some(Reply::Invalid { .. })), "{reply:?}");
    }
    for _ in 0..AWAITED_JOBS_MAX / 1_000 {
        assert_eq!(world.wait(jobs.clone(), after), None);
    }
    let reason = Refusal::WaitingRequests;
    let reply = world.wait(vec![jobs[0]], after);
    assert!(matches!(reply, Some(Reply::Refused { reason: found, .. }) if found == reason));
    world.alone.answers.clear();
    world
        .alone
        .pass(world.alone.driver.view().0.config().knobs.worker_poll_ms);
    let answered = world.alone.answers.iter().filter(|it| is_awaited(&it.1));
    assert_eq!(answered.count() as u64, AWAITED_JOBS_MAX / 1_000);
    let held = world.held();
    assert!(held.by_job.is_empty() && held.unseen.is_empty() && held.jobs == 0);
}
