use super::*;

const PEER: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);

fn thresholds() -> Thresholds {
    Thresholds {
        beat: Span::from_ms(30),
        timeout: Span::from_ms(150),
        stuck: Span::from_ms(600),
        stalls: 4,
        window: Span::from_ms(2_000),
        rhythm: Rhythm::new(Span::from_ms(30), Span::from_ms(1_000)),
    }
}

fn ms(ms: u64) -> Time {
    Time(ms * 1_000)
}

fn monitor() -> HealthMonitor {
    HealthMonitor::new(thresholds(), ms(0))
}

/// A leader that hears its peer each 30 ms, up to `until`.
fn leader_that_hears(until: u64) -> HealthMonitor {
    let mut health = monitor();
    health.on_owing(Owing::All, ms(0));
    health.on_connection(PEER, true, ms(0));
    for at in (0..=until).step_by(30) {
        health.on_turn(ms(at), ms(at));
        health.on_heard(PEER, ms(at));
    }
    health
}

#[test]
fn silence_makes_a_connected_peer_suspect_then_down_and_a_lost_one_down_at_once() {
    let mut health = leader_that_hears(900);
    assert_eq!(health.verdict(OTHER, ms(900)), Verdict::Down, "never met");
    let verdict_after =
        |health: &HealthMonitor, silence: u64| health.verdict(PEER, ms(900 + silence));
    assert_eq!(verdict_after(&health, 60), Verdict::Healthy);
    assert_eq!(verdict_after(&health, 100), Verdict::Suspect);
    assert_eq!(verdict_after(&health, 500), Verdict::Down);
    health.on_connection(PEER, false, ms(910));
    assert_eq!(verdict_after(&health, 11), Verdict::Down);
    health.on_heard(PEER, ms(920));
    assert_eq!(verdict_after(&health, 21), Verdict::Healthy, "it is back");
}

#[test]
fn who_owes_no_word_may_be_silent() {
    let mut health = leader_that_hears(900);
    health.on_connection(OTHER, true, ms(0));
    health.on_owing(Owing::One(PEER), ms(900));
    assert_eq!(health.verdict(OTHER, ms(900_000)), Verdict::Healthy);
    assert_eq!(health.suspicion(OTHER, ms(900_000)), None);
    assert_eq!(health.verdict(PEER, ms(900_000)), Verdict::Down);
    // Nor is what it did not owe a silence, once it does.
    health.on_owing(Owing::All, ms(900_000));
    assert_eq!(health.verdict(OTHER, ms(900_050)), Verdict::Healthy);
    assert_eq!(health.verdict(OTHER, ms(900_100)), Verdict::Suspect);
    health.on_owing(Owing::Nobody, ms(900_100));
    assert_eq!(health.verdict(PEER, ms(999_999)), Verdict::Healthy);
}

#[test]
fn who_speaks_less_often_is_believed_to_do_so() {
    let mut health = leader_that_hears(900);
    assert_eq!(health.verdict(PEER, ms(1_100)), Verdict::Suspect);
    for at in (1_100..6_000).step_by(200) {
        health.on_turn(ms(at), ms(at));
        health.on_heard(PEER, ms(at));
    }
    assert_eq!(health.verdict(PEER, ms(6_100)), Verdict::Healthy);
}

#[test]
fn what_passed_while_this_node_stood_still_is_nobodys_silence() {
    let mut health = leader_that_hears(900);
    health.on_turn(ms(9_000), ms(930));
    assert_eq!(health.verdict(PEER, ms(9_000)), Verdict::Healthy);
    let before = health.suspicion(PEER, ms(9_050));
    health.on_heard(PEER, ms(9_000));
    assert_eq!(health.suspicion(PEER, ms(9_050)), before, "no gap of its");
    assert_eq!(health.verdict(PEER, ms(9_100)), Verdict::Suspect);
}

#[test]
fn a_peer_that_says_that_it_is_not_well_is_slow_while_it_is_heard() {
    let mut health = leader_that_hears(900);
    health.on_told(PEER, Health::Slow);
    assert_eq!(health.verdict(PEER, ms(950)), Verdict::Slow);
    assert_eq!(health.verdict(PEER, ms(1_010)), Verdict::Suspect);
    health.on_heard(PEER, ms(1_020));
    health.on_told(PEER, Health::Well);
    assert_eq!(health.verdict(PEER, ms(1_030)), Verdict::Healthy);
    health.on_told(PEER, Health::Stuck);
    assert_eq!(health.peer(PEER, ms(1_030)).health, Some(Health::Stuck));
    health.on_connection(PEER, true, ms(1_031));
    assert_eq!(health.peer(PEER, ms(1_031)).health, None, "another process");
}

