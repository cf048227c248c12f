//! What is told of a world: all of it, in order, and the world goes on as if nobody listened.

#![allow(clippy::unwrap_used)]

use precentor_sim::campaign::Scenes;
use precentor_sim::chronicle::{Chronicle, Lane, Lasting, Sort};
use precentor_sim::timeline::{Title, page};
use precentor_sim::trace::Trace;

fn told(seed: u64) -> (u64, Chronicle) {
    let ending = Scenes::Any.run(seed, None, Trace::chronicling());
    assert!(ending.failure.is_none());
    let hash = ending.trace.hash();
    (hash, ending.trace.into_chronicle().unwrap())
}

#[test]
fn a_world_is_the_same_whoever_listens() {
    for seed in 1..=6 {
        let quiet = Scenes::Any.run(seed, None, Trace::quiet());
        assert_eq!(told(seed).0, quiet.trace.hash(), "seed {seed}");
    }
}

#[test]
fn a_chronicle_is_in_order_and_speaks_of_everybody() {
    let (mut walls, mut lost, mut down) = (0, 0, 0);
    for seed in 1..=12 {
        let (_, chronicle) = told(seed);
        let ordered = chronicle.entries.is_sorted_by_key(|entry| entry.at_us)
            && chronicle.states.is_sorted_by_key(|state| state.at_us)
            && chronicle.arrows.is_sorted_by_key(|arrow| arrow.sent_us);
        assert!(ordered, "seed {seed}");
        let late = chronicle.arrows.iter().filter_map(|arrow| {
            let arrives_us = arrow.arrives_us?;
            (arrives_us < arrow.sent_us).then_some(arrives_us)
        });
        assert_eq!(late.count(), 0, "nothing arrives before it is sent");
        let of = |lane: Lane, sort: Sort| {
            let mut entries = chronicle.entries.iter();
            entries.any(|entry| entry.lane == lane && entry.sort == sort)
        };
        assert!(of(Lane::Node(0), Sort::Event) && of(Lane::Node(0), Sort::Action));
        assert!(of(Lane::Client(0), Sort::Asked), "seed {seed}");
        for band in &chronicle.bands {
            assert!(
                band.until_us
                    .is_none_or(|until_us| until_us >= band.from_us)
            );
        }
        let lasted = |what: Lasting| {
            chronicle
                .bands
                .iter()
                .filter(|band| band.what == what)
                .count()
        };
        walls += lasted(Lasting::Wall);
        down += lasted(Lasting::Down);
        let arrows = chronicle.arrows.iter();
        lost += arrows.filter(|arrow| arrow.arrives_us.is_none()).count();
        let open = chronicle
            .bands
            .iter()
            .filter(|band| band.until_us.is_none());
        assert!(
            open.clone().all(|band| band.what == Lasting::Down),
            "{open:?}"
        );
    }
    assert!(walls > 0 && lost > 0 && down > 0, "{walls} {lost} {down}");
}

#[test]
fn the_story_has_a_line_for_each_transition() {
    let (_, chronicle) = told(7);
    let story: Vec<String> = chronicle.story().collect();
    assert!(
        story.len() < chronicle.entries.len() / 20,
        "{}",
        story.len()
    );
    for words in [
        "n1        starts",
        "leader in t1, serving",
        "everything heals",
    ] {
        let mut lines = story.iter();
        assert!(
            lines.any(|line| line.contains(words)),
            "{words}: {story:#?}"
        );
    }
}

#[test]
fn a_page_needs_no_network() {
    let (_, chronicle) = told(7);
    let title = Title {
        title: "seed 7",
        command: "explain",
    };
    let page = page(&chronicle, &title);
    for foreign in [
        "http:", "https:", "src=", "<link", "@import", "fetch(", "import(",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("/*DATA*/"));
}
