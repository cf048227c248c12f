use super::*;
use crate::config::Config;
use crate::event::Now;
use crate::ids::ClusterId;
use crate::log::{Log, LogStart};
use crate::marks::Marks;
use crate::membership::Membership;
use crate::outbox::Outbox;
use crate::random::Random;

const LEADER: NodeId = NodeId(2);

/// Runs `what` at a moment, with the default knobs.
fn at<R>(time_ms: u64, what: impl FnOnce(&mut Cx<'_>) -> R) -> R {
    let config = Config::new(ClusterId([7; 16]), NodeId(1), vec![NodeId(1)], 1);
    let membership = Membership::founding([NodeId(1)]);
    let mut log = Log::new(LogStart::founding(std::sync::Arc::new(membership)));
    what(&mut Cx {
        now: Now {
            time: Time(time_ms * 1_000),
            wall_ms: 0,
        },
        config: &config,
        random: &mut Random::new(time_ms),
        marks: &mut Marks::default(),
        log: &mut log,
        outbox: &mut Outbox::new(crate::ids::LogIndex(0), Default::default()),
    })
}

/// The bounds, in ms, after words at these times.
fn after(words_ms: impl IntoIterator<Item = u64>) -> (u64, u64) {
    let mut timing = Timing::default();
    for word in words_ms {
        at(word, |cx| timing.on_heard(Term(1), LEADER, cx));
    }
    let knobs = Knobs::default();
    (timing.base(&knobs).as_ms(), timing.longest(&knobs).as_ms())
}

#[test]
fn steady_heartbeats_leave_the_bounds_where_the_knobs_are() {
    assert_eq!(after([]), (150, 300));
    assert_eq!(after((0..100).map(|n| n * 30)), (150, 300));
    assert_eq!(after((0..100).map(|n| n * 75)), (150, 300), "up to half");
}

#[test]
fn late_words_lengthen_the_timeout_in_proportion_and_up_to_a_bound() {
    assert_eq!(after([0, 30, 230]), (400, 800));
    assert_eq!(after([0, 60_000]), (1_000, 2_000));
}

#[test]
fn a_late_word_is_forgotten_with_time_and_not_with_words() {
    let steady = |until: u64, every: usize| (230..230 + until).step_by(every);
    let early = |every| after([0, 30].into_iter().chain(steady(800, every)));
    // 200 ms less a sixteenth of what passed since, twice.
    assert!((298..=306).contains(&early(30).0), "{:?}", early(30));
    assert!((298..=306).contains(&early(1).0), "{:?}", early(1));
    let late = after([0, 30].into_iter().chain(steady(3_000, 30)));
    assert_eq!(late, (150, 300), "after 3 s");
}

#[test]
fn the_time_between_two_leaders_is_no_gap() {
    let mut timing = Timing::default();
    at(0, |cx| timing.on_heard(Term(1), LEADER, cx));
    at(900, |cx| timing.on_heard(Term(2), LEADER, cx));
    at(1_800, |cx| timing.on_heard(Term(2), NodeId(3), cx));
    assert_eq!(timing.base(&Knobs::default()), Span::from_ms(150));
}

#[test]
fn a_draw_stays_within_its_bounds() {
    let mut timing = Timing::default();
    at(0, |cx| timing.on_heard(Term(1), LEADER, cx));
    at(200, |cx| timing.on_heard(Term(1), LEADER, cx));
    let draws: Vec<u64> = (0..200)
        .map(|seed| at(seed, |cx| timing.draw(cx)).as_ms())
        .collect();
    assert!(draws.iter().all(|ms| (400..=800).contains(ms)), "{draws:?}");
    assert!(draws.iter().any(|ms| *ms < 450) && draws.iter().any(|ms| *ms > 750));
}

#[test]
fn a_leader_waits_as_long_as_a_follower_says_within_its_own_bounds() {
    let knobs = Knobs::default();
    let patience = |told| patience_for(Span::from_ms(told), &knobs).as_ms();
    assert_eq!(patience(0), 300, "never shorter than the knobs say");
    assert_eq!(patience(800), 800);
    assert_eq!(patience(u64::MAX / 2_000), 2_000, "nor for ever");
}
