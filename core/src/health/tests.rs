use super::*;

const PATIENCE: Span = Span::from_ms(100);
const PEER: NodeId = NodeId(2);
const THRESHOLDS: Thresholds = Thresholds {
    beat: Span::from_ms(30),
    timeout: Span::from_ms(150),
    stuck: Span::from_ms(600),
    stalls: 4,
    window: Span::from_ms(2_000),
};

fn ms(ms: u64) -> Time {
    Time(ms * 1_000)
}

fn monitor() -> HealthMonitor {
    HealthMonitor::new(THRESHOLDS, ms(0))
}

#[test]
fn silence_makes_a_connected_peer_suspect_and_a_lost_one_down() {
    let mut health = monitor();
    assert_eq!(health.verdict(PEER, ms(0), PATIENCE), Verdict::Down);
    health.on_connection(PEER, true, Time(0));
    health.on_heard(PEER, ms(0));
    assert_eq!(health.verdict(PEER, ms(100), PATIENCE), Verdict::Healthy);
    assert_eq!(
        health.verdict(PEER, Time(100_001), PATIENCE),
        Verdict::Suspect
    );
    health.on_connection(PEER, false, Time(0));
    assert_eq!(health.verdict(PEER, Time(100_001), PATIENCE), Verdict::Down);
}

#[test]
fn a_peer_that_says_that_it_is_not_well_is_slow_while_it_is_heard() {
    let mut health = monitor();
    health.on_connection(PEER, true, Time(0));
    health.on_heard(PEER, ms(0));
    health.on_told(PEER, Health::Slow);
    assert_eq!(health.verdict(PEER, ms(50), PATIENCE), Verdict::Slow);
    assert_eq!(health.verdict(PEER, ms(101), PATIENCE), Verdict::Suspect);
    health.on_heard(PEER, ms(110));
    health.on_told(PEER, Health::Well);
    assert_eq!(health.verdict(PEER, ms(120), PATIENCE), Verdict::Healthy);
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
