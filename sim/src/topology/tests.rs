use super::*;

const FIVE: usize = 5;

/// Who sees whom both ways, by place.
fn neighbours(cuts: &[(Place, Place)], count: usize) -> Vec<usize> {
    let sees = |a, b| !cuts.contains(&(a, b)) && !cuts.contains(&(b, a));
    (0..count)
        .map(|a| (0..count).filter(|&b| b != a && sees(a, b)).count())
        .collect()
}

fn degrees(shape: Shape, leader: Option<Place>, seed: u64) -> Vec<usize> {
    let cuts = shape.cuts(FIVE, leader, &mut Roll::new(seed));
    let mut unique = cuts.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), cuts.len(), "{shape:?} cuts a link twice");
    let mut degrees = neighbours(&cuts, FIVE);
    degrees.sort_unstable();
    degrees
}

#[test]
fn each_shape_has_its_degrees() {
    for seed in 0..50 {
        assert_eq!(degrees(Shape::Star, None, seed), [1, 1, 1, 1, 4]);
        assert_eq!(degrees(Shape::Chain, None, seed), [1, 1, 2, 2, 2]);
        assert_eq!(degrees(Shape::Ring, None, seed), [2, 2, 2, 2, 2]);
        assert_eq!(degrees(Shape::Bridge, None, seed), [2, 2, 2, 2, 4]);
        assert_eq!(degrees(Shape::OneLink, None, seed), [3, 3, 4, 4, 4]);
        assert_eq!(degrees(Shape::Leader, Some(2), seed), [0, 3, 3, 3, 3]);
        assert_eq!(degrees(Shape::OneWay, Some(2), seed), [0, 3, 3, 3, 3]);
    }
}

#[test]
fn a_partition_in_halves_leaves_a_majority_together() {
    for seed in 0..50 {
        let cuts = Shape::Halves.cuts(FIVE, None, &mut Roll::new(seed));
        let most = neighbours(&cuts, FIVE).into_iter().max();
        assert!(most >= Some(2), "seed {seed}: {cuts:?}");
    }
}

#[test]
fn a_leader_that_becomes_a_leaf_sees_the_hub_only() {
    for seed in 0..50 {
        for leader in 0..FIVE {
            let cuts = Shape::LeaderLeaf.cuts(FIVE, Some(leader), &mut Roll::new(seed));
            let seen = neighbours(&cuts, FIVE);
            assert_eq!(seen[leader], 1, "seed {seed}: {cuts:?}");
            assert_eq!(seen.iter().filter(|&&n| n == 4).count(), 1);
        }
    }
}

#[test]
fn a_leader_loses_exactly_one_direction() {
    for seed in 0..50 {
        let cuts = Shape::LeaderOneWay.cuts(FIVE, Some(3), &mut Roll::new(seed));
        let out = cuts.iter().filter(|(from, _)| *from == 3).count();
        let inward = cuts.iter().filter(|(_, to)| *to == 3).count();
        assert!(
            [(4, 0), (0, 4)].contains(&(out, inward)),
            "seed {seed}: {cuts:?}"
        );
    }
}

#[test]
fn scattered_cuts_break_single_directions() {
    let uneven = (0..50).filter(|&seed| {
        let cuts = Shape::Scattered.cuts(FIVE, None, &mut Roll::new(seed));
        cuts.iter().any(|&(from, to)| !cuts.contains(&(to, from)))
    });
    assert!(uneven.count() > 40);
}

#[test]
fn a_centre_lives_and_reaches_a_majority_both_ways() {
    let star = |a: Place, b: Place| a == 0 || b == 0;
    assert_eq!(centres(&[true; FIVE], star), [0]);
    // Two leaves are down: the hub and two others are a majority still.
    assert_eq!(centres(&[true, true, true, false, false], star), [0]);
    assert_eq!(
        centres(&[true, true, false, false, false], star),
        [0_usize; 0]
    );
    assert_eq!(
        centres(&[false, true, true, true, true], star),
        [0_usize; 0]
    );
    let chain = |a: Place, b: Place| a.abs_diff(b) == 1;
    assert_eq!(centres(&[true; FIVE], chain), [1, 2, 3]);
    // 0 hears nobody: one direction does not count.
    let deaf = |_: Place, to: Place| to != 0;
    assert_eq!(centres(&[true; FIVE], deaf), [1, 2, 3, 4]);
}

#[test]
fn shapes_of_three_nodes_cut_no_more_than_there_is() {
    for shape in Shape::ALL {
        for seed in 0..20 {
            let cuts = shape.cuts(3, Some(1), &mut Roll::new(seed));
            assert!(cuts.iter().all(|&(a, b)| a != b && a < 3 && b < 3));
        }
    }
}

#[test]
fn a_slow_disk_asks_for_no_bound_that_no_election_can_keep() {
    let mut scenario = Scenario::reference();
    assert!(Bound::of(&scenario).binding);
    scenario.slow_disk = Some((0, 1_000));
    assert!(!Bound::of(&scenario).binding);
}

#[test]
fn every_row_has_a_name_of_its_own() {
    for row in Row::all() {
        assert_eq!(Row::of_name(row.name()), Ok(row));
    }
    assert!(Row::of_name("torus").is_err_and(|message| message.contains("star")));
}

#[test]
fn patient_nodes_move_the_bound_no_further_than_the_knobs_allow() {
    let bound = Bound::of(&Scenario::reference());
    let after = |ms: u64| bound.with_patience_us(ms * 1_000).timeout_us;
    assert_eq!(after(1), bound.timeout_us, "it never shrinks");
    assert_eq!(after(700), 700_000);
    assert_eq!(after(30_000), bound.timeout_us_max);
    assert!(bound.timeout_us_max < 30_000_000);
}
