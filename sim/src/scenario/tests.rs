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

#[test]
fn a_crowd_is_as_large_as_it_says_and_all_tenants_ask() {
    for seed in 0..200 {
        let crowd = Scenario::crowd(seed);
        assert_eq!(crowd.knobs.check(), Ok(()), "seed {seed}");
        assert_eq!((crowd.nodes, crowd.workers.count), (5, 200));
        assert_eq!(crowd.clients.tenants, 50);
        assert!(crowd.clients.count as u64 >= crowd.clients.tenants);
    }
}
