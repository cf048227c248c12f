//! Jobs that are given out together, and waiting for more of them.

use super::*;
use crate::feature::FeatureLevel;

/// Who is given what, and the first job of the run that it is in.
type Given = (u64, u64, Option<u64>);

impl Room {
    /// Workers run so many jobs together, and have slots for so many.
    fn batched(together: u32, slots: u32) -> Room {
        let mut room = Room::new();
        let to = FeatureLevel::JOBS_BATCHED;
        room.apply(Command::RaiseLevel { to });
        room.together = together;
        for worker in [1, 2] {
            room.register(worker, 1, slots, &["outline"]);
        }
        room
    }

    fn given(&mut self) -> Vec<Given> {
        let commands = self.propose();
        let given = commands.iter().flat_map(|command| {
            assert!(
                matches!(command, Command::ClaimTogether { .. }),
                "{command:?}"
            );
            let claims = command.claims().enumerate();
            claims.map(|(position, claim)| {
                let first = command.first_of_run(position);
                (claim.job.0, claim.worker.0, first.map(|job| job.0))
            })
        });
        let given = given.collect();
        for command in commands {
            self.apply(command);
        }
        given
    }

    fn ms_to_deadline(&self) -> u64 {
        let deadline = self.coordinator.deadline().unwrap();
        deadline.since(self.now).as_ms()
    }
}

#[test]
fn what_a_worker_runs_together_is_handed_over_together() {
    let mut room = Room::batched(3, 8);
    room.submit("outline", 0..4);
    assert_eq!(room.poll(1, 8, &[]), []);
    let given = room.given();
    assert_eq!(
        given,
        [(1, 1, None), (2, 1, Some(1)), (3, 1, Some(1)), (4, 1, None)]
    );
    let answers = room.answers();
    let assignments = &answers[0].1.assignments;
    let together: Vec<_> = assignments.iter().map(|job| job.together).collect();
    let batch = Some(assignments[0].token);
    assert_eq!(together, [batch, batch, batch, None]);
}

#[test]
fn whoever_would_take_more_than_is_ready_waits_for_it_a_little() {
    let mut room = Room::batched(4, 8);
    room.poll(1, 8, &[]);
    room.submit("outline", 0..2);
    assert_eq!(room.given(), [], "it would take four");
    assert_eq!(room.ms_to_deadline(), 20);
    room.wait_ms(15);
    room.submit("outline", 2..3);
    assert_eq!(room.given(), []);
    assert_eq!(room.ms_to_deadline(), 5, "it does not begin anew");
    room.wait_ms(5);
    let given = room.given();
    assert_eq!(given, [(1, 1, None), (2, 1, Some(1)), (3, 1, Some(1))]);
}

#[test]
fn whoever_asks_anew_meanwhile_does_not_wait_any_longer() {
    let mut room = Room::batched(4, 8);
    room.poll(1, 8, &[]);
    room.submit("outline", 0..1);
    assert_eq!(room.given(), []);
    room.wait_ms(15);
    assert_eq!(room.poll(1, 8, &[]).len(), 1, "the older one is answered");
    assert_eq!(room.given(), []);
    room.wait_ms(5);
    assert_eq!(room.given(), [(1, 1, None)]);
}

#[test]
fn as_many_as_it_takes_are_given_at_once() {
    let mut room = Room::batched(4, 8);
    room.poll(1, 8, &[]);
    room.submit("outline", 0..3);
    assert_eq!(room.given(), []);
    room.submit("outline", 3..4);
    assert_eq!(room.given().len(), 4);
    // And one that has room for no more than are ready.
    room.poll(2, 2, &[]);
    room.submit("outline", 4..6);
    assert_eq!(room.given().len(), 2);
}

#[test]
fn nobody_waits_for_the_sake_of_another_one() {
    let mut room = Room::batched(4, 8);
    room.poll(1, 8, &[]);
    room.together = 1;
    room.poll(2, 8, &[]);
    room.submit("outline", 0..1);
    assert_eq!(room.given(), [(1, 2, None)], "2 runs one by one");
}

#[test]
fn who_has_waited_takes_what_comes_until_nothing_is_ready() {
    let mut room = Room::batched(4, 8);
    room.poll(1, 8, &[]);
    // What it does not offer makes it wait too, once.
    room.submit("summary", 0..1);
    assert_eq!(room.given(), []);
    room.wait_ms(20);
    assert_eq!(room.given(), []);
    assert!(room.ms_to_deadline() > 20, "it does not wait any more");
    room.submit("outline", 1..2);
    assert_eq!(room.given(), [(2, 1, None)]);
}

#[test]
fn a_job_that_was_spared_is_given_alone() {
    let mut room = Room::batched(4, 4);
    room.poll(1, 4, &[]);
    room.submit("outline", 0..4);
    assert_eq!(room.given().len(), 4);
    let answers = room.answers();
    let first = &answers[0].1.assignments[0];
    let (job, token) = (first.job, first.token);
    let outcome = room.apply(Command::FailTogether {
        job,
        token,
        class: FailureClass::Retryable,
        message: "all of it".into(),
        retry_after_ms: None,
    });
    assert!(matches!(outcome, Outcome::FailedTogether { jobs: 4, .. }));
    room.wait_ms(1_300);
    room.apply(Command::Tick);
    room.poll(1, 4, &[]);
    room.poll(2, 4, &[]);
    let given = room.given();
    assert_eq!(given.len(), 4);
    assert!(
        given.iter().all(|(_, _, first)| first.is_none()),
        "{given:?}"
    );
}

#[test]
fn below_the_level_nobody_waits_and_nothing_is_together() {
    let mut room = Room::new();
    room.together = 4;
    room.register(1, 1, 8, &["outline"]);
    room.poll(1, 8, &[]);
    room.submit("outline", 0..2);
    assert_eq!(room.claims().len(), 2);
}

#[test]
fn spared_jobs_are_given_alone_as_many_as_there_are_slots() {
    let mut room = Room::batched(4, 4);
    room.submit("outline", 0..2);
    room.poll(1, 4, &[]);
    room.wait_ms(20);
    assert_eq!(room.given(), []);
    room.wait_ms(20);
    assert_eq!(room.given().len(), 2);
    room.register(1, 2, 4, &["outline"]);
    room.poll_as(1, 2, 4, &[]);
    assert_eq!(room.given(), []);
    room.wait_ms(20);
    assert_eq!(room.given(), [(1, 1, None), (2, 1, None)]);
}
