//! The same seed gives the same run, twice in one build and in every build
//! whose hashes stand in `golden.txt`.

use std::fmt::Write;

use precentor_sim::campaign::{compare, run_seed};
use precentor_sim::trace::Trace;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden.txt");

#[test]
fn a_seed_run_twice_is_the_same_at_every_step() {
    for seed in 1..=5 {
        if let Err(difference) = compare(seed) {
            panic!("{difference:?}");
        }
    }
}

#[test]
fn other_seeds_give_other_runs() {
    let hash = |seed| run_seed(seed, None, Trace::quiet()).trace.hash();
    assert_ne!(hash(1), hash(2));
}

#[test]
fn runs_have_their_golden_hashes() {
    let text = std::fs::read_to_string(GOLDEN).expect("golden.txt is beside Cargo.toml");
    let hash = |seed| run_seed(seed, None, Trace::quiet()).trace.hash();
    if std::env::var_os("BLESS").is_some() {
        let mut blessed: String = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .fold(String::new(), |head, line| head + line + "\n");
        for seed in 1..=5 {
            writeln!(blessed, "{seed} {:016x}", hash(seed)).expect("a string takes all");
        }
        std::fs::write(GOLDEN, blessed).expect("golden.txt can be written");
        return;
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (seed, golden) = line.split_once(' ').expect("a line is a seed and a hash");
        let found = format!("{:016x}", hash(seed.parse().expect("a seed is a number")));
        assert_eq!(
            found, golden,
            "seed {seed}: cargo run -p precentor-sim -- run --seed {seed} --trace"
        );
    }
}
