//! The exhaustive search at a small depth, and what it is worth: it agrees with
//! real nodes step by step, and it finds planted bugs.

use precentor_tests::explore::{Bounds, Budget, End, PLANS, Plan, check_names, replay, search};

fn to(depth: u32) -> Bounds {
    Bounds {
        depth,
        ..Bounds::default()
    }
}

#[test]
fn no_order_of_a_few_steps_breaks_a_rule() {
    for plan in PLANS {
        let report = search(plan, &to(6), |_| {}).expect("the beginning breaks no rule");
        let found = report.finding;
        assert!(found.is_none(), "{}: {found:?}", plan.name);
        assert_eq!(
            report.end,
            End::Depth,
            "{} is searched to its depth",
            plan.name
        );
        let distinct = report.levels.last().map_or(0, |level| level.distinct);
        assert!(distinct > 100, "{}: only {distinct} worlds", plan.name);
    }
}

#[test]
fn real_nodes_do_what_the_tables_say() {
    for plan in PLANS {
        let compared = check_names(plan, 6, 60, 40);
        let compared = compared.unwrap_or_else(|error| panic!("{}: {error}", plan.name));
        assert!(compared > 1_000, "{}: only {compared} steps", plan.name);
    }
}

#[test]
fn a_loss_leads_nowhere_that_no_arrival_does_not() {
    let plan = Plan::named("contest").expect("there is such a plan");
    let lossy = Plan {
        budget: Budget {
            drops: 2,
            ..plan.budget
        },
        ..plan
    };
    let plain = search(&plan, &to(6), |_| {}).expect("the beginning breaks no rule");
    let lossy = search(&lossy, &to(6), |_| {}).expect("the beginning breaks no rule");
    assert!(lossy.distinct() > plain.distinct(), "wires differ");
    assert_eq!(lossy.nodes, plain.nodes, "no node is in any other state");
}

#[test]
fn a_search_counts_the_same_again() {
    let plan = Plan::named("replication").expect("there is such a plan");
    let count = || {
        let report = search(&plan, &to(5), |_| {}).expect("the beginning breaks no rule");
        (report.distinct(), report.transitions(), report.turns)
    };
    assert_eq!(count(), count());
}

#[test]
fn a_budget_of_nothing_is_exhausted() {
    let plan = Plan::named("replication").expect("there is such a plan");
    let still = Plan {
        budget: Budget {
            proposals: 1,
            ..Budget::default()
        },
        ..plan
    };
    let report = search(&still, &to(100), |_| {}).expect("the beginning breaks no rule");
    assert_eq!(report.end, End::Exhausted, "one proposal comes to an end");
    assert!(report.depth() > 5, "it took {} steps", report.depth());
}

#[test]
fn a_path_tells_its_story() {
    let plan = Plan::named("election").expect("there is such a plan");
    let story = replay(&plan, &[0], false).expect("there is a first choice");
    assert!(story[0].contains("start for the first time"), "{story:?}");
    assert!(
        story
            .iter()
            .any(|line| line.starts_with("  1. [0] n1's deadline comes")),
        "{story:?}"
    );
    let asks = "says n1->n2 pre-vote for t1?";
    assert!(story.iter().any(|line| line.contains(asks)), "{story:?}");
    let wrong = replay(&plan, &[99], false).expect_err("there are not so many choices");
    assert!(wrong.contains("choices 0 to"), "{wrong}");
}
