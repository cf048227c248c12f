use super::*;

fn draws(tape: &mut Tape, domain: Domain, lane: u32, count: u64) -> Vec<u64> {
    (0..count).map(|_| tape.roll(domain, lane).bits()).collect()
}

#[test]
fn the_same_seed_writes_the_same_tape() {
    let (mut one, mut two, mut other) = (Tape::of_seed(7), Tape::of_seed(7), Tape::of_seed(8));
    let drawn = draws(&mut one, Domain::Delay, 3, 50);
    assert_eq!(drawn, draws(&mut two, Domain::Delay, 3, 50));
    assert_ne!(drawn, draws(&mut other, Domain::Delay, 3, 50));
}

#[test]
fn a_lane_does_not_hear_what_is_drawn_in_another() {
    let (mut quiet, mut busy) = (Tape::of_seed(1), Tape::of_seed(1));
    draws(&mut busy, Domain::Delay, 4, 100);
    draws(&mut busy, Domain::Sync, 3, 100);
    assert_eq!(
        draws(&mut quiet, Domain::Delay, 3, 20),
        draws(&mut busy, Domain::Delay, 3, 20)
    );
}

#[test]
fn taking_one_fault_away_leaves_all_others_as_they_were() {
    let run = |mut tape: Tape| {
        for nth in 0..200 {
            for lane in 0..4 {
                if let Some(mut roll) = tape.fault(Domain::Drop, lane, 100_000) {
                    // What a fault draws for itself must not move the next decision.
                    roll.bits();
                    if nth % 2 == 0 {
                        roll.bits();
                    }
                }
            }
        }
        tape.recorded().to_vec()
    };
    let all = run(Tape::of_seed(5));
    assert!(all.len() > 40, "{} faults of 800 at 10 %", all.len());
    let mut fewer = all.clone();
    fewer.remove(all.len() / 2);
    assert_eq!(run(Tape::replay(5, fewer.iter().copied())), fewer);
}

#[test]
fn a_calm_world_has_no_faults() {
    let mut tape = Tape::of_seed(2);
    tape.calm_down();
    assert!((0..100).all(|_| tape.fault(Domain::Crash, 0, 1_000_000).is_none()));
    assert_eq!(tape.counters().iter().sum::<u64>(), 0);
}

#[test]
fn faults_rest_for_a_while_and_come_back() {
    let mut tape = Tape::of_seed(2);
    tape.rest(true);
    assert!((0..100).all(|_| tape.fault(Domain::Crash, 0, 1_000_000).is_none()));
    tape.rest(false);
    assert!(tape.fault(Domain::Crash, 0, 1_000_000).is_some());
}

#[test]
fn rolls_stay_in_their_range_and_near_their_mean() {
    let mut roll = Roll::new(3);
    assert!((0..1_000).all(|_| (5..=9).contains(&roll.between(5, 9))));
    assert_eq!(roll.between(4, 4), 4);
    let sum: u64 = (0..10_000).map(|_| roll.exponential(1_000)).sum();
    assert!(
        (900..1_100).contains(&(sum / 10_000)),
        "mean {}",
        sum / 10_000
    );
    let hits = (0..100_000).filter(|_| roll.chance(20_000)).count();
    assert!((1_800..2_200).contains(&hits), "{hits} hits of 2,000");
}

#[test]
fn gaps_say_when_faults_happen_and_the_seed_what_they_are_like() {
    let happened = |gaps: &[u8]| {
        let mut tape = Tape::of_gaps(7, gaps);
        let faults = (0..600).map(|_| tape.fault(Domain::Drop, 0, 1).map(|mut roll| roll.bits()));
        let faults: Vec<_> = faults.collect();
        let when: Vec<usize> = (0..600).filter(|nth| faults[*nth].is_some()).collect();
        (when, faults.into_iter().flatten().collect::<Vec<_>>())
    };
    assert!(happened(&[]).0.is_empty());
    assert_eq!(happened(&[0, 0, 2]).0, [0, 1, 4]);
    assert_eq!(happened(&[255, 10, 255]).0, [265]);
    let (_, of_all) = happened(&[0; 600]);
    let (when, of_some) = happened(&[5, 8]);
    assert_eq!(
        of_some,
        when.iter().map(|nth| of_all[*nth]).collect::<Vec<_>>()
    );
    let mut never = Tape::of_gaps(7, &[0]);
    assert!(
        never.fault(Domain::Drop, 0, 0).is_none(),
        "what is off stays off"
    );
}
