use super::*;

fn ms(ms: u64) -> Time {
    Time(ms * 1_000)
}

fn rhythm() -> Rhythm {
    Rhythm::new(Span::from_ms(1_000), Span::from_ms(15_000))
}

/// A worker that asks each second, up to `until`.
fn regular(until: u64) -> Attendance {
    let mut attendance = Attendance::new(ms(0));
    for at in (0..=until).step_by(1_000) {
        attendance.on_poll(ms(at), false, &rhythm());
    }
    attendance
}

#[test]
fn a_worker_that_misses_its_polls_is_suspect_and_healthy_again_when_it_asks() {
    let mut worker = regular(20_000);
    let verdict = |worker: &Attendance, at| worker.health(ms(at), false, &rhythm()).verdict;
    assert_eq!(verdict(&worker, 21_500), Verdict::Healthy);
    assert_eq!(verdict(&worker, 23_500), Verdict::Suspect);
    worker.on_poll(ms(23_600), false, &rhythm());
    assert_eq!(verdict(&worker, 23_600), Verdict::Healthy);
    assert_eq!(
        worker.health(ms(23_700), false, &rhythm()).heard_ms,
        Some(100)
    );
}

#[test]
fn a_question_that_waits_is_no_silence() {
    let mut worker = regular(5_000);
    let held = worker.health(ms(60_000), true, &rhythm());
    assert_eq!((held.verdict, held.suspicion), (Verdict::Healthy, None));
    worker.on_its_turn(ms(60_000));
    let answered = worker.health(ms(61_000), false, &rhythm());
    assert_eq!(answered.verdict, Verdict::Healthy);
}

#[test]
fn whose_deadline_passed_is_down_until_it_asks() {
    let mut worker = regular(5_000);
    worker.on_lapsed();
    let at = |worker: &Attendance, at| worker.health(ms(at), false, &rhythm()).verdict;
    assert_eq!(at(&worker, 5_001), Verdict::Down);
    worker.on_its_turn(ms(6_000));
    assert_eq!(at(&worker, 6_001), Verdict::Down);
    worker.on_poll(ms(90_000), false, &rhythm());
    assert_eq!(at(&worker, 90_001), Verdict::Healthy);
    assert_eq!(at(&worker, 94_000), Verdict::Suspect, "no gap of its life");
}

#[test]
fn a_worker_that_never_asked_this_leader_is_given_time() {
    let worker = Attendance::new(ms(500));
    let health = worker.health(ms(1_500), false, &rhythm());
    assert_eq!((health.verdict, health.heard_ms), (Verdict::Healthy, None));
    let health = worker.health(ms(4_000), false, &rhythm());
    assert_eq!(health.verdict, Verdict::Suspect);
}
