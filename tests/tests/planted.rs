//! Do the scripts notice? Every planted bug must make at least one of them
//! differ, or break an assertion of the core. With the feature `planted-bugs` only.
#![cfg(feature = "planted-bugs")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use precentor_core::planted::Bug;
use precentor_tests::project_root;
use precentor_tests::script::{Script, find};
use precentor_tests::world::World;

/// A change of the membership at a moment that no script has.
const MOMENT: &str = "needs a change of the membership beside another fault or change";

/// Bugs of which no script tells yet, and why that is: the simulator finds them.
const BEYOND: &[(Bug, &str)] = &[
    (
        Bug::CorruptTailTreatedAsTorn,
        "a script's disk keeps no bytes that could be damaged",
    ),
    (Bug::StaleIncarnationCounts, MOMENT),
    (Bug::LearnerCounted, MOMENT),
    (Bug::ConfigNotUndone, MOMENT),
    (Bug::JointOverUnion, MOMENT),
    (Bug::RemovedLeaderCounts, MOMENT),
    (Bug::SnapshotConfigAhead, MOMENT),
    (Bug::RemovedVoteCounts, MOMENT),
    (Bug::ChangeBeforeOwnCommit, MOMENT),
    (Bug::TwoChangesAtOnce, MOMENT),
];

#[test]
fn every_planted_bug_changes_a_script() {
    let paths = find(&project_root().join("tests/scripts")).expect("the scripts can be listed");
    let scripts: Vec<_> = paths
        .iter()
        .map(|path| fs::read_to_string(path).expect("a script is readable text"))
        .map(|text| Script::parse(&text).expect("a script is a script"))
        .collect();
    let unnoticed: Vec<_> = Bug::ALL
        .iter()
        .filter(|bug| !BEYOND.iter().any(|(beyond, _)| beyond == *bug))
        .filter(|bug| {
            !scripts.iter().any(|script| {
                let mut world = World::default();
                world.planted = Some(**bug);
                let run = catch_unwind(AssertUnwindSafe(|| script.run_in(world)));
                !matches!(run, Ok(Ok(outcome)) if outcome.difference.is_none())
            })
        })
        .collect();
    assert!(
        unnoticed.is_empty(),
        "no script tells of the rules that these break: {unnoticed:?}"
    );
}
