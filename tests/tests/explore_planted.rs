//! Does the exhaustive search find what it is for? Every planted bug of
//! consensus, by the rule it breaks and by the promise that fails for it, each
//! at the least depth. With the feature `planted-bugs` only.
#![cfg(feature = "planted-bugs")]

use precentor_core::planted::Bug;
use precentor_tests::explore::{Bounds, Broken, Plan, Report, Rule, replay, search};

/// A bug, the plan that finds it, the steps it takes, and what breaks.
type Row = (Bug, &'static str, usize, Rule);

/// With every rule judged.
const BY_ANY_RULE: &[Row] = &[
    (Bug::VoteBeforeDurable, "election", 3, Rule::DurableFirst),
    (Bug::VoteTwice, "contest", 7, Rule::DurableFirst),
    (
        Bug::VoteForStaleLog,
        "late-vote",
        9,
        Rule::LeaderCompleteness,
    ),
    (Bug::AckBeforeDurable, "election", 10, Rule::DurableFirst),
    (Bug::QuorumOffByOne, "election", 8, Rule::HeldByMajority),
    (
        Bug::CommitOldTermByCounting,
        "figure-8",
        6,
        Rule::OwnTermOnly,
    ),
    (Bug::TruncateAgreeing, "stale-tail", 7, Rule::HeldByMajority),
    (
        Bug::LateCompletionCounts,
        "stale-tail",
        5,
        Rule::DurableFirst,
    ),
    (Bug::SkipLogCheck, "figure-8", 3, Rule::NoHalt),
    (
        Bug::AnswerBeforeCommit,
        "replication",
        1,
        Rule::CommittedBeforeAnswer,
    ),
];

/// With nothing judged but what the protocol promises: two leaders, a committed
/// entry that is lost or changed, a node that halts. `VoteBeforeDurable` takes
/// 14 steps and four million worlds to two leaders in one term: `explore --bug
/// VoteBeforeDurable --plan election --depth 14 --outcomes` in a release build.
const BY_OUTCOME: &[Row] = &[
    (Bug::VoteTwice, "contest", 10, Rule::ElectionSafety),
    (
        Bug::VoteForStaleLog,
        "late-vote",
        9,
        Rule::LeaderCompleteness,
    ),
    (
        Bug::AckBeforeDurable,
        "forgotten",
        13,
        Rule::LeaderCompleteness,
    ),
    (
        Bug::CommitOldTermByCounting,
        "figure-8",
        12,
        Rule::LeaderCompleteness,
    ),
    (Bug::TruncateAgreeing, "stale-tail", 9, Rule::NoHalt),
    (
        Bug::LateCompletionCounts,
        "stale-tail",
        7,
        Rule::CommittedNeverChanges,
    ),
    (Bug::SkipLogCheck, "figure-8", 3, Rule::NoHalt),
];

fn hunt(bug: Bug, plan: &str, depth: usize, outcomes_only: bool) -> (Plan, Result<Report, Broken>) {
    let plan = Plan {
        planted: Some(bug),
        ..Plan::named(plan).expect("there is such a plan")
    };
    let bounds = Bounds {
        depth: u32::try_from(depth).expect("paths are short"),
        outcomes_only,
        ..Bounds::default()
    };
    (plan, search(&plan, &bounds, |_| {}))
}

/// What is wrong with a row, if anything is.
fn judge(row: &Row, outcomes_only: bool) -> Option<String> {
    let (bug, name, depth, rule) = *row;
    let (plan, report) = hunt(bug, name, depth, outcomes_only);
    let found = match report {
        Err(broken) => return Some(format!("{bug:?}: {name} cannot begin: {broken}")),
        Ok(report) => report.finding,
    };
    let Some(found) = found else {
        return Some(format!("{bug:?}: not found by {name} in {depth} steps"));
    };
    if found.broken.rule != rule || found.path.len() != depth {
        let steps = found.path.len();
        return Some(format!(
            "{bug:?}: {name} found {} in {steps} steps",
            found.broken
        ));
    }
    match replay(&plan, &found.path, outcomes_only) {
        Ok(story) if story.last().is_some_and(|line| line.contains("BROKEN")) => None,
        told => Some(format!("{bug:?}: its path tells no story of it: {told:?}")),
    }
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_planted_bug_of_consensus_breaks_a_rule() {
    none(
        BY_ANY_RULE
            .iter()
            .filter_map(|row| judge(row, false))
            .collect(),
    );
}

#[test]
fn a_broken_rule_is_a_broken_promise() {
    none(
        BY_OUTCOME
            .iter()
            .filter_map(|row| judge(row, true))
            .collect(),
    );
}

#[test]
fn a_bug_too_bad_to_begin_with_is_found_on_the_way() {
    let (_, report) = hunt(Bug::QuorumOffByOne, "stale-tail", 1, true);
    let broken = report.expect_err("the script of the start loses a committed entry");
    assert_eq!(broken.rule, Rule::LeaderCompleteness, "{broken}");
}