#[test]
fn the_figures_behind_a_verdict_on_this_node_are_shown() {
    let mut health = monitor();
    health.on_turn(ms(100), ms(60));
    (0..100).for_each(|n| health.on_written(ms(100 + n), ms(108 + n)));
    let own = health.own_status(ms(300), Some(ms(250)), false);
    let expected = OwnStatus {
        health: Health::Strained,
        write_latency_us: own.write_latency_us,
        write_waits_us: 50_000,
        late_turns: 1,
        late_turns_max: 4,
        window_ms: 2_000,
        backlogged: false,
    };
    assert_eq!(own, expected);
    assert!((7_000..=8_000).contains(&own.write_latency_us), "{own:?}");
}

#[test]
fn a_stall_is_what_passes_beyond_the_deadline() {
    let mut health = monitor();
    assert_eq!(health.on_turn(Time(50), Time(40)), Span(10));
    assert_eq!(health.on_turn(Time(60), Time(90)), Span::ZERO);
}

#[test]
fn a_disk_that_does_not_answer_is_worse_the_longer_it_lasts() {
    let health = monitor();
    let after = |at| health.own(ms(at), Some(ms(0)), false);
    assert_eq!(after(30).health, Health::Well);
    assert_eq!(after(31).health, Health::Strained);
    assert_eq!(after(151).health, Health::Slow);
    assert!(!after(600).gives_way && !after(600).stays_back);
    assert_eq!(after(601).health, Health::Stuck);
    assert!(after(601).gives_way && after(601).stays_back);
    assert_eq!(health.own(ms(601), None, false), Condition::default());
}

#[test]
fn one_slow_write_among_many_is_no_slow_disk() {
    let mut health = monitor();
    (0..100).for_each(|n| health.on_written(ms(n), ms(n + 1)));
    health.on_written(ms(100), ms(258));
    assert_eq!(health.own(ms(258), None, false).health, Health::Well);
    (0..20).for_each(|_| health.on_written(ms(58), ms(258)));
    assert_eq!(health.own(ms(258), None, false).health, Health::Slow);
    assert!(
        !health.own(ms(258), None, false).gives_way,
        "slow, not dead"
    );
}

#[test]
fn repeated_stalls_within_the_window_make_a_leader_give_way() {
    let mut health = monitor();
    for nth in 1..=3 {
        health.on_turn(ms(100 * nth), ms(100 * nth - 40));
    }
    assert_eq!(health.own(ms(300), None, false).health, Health::Strained);
    health.on_turn(ms(400), ms(360));
    let own = health.own(ms(400), None, false);
    assert_eq!(own.health, Health::Slow);
    assert!(own.gives_way && !own.stays_back);
    health.on_turn(ms(2_150), ms(2_150));
    assert_eq!(
        health.own(ms(2_150), None, false),
        Condition {
            health: Health::Strained,
            ..Condition::default()
        }
    );
    health.on_turn(ms(5_000), ms(5_000));
    assert_eq!(health.own(ms(5_000), None, false), Condition::default());
}

#[test]
fn a_disk_is_not_blamed_for_the_time_in_which_this_node_stood_still() {
    let mut health = monitor();
    health.on_turn(ms(10_000), ms(30));
    assert_eq!(
        health.own(ms(10_001), Some(ms(10)), false).health,
        Health::Well
    );
    assert_eq!(
        health.own(ms(10_700), Some(ms(10)), false).health,
        Health::Stuck
    );
}

#[test]
fn one_with_much_to_apply_stays_back_but_keeps_its_leadership() {
    let own = monitor().own(ms(0), None, true);
    assert_eq!(own.health, Health::Slow);
    assert!(own.stays_back && !own.gives_way);
}

#[test]
fn a_peer_that_is_silent_on_an_open_connection_is_not_reached() {
    let mut health = monitor();
    let patience = Span(100);
    let reached = |health: &HealthMonitor, at| health.reached(Time(at), patience).count();
    assert_eq!(reached(&health, 0), 0, "never connected");
    health.on_connection(PEER, true, Time(1_000));
    assert_eq!(reached(&health, 1_100), 1, "it may speak yet");
    assert_eq!(reached(&health, 1_101), 0, "it died and could not say so");
    health.on_heard(PEER, Time(1_150));
    assert_eq!(reached(&health, 1_200), 1);
    health.on_connection(PEER, false, Time(1_200));
    assert_eq!(reached(&health, 1_201), 0);
}
