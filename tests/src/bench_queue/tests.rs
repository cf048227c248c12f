use std::collections::BTreeSet;

use precentor_core::feature::FeatureLevel;

use super::measure::{Group, MEASURES, Measured, Plan, measure};
use super::report;

fn measured(level: FeatureLevel) -> Measured {
    let plan = Plan {
        jobs: vec![100, 1_500],
        passes: 2,
        chunks: 1,
        level,
        part_bytes: 64 * 1_024,
    };
    let peak = |work: &mut dyn FnMut()| {
        work();
        u64::MAX
    };
    measure(plan, peak).expect("the queue does what it is asked for")
}

#[test]
fn a_report_has_every_measure_for_every_number_of_jobs() {
    let measured = measured(FeatureLevel::LATEST);
    let report = report::as_json(&measured);
    let sizes = report["sizes"].as_array().expect("a list");
    assert_eq!(sizes.len(), 2);
    for size in sizes {
        for (_, group, name, _) in MEASURES {
            let figure = size[group.names().0][*name].as_f64();
            assert!(figure.is_some_and(|figure| figure > 0.0), "{name}: {size}");
        }
    }
    let table = report::as_table(&measured);
    let lines = 1 + Group::ALL.len() + MEASURES.len() + 1;
    assert_eq!(table.lines().count(), lines, "{table}");
}

#[test]
fn no_two_measures_of_a_group_have_one_name() {
    let names: BTreeSet<_> = MEASURES
        .iter()
        .map(|(_, group, name, _)| (group.names().0, name))
        .collect();
    assert_eq!(names.len(), MEASURES.len());
}

#[test]
fn what_an_older_level_does_not_know_is_left_out() {
    let report = report::as_json(&measured(FeatureLevel::FOUNDING));
    let apply = &report["sizes"][0]["apply_nanoseconds_per_job"];
    assert!(apply["submit_1"].is_number(), "{apply}");
    assert!(apply["leave_1"].is_null(), "{apply}");
    assert!(apply["redrive_512"].is_null(), "{apply}");
}
