//! A small campaign reaches every state in which a change of the membership or
//! a lost disk could do harm.

use precentor_sim::campaign::{Plan, Scenes, run};
use precentor_sim::marks::Mark;
use precentor_sim::scenario::{MACHINES_MAX, Scenario};
use precentor_sim::tape::Domain;

const SEEDS: u64 = 400;

#[test]
fn a_campaign_reaches_every_state_of_a_changing_membership() {
    let summary = run(Plan {
        scenes: Scenes::Any,
        from: 1,
        seeds: SEEDS,
        time_max: None,
        threads: 2,
        planted: None,
        stop_at_first: false,
    });
    assert!(summary.troubles.is_empty(), "{:?}", summary.troubles);
    let marks = [
        Mark::JointElection,
        Mark::MembershipUndone,
        Mark::RemovedLeaderLeft,
        Mark::LearnerPromoted,
        Mark::ReplacedAfterLoss,
        Mark::LearnerInstalled,
        Mark::OldDiskIgnored,
        Mark::ChangeRepeated,
        Mark::ChangeCancelled,
        Mark::ChangeRefused,
        Mark::MemberAgain,
        Mark::PromotedUnasked,
        Mark::ReplacedUnasked,
    ];
    for mark in marks {
        let count = summary.marks[mark as usize];
        assert!(count > 0, "{} in {SEEDS} seeds", mark.name());
    }
    let faults = [
        Domain::ChangeOrder,
        Domain::ChangeCancelled,
        Domain::ChangesAtOnce,
        Domain::DiskLost,
    ];
    for fault in faults {
        let count = summary.faults[fault as usize];
        assert!(count > 0, "{} in {SEEDS} seeds", fault.name());
    }
}

#[test]
fn an_operator_moves_nothing_that_a_seed_draws_else() {
    let mut operators = 0;
    for seed in 1..=300 {
        let (settled, mut drawn) = (Scenario::settled(seed), Scenario::of_seed(seed));
        operators += u32::from(drawn.operator.is_some());
        assert!(drawn.machines() <= MACHINES_MAX);
        if drawn.disaster.take().is_some() {
            drawn.disk.records = settled.disk.records;
            drawn.disk.rot_ppm = settled.disk.rot_ppm;
        }
        if drawn.operator.take().is_some() {
            drawn.slow_disk = settled.slow_disk;
        }
        // Where somebody else gives orders nobody is ruled.
        drawn.clients.roles_ppm = settled.clients.roles_ppm;
        drawn.disk.install_us_max = settled.disk.install_us_max;
        drawn.knobs.promotion_lag_entries_max = settled.knobs.promotion_lag_entries_max;
        drawn.knobs.voters_target = settled.knobs.voters_target;
        drawn.knobs.voter_silence_ms = settled.knobs.voter_silence_ms;
        assert_eq!(drawn, settled, "seed {seed}");
    }
    assert!(operators > 60, "{operators} of 300");
}
