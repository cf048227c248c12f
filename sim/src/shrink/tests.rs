use super::*;
use crate::check::Checker;

fn artefact() -> Artefact {
    let failure = Failure {
        checker: Checker::Tokens,
        text: "something".into(),
    };
    let mut artefact = Artefact::new(7, Scenario::of_seed(7), None, &failure);
    artefact.faults = Some(vec![Choice {
        domain: crate::tape::Domain::Crash,
        lane: 2,
        nth: 9,
    }]);
    artefact
}

#[test]
fn an_artefact_is_read_as_it_was_written() {
    for seed in 1..200 {
        let artefact = Artefact {
            seed,
            scenario: Scenario::of_seed(seed),
            ..artefact()
        };
        assert_eq!(Artefact::read(&artefact.text()), Ok(artefact));
    }
}

#[test]
fn an_artefact_of_before_a_knob_and_an_option_is_read_with_the_usual_ones() {
    let mut value = serde_json::to_value(artefact()).unwrap();
    let mut remove = |path: &str, field: &str| {
        let object = value.pointer_mut(path).unwrap().as_object_mut().unwrap();
        object.remove(field).unwrap();
    };
    remove("/scenario/knobs", "local_requests_max");
    remove("/scenario/clients", "local_ppm");
    let read = Artefact::read(&value.to_string()).unwrap();
    assert_eq!(read.scenario.clients.local_ppm, 0);
    assert_eq!(read.scenario.knobs.local_requests_max, 1_000);
}

#[test]
fn what_is_no_artefact_is_refused() {
    let refused = |text: &str| Artefact::read(text).unwrap_err();
    assert!(refused("{}").contains("no artefact"));
    let other = artefact().text().replace("\"format\": 1", "\"format\": 2");
    assert!(refused(&other).contains("format 2"));
}

#[test]
fn a_world_in_which_nothing_is_found_is_not_shrunk() {
    let refused = shrink(artefact(), None, 10).unwrap_err();
    assert!(refused.contains("finds nothing"), "{refused}");
}

#[test]
fn every_candidate_is_another_world_and_they_come_to_an_end() {
    for seed in 1..5 {
        let mut scenario = Scenario::of_seed(seed);
        for _ in 0..10_000 {
            // As if every simpler world failed too.
            let Some(simpler) = Candidates::default().next(&scenario) else {
                break;
            };
            assert_ne!(simpler, scenario);
            scenario = simpler;
        }
        assert_eq!(Candidates::default().next(&scenario), None, "{scenario:?}");
        assert_eq!(scenario.machines(), 1);
        assert_eq!(scenario.clients.count, 1);
        assert_eq!(scenario.network.drop_ppm, 0);
        assert_eq!(scenario.nemesis, crate::scenario::NemesisOptions::default());
    }
}
