//! Worlds with planted bugs are made small, always the same way, and what is left fails as
//! they did. With the feature `planted-bugs` only.
#![cfg(feature = "planted-bugs")]

use precentor_core::planted::Bug;
use precentor_sim::scenario::Scenario;
use precentor_sim::shrink::{Artefact, Shrunk, shrink};
use precentor_sim::stage::Stage;
use precentor_sim::tape::Tape;
use precentor_sim::trace::Trace;

/// The first world of a bug that fails, made smaller.
fn shrunk(bug: Bug) -> Shrunk {
    let planted = Some(bug);
    for seed in 1..=50 {
        let scenario = Scenario::of_seed(seed);
        let stage = Stage::new(scenario, Tape::of_seed(seed), planted, Trace::quiet());
        if let Some(failure) = stage.run().failure {
            let name = Some(format!("{bug:?}"));
            let artefact = Artefact::new(seed, scenario, name, &failure);
            return shrink(artefact, planted, 1_000_000).expect("it has just failed");
        }
    }
    panic!("no seed shows {bug:?}");
}

#[test]
fn what_is_left_is_small_and_fails_alike_from_its_file() {
    for bug in [
        Bug::VoteTwice,
        Bug::AnswerBeforeCommit,
        Bug::CompleteTwice,
        Bug::LocalQueueReversed,
    ] {
        let Shrunk {
            artefact,
            before,
            after,
            ..
        } = shrunk(bug);
        assert!(
            after.nodes <= 5 && after.nodes <= before.nodes,
            "{bug:?}: {after:?}"
        );
        assert!(
            after.faults <= 10 && after.faults <= before.faults,
            "{bug:?}: {after:?}"
        );
        assert!(
            after.events < before.events,
            "{bug:?}: {before:?} and {after:?}"
        );
        let read = Artefact::read(&artefact.text()).expect("it was just written");
        let failure = read.run(Some(bug), Trace::quiet()).failure;
        let failure = failure.expect("what is left fails");
        assert_eq!(format!("{:?}", failure.checker), artefact.checker);
        assert_eq!(failure.text, artefact.text);
        // It is the bug, and not the odd world.
        let healthy = read.run(None, Trace::quiet()).failure;
        assert_eq!(healthy, None, "{bug:?}");
    }
}

#[test]
fn a_world_is_always_made_smaller_the_same_way() {
    let [first, second] = [(); 2].map(|()| shrunk(Bug::VoteTwice));
    assert_eq!(first, second);
}
