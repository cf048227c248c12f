use precentor_core::job::Class;

use super::*;

fn address(name: &str) -> Address {
    Address::parse(&format!("ucxl://p/{name}")).unwrap()
}

fn accepted(name: &str, job: u64, admission: Admission) -> Accepted {
    Accepted {
        address: address(name),
        subject: Digest::of(name.as_bytes()),
        job: JobId(job),
        admission,
    }
}

fn done(from_cache: bool) -> JobState {
    JobState::Done {
        result: Digest::ZERO,
        from_cache,
    }
}

fn finished(number: u64, name: &str, job: u64, state: JobState) -> Finished {
    Finished {
        number: FinishNumber(number),
        job: JobId(job),
        address: address(name),
        subject: Digest::of(name.as_bytes()),
        state,
        attempts: 1,
    }
}

fn view(name: &str, job: u64, state: JobState) -> (JobId, Option<JobView>) {
    let view = JobView {
        job: JobId(job),
        address: address(name),
        subject: Digest::of(name.as_bytes()),
        class: Class::Normal,
        state,
        attempts: 1,
        failures: 0,
        crashes: 0,
        last_token: None,
        last_error: None,
        waiters: 1,
    };
    (JobId(job), Some(view))
}

#[test]
fn every_request_is_counted_once_by_how_it_ended() {
    let mut ledger = Ledger::default();
    ledger.accept(accepted("a", 1, Admission::Created));
    ledger.accept(accepted("b", 2, Admission::FromCache));
    ledger.accept(accepted("c", 3, Admission::Created));
    assert_eq!(ledger.open_count(), 2, "a cached one is over at once");
    let dead = JobState::Dead(DeadReason::Permanent {
        message: "no".into(),
    });
    ledger.finish(finished(1, "a", 1, done(false)));
    ledger.finish(finished(2, "c", 3, dead.clone()));
    assert_eq!(ledger.open_count(), 0);
    let state = [
        view("a", 1, done(false)),
        view("b", 2, done(true)),
        view("c", 3, dead),
    ]
    .into();
    let (totals, failures) = ledger.close(&state);
    let expected = Totals {
        requested: 3,
        generated: 1,
        from_cache: 1,
        failed: 1,
        lost: 0,
        duplicated: 0,
    };
    assert_eq!(totals, expected);
    assert_eq!(
        failures,
        [Failure {
            uri: "ucxl://p/c".into(),
            reason: "no".into()
        }]
    );
}

#[test]
fn an_accepted_request_without_an_end_is_lost() {
    let mut ledger = Ledger::default();
    ledger.accept(accepted("a", 1, Admission::Created));
    ledger.accept(accepted("b", 2, Admission::Created));
    ledger.accept(accepted("c", 3, Admission::Created));
    ledger.finish(finished(1, "c", 3, done(false)));
    // One is unknown, one still waits; of the third the state knows another place.
    let state = [
        (JobId(1), None),
        view("b", 2, JobState::Ready),
        view("x", 3, done(false)),
    ]
    .into();
    assert_eq!(ledger.close(&state).0.lost, 3);
}

#[test]
fn a_second_effect_is_a_duplicate_and_a_repeated_page_is_not() {
    let mut ledger = Ledger::default();
    ledger.accept(accepted("a", 1, Admission::Created));
    ledger.finish(finished(1, "a", 1, done(false)));
    ledger.finish(finished(1, "a", 1, done(false)));
    let state = BTreeMap::from([view("a", 1, done(false))]);
    assert_eq!(
        ledger.close(&state).0.duplicated,
        0,
        "the same number told twice"
    );
    ledger.finish(finished(2, "a", 9, done(false)));
    assert_eq!(
        ledger.close(&state).0.duplicated,
        1,
        "two results for one input"
    );
    ledger.finish(finished(3, "a", 9, done(true)));
    assert_eq!(
        ledger.close(&state).0.duplicated,
        2,
        "a job that ended twice"
    );
}

#[test]
fn a_terminal_state_that_changed_is_a_duplicate() {
    let mut ledger = Ledger::default();
    ledger.accept(accepted("a", 1, Admission::Created));
    ledger.finish(finished(1, "a", 1, JobState::Cancelled));
    assert_eq!(
        ledger
            .close(&[view("a", 1, done(false))].into())
            .0
            .duplicated,
        1
    );
}

#[test]
fn a_job_that_ends_before_its_acceptance_is_told_is_not_open() {
    let mut ledger = Ledger::default();
    ledger.finish(finished(1, "a", 1, done(false)));
    ledger.accept(accepted("a", 1, Admission::Created));
    assert_eq!(ledger.open_count(), 0);
    assert_eq!(
        ledger.close(&[(JobId(1), None)].into()).0.generated,
        1,
        "purged, but the feed told"
    );
}

#[test]
fn what_ended_before_the_run_is_not_its_business() {
    let mut ledger = Ledger::after(FinishNumber(5));
    ledger.finish(finished(5, "a", 1, done(false)));
    ledger.accept(accepted("a", 1, Admission::Attached));
    assert_eq!(ledger.open_count(), 1);
}
