//! Five nodes find a leader that serves, in every shape of the network in which
//! some node reaches a majority both ways. `precentor-sim topology` runs many
//! more seeds and prints the times.

use precentor_sim::campaign::Scenes;
use precentor_sim::check::Checker;
use precentor_sim::scenario::Scenario;
use precentor_sim::sightings::Sightings;
use precentor_sim::stage::Stage;
use precentor_sim::tape::{Domain, Tape};
use precentor_sim::topology::{Row, Shape, TIMEOUTS_MAX};
use precentor_sim::trace::Trace;

const SEEDS: u64 = 3;

#[test]
fn five_nodes_in_every_shape_have_a_serving_leader_in_time() {
    let mut sightings = Sightings::default();
    for row in Row::all() {
        for seed in 1..=SEEDS {
            let ending = Scenes::Topology(row).run(seed, None, Trace::quiet());
            if let Some(failure) = ending.failure {
                panic!(
                    "{failure}\ncargo run --release -p precentor-sim -- topology --shape {} --from {seed} --seeds 1",
                    row.name()
                );
            }
            let counters = ending.tape.counters();
            assert_eq!(counters[Domain::Topology as usize], 1, "{row:?}, {seed}");
            if let Row::Steady(shape) = row {
                assert!(counters[shape.domain() as usize] > 0, "{row:?}, {seed}");
            }
            sightings.add(ending.sighting.expect("a shape was put up"));
        }
        let tally = sightings.tally(row).expect("it was added");
        assert!(tally.bound > 0, "{row:?}: nothing was demanded: {tally:?}");
        assert_eq!(tally.never, 0, "{row:?}");
    }
    let worst = Row::all()
        .into_iter()
        .filter_map(|row| sightings.tally(row)?.time(1_000))
        .max();
    // The allowance for wires and disks is less than one more.
    assert!(
        worst < Some((TIMEOUTS_MAX + 1) * 1_000),
        "{}",
        sightings.text()
    );
}

/// Cores that wait a hundred times longer than the bound supposes have no
/// leader in time: the checker must see it.
#[test]
fn a_core_whose_timeouts_are_absurd_is_found_out() {
    let failed = (1..=5).any(|seed| {
        let mut scenario = Scenario::of_topology(Row::Steady(Shape::Star), seed);
        // The bound was drawn for the knobs as they were.
        scenario.knobs.election_timeout_ms_min = 20_000;
        scenario.knobs.election_timeout_ms_max = 30_000;
        let ending = Stage::new(scenario, Tape::of_seed(seed), None, Trace::quiet()).run();
        ending
            .failure
            .is_some_and(|failure| failure.checker == Checker::ServingLeader)
    });
    assert!(
        failed,
        "a leader was found before anyone stood for election"
    );
}
