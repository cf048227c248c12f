use super::*;

#[test]
fn every_seed_draws_knobs_that_a_node_accepts() {
    for seed in 0..500 {
        let scenario = Scenario::of_seed(seed);
        assert_eq!(scenario.knobs.check(), Ok(()), "seed {seed}");
        assert_eq!(scenario, Scenario::of_seed(seed));
    }
}

#[test]
fn every_fault_is_on_in_some_seeds_and_off_in_others() {
    let drops = (0..200)
        .filter(|&s| Scenario::of_seed(s).network.drop_ppm > 0)
        .count();
    let crashes = (0..200)
        .filter(|&s| Scenario::of_seed(s).nemesis.crash_us > 0)
        .count();
    for count in [drops, crashes] {
        assert!((50..150).contains(&count), "{count} of 200");
    }
}
