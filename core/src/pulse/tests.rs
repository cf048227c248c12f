use proptest::prelude::*;

use super::*;

fn rhythm() -> Rhythm {
    Rhythm::new(Span::from_ms(30), Span::from_ms(1_000))
}

/// One who spoke `count` times, each `gap` after the last.
fn after(count: u32, gap: Span) -> Pulse {
    let mut pulse = Pulse::default();
    (0..count).for_each(|_| pulse.on_gap(gap, &rhythm()));
    pulse
}

#[test]
fn one_lost_word_of_a_regular_speaker_is_nothing_strange() {
    let pulse = after(50, Span::from_ms(30));
    let level = |ms| pulse.suspicion(Span::from_ms(ms), &rhythm());
    assert_eq!(level(0), Suspicion::NONE);
    assert!(level(61) < Suspicion::STRANGE, "{}", level(61));
    assert_eq!(level(90), Suspicion::STRANGE);
    assert_eq!(level(450), Suspicion::GONE);
    assert_eq!(level(45).to_string(), "0.500");
}

#[test]
fn of_whom_nothing_is_known_a_beat_is_expected() {
    let explained = Pulse::default().explained(&rhythm());
    assert_eq!(explained, Span::from_ms(90));
}

#[test]
fn many_words_in_a_beat_count_once() {
    let mut pulse = after(40, Span::from_ms(200));
    let patient = pulse.explained(&rhythm());
    // As many words as there are beats in a second, and no more time than one.
    (0..33).for_each(|_| pulse.on_gap(Span(900), &rhythm()));
    let busy = pulse.explained(&rhythm());
    assert!(busy >= Span(patient.0 * 7 / 8), "{patient:?} {busy:?}");
}

#[test]
fn who_says_much_may_fall_silent_for_a_beat() {
    let pulse = after(10_000, Span(500));
    let idle = pulse.suspicion(Span::from_ms(30), &rhythm());
    assert!(idle < Suspicion::STRANGE, "{idle}");
}

#[test]
fn what_cannot_be_expected_is_no_rhythm() {
    let never = Rhythm::new(Span::ZERO, Span::ZERO);
    let mut pulse = Pulse::default();
    pulse.on_gap(Span(u64::MAX), &never);
    pulse.on_gap(Span(u64::MAX), &never);
    assert!(pulse.suspicion(Span(u64::MAX), &never) > Suspicion::GONE);
}

proptest! {
    #[test]
    fn suspicion_grows_with_the_silence(
        gaps in prop::collection::vec(0..3_000_000_u64, 0..60),
        silence in 0..10_000_000_u64,
        longer in 0..10_000_000_u64,
    ) {
        let mut pulse = Pulse::default();
        gaps.iter().for_each(|gap| pulse.on_gap(Span(*gap), &rhythm()));
        let first = pulse.suspicion(Span(silence), &rhythm());
        let second = pulse.suspicion(Span(silence + longer), &rhythm());
        prop_assert!(first <= second);
        // Nobody is trusted for longer than the rhythm allows, whatever was before.
        let most = pulse.suspicion(Span::from_ms(1_000), &rhythm());
        prop_assert!(most >= Suspicion::STRANGE);
        let gone = pulse.suspicion(Span::from_ms(5_000), &rhythm());
        prop_assert!(gone >= Suspicion::GONE);
    }

    #[test]
    fn slower_beats_are_got_used_to(beat in 100..450_u64, jitter in 0..20_u64) {
        let mut pulse = after(50, Span::from_ms(30));
        let late = Span::from_ms(beat + jitter);
        let strange = pulse.suspicion(late, &rhythm());
        prop_assert!(strange >= Suspicion::STRANGE, "{}", strange);
        for n in 0..40 {
            pulse.on_gap(Span::from_ms(beat + jitter * (n % 2)), &rhythm());
        }
        let usual = pulse.suspicion(late, &rhythm());
        prop_assert!(usual < Suspicion::STRANGE, "{}", usual);
    }

    #[test]
    fn one_long_gap_is_forgotten(gap in 0..100_000_000_u64) {
        let mut pulse = after(50, Span::from_ms(30));
        pulse.on_gap(Span(gap), &rhythm());
        prop_assert!(pulse.explained(&rhythm()) <= Span::from_ms(1_000));
        (0..40).for_each(|_| pulse.on_gap(Span::from_ms(30), &rhythm()));
        let explained = pulse.explained(&rhythm());
        prop_assert!(explained <= Span::from_ms(100), "{:?}", explained);
    }
}
