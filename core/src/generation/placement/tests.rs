//! Who gets a job: the rules one by one.

use super::*;
use crate::digest::Digest;

fn chosen(placed: Option<Placed>) -> Option<(WorkerId, ClaimRule)> {
    placed.map(|placed| (placed.worker, placed.rule))
}

fn wanted(engine: &str, avoid: Option<WorkerId>) -> Wanted<'_> {
    Wanted {
        engine,
        project: "p",
        avoid,
        alike: None,
    }
}

fn offering(engines: &[String]) -> BTreeMap<&str, u64> {
    engines.iter().map(|engine| (engine.as_str(), 0)).collect()
}

fn candidate(engines: &[String], used: u64, last_claim: u64) -> Candidate<'_> {
    Candidate {
        engines: offering(engines),
        memory: (0, 0),
        credits: 2,
        used,
        slots: 4,
        together: 1,
        last_claim,
    }
}

#[test]
fn the_least_loaded_wins_then_the_least_recently_used_then_the_lowest_id() {
    let engines = ["outline".to_owned()];
    let mut placement = Placement::new(FeatureLevel::ACCESS_CHECKED);
    placement.add(WorkerId(1), candidate(&engines, 2, 0));
    placement.add(WorkerId(2), candidate(&engines, 1, 9));
    placement.add(WorkerId(3), candidate(&engines, 1, 8));
    let mut place = |claim| chosen(placement.place(wanted("outline", None), claim));
    assert_eq!(
        place(10),
        Some((WorkerId(3), ClaimRule::LeastRecentlyUsed)),
        "as loaded as 2, used longer ago"
    );
    assert_eq!(
        place(11),
        Some((WorkerId(2), ClaimRule::LeastLoaded)),
        "the only one with one job"
    );
    assert_eq!(
        place(12),
        Some((WorkerId(1), ClaimRule::LeastRecentlyUsed)),
        "all have two now"
    );
}

#[test]
fn credits_end_and_the_engine_is_no_longer_offered() {
    let engines = ["outline".to_owned(), "outline".to_owned()];
    let mut placement = Placement::new(FeatureLevel::ACCESS_CHECKED);
    placement.add(WorkerId(1), candidate(&engines, 0, 0));
    assert!(placement.offers("outline") && !placement.offers("summary"));
    for claim in [1, 2] {
        assert_eq!(
            chosen(placement.place(wanted("outline", None), claim)),
            Some((WorkerId(1), ClaimRule::OnlyFit))
        );
    }
    assert_eq!(placement.place(wanted("outline", None), 3), None);
    assert!(!placement.offers("outline") && placement.offered().is_empty());
}

#[test]
fn an_avoided_worker_is_not_chosen() {
    let engines = ["outline".to_owned()];
    let mut placement = Placement::new(FeatureLevel::ACCESS_CHECKED);
    placement.add(WorkerId(1), candidate(&engines, 0, 0));
    assert_eq!(
        placement.place(wanted("outline", Some(WorkerId(1))), 1),
        None
    );
    placement.add(WorkerId(2), candidate(&engines, 3, 0));
    let placed = placement.place(wanted("outline", Some(WorkerId(1))), 2);
    assert_eq!(chosen(placed), Some((WorkerId(2), ClaimRule::OnlyFit)));
}

#[test]
fn who_else_was_fit_is_counted_and_the_next_best_are_named() {
    let engines = ["outline".to_owned()];
    let other = ["summary".to_owned()];
    let mut placement = Placement::new(FeatureLevel::ACCESS_CHECKED);
    for (id, used) in [(1, 3), (2, 0), (3, 1), (4, 2), (5, 2), (6, 3)] {
        placement.add(WorkerId(id), candidate(&engines, used, id));
    }
    placement.add(WorkerId(7), candidate(&other, 0, 0));
    let placed = placement
        .place(wanted("outline", Some(WorkerId(3))), 9)
        .unwrap();
    assert_eq!(
        (placed.worker, placed.rule, placed.fit),
        (WorkerId(2), ClaimRule::LeastLoaded, 5),
        "3 is avoided, and 7 has another engine"
    );
    let named = |id, used: u64| {
        let (share, last_claim) = (used * 250, id);
        let load = Load { share, last_claim };
        let worker = WorkerId(id);
        Some(Contender { worker, load })
    };
    assert_eq!(placed.others, [named(4, 2), named(5, 2), named(1, 3)]);
    assert_eq!(placed.load.share, 0);
    // Nobody is counted who has no credit left.
    for claim in 10..21 {
        assert!(placement.place(wanted("outline", None), claim).is_some());
    }
    assert_eq!(placement.place(wanted("outline", None), 21), None);
    assert_eq!(placement.place(wanted("summary", None), 22).unwrap().fit, 1);
}

fn generator(version: u32) -> Generator {
    Generator {
        engine: "outline".into(),
        version,
        parameters: Digest::ZERO,
    }
}

fn alike(generator: &Generator) -> Wanted<'_> {
    Wanted {
        alike: Some(Alike {
            class: Class::Normal,
            tenant: "team",
            generator,
        }),
        ..wanted("outline", None)
    }
}

/// Worker and run of so many jobs of these kinds, one after the other.
fn runs<'a>(placement: &mut Placement<'a>, jobs: &[Wanted<'a>]) -> Vec<(u64, u32)> {
    let placed = jobs.iter().map_while(|job| placement.place(*job, 1));
    placed.map(|placed| (placed.worker.0, placed.run)).collect()
}

/// Two workers that have room for so many, and run so many together.
fn two(engines: &[String], slots: u64, together: u64) -> Placement<'_> {
    let mut placement = Placement::new(FeatureLevel::JOBS_BATCHED);
    for id in [1, 2] {
        let candidate = Candidate {
            engines: offering(engines),
            memory: (0, 0),
            credits: slots,
            used: 0,
            slots,
            together,
            last_claim: 0,
        };
        placement.add(WorkerId(id), candidate);
    }
    placement
}

#[test]
fn jobs_of_a_kind_go_to_one_worker_until_it_has_as_many_as_it_runs_together() {
    let engines = ["outline".to_owned()];
    let (one, other) = (generator(1), generator(2));
    let (one, other) = (alike(&one), alike(&other));
    let mut placement = two(&engines, 4, 3);
    let home = placement.home_for(one).unwrap().0;
    let away = 3 - home;
    let placed = runs(
        &mut placement,
        &[one, one, other, one, one, other, one, one, one],
    );
    let expected = [
        (home, 0),
        (home, 0),
        (away, 2),
        (home, 0),
        (away, 4),
        (away, 2),
        (away, 4),
        (home, 7),
    ];
    assert_eq!(placed, expected, "and the last one finds no slot");
}

#[test]
fn whoever_is_to_run_alone_joins_nobody_and_is_joined_by_nobody() {
    let engines = ["outline".to_owned()];
    let kind = generator(1);
    let (job, alone) = (alike(&kind), wanted("outline", None));
    let mut placement = two(&engines, 8, 8);
    let placed = runs(&mut placement, &[alone, job, alone, job]);
    let of_runs: Vec<u32> = placed.iter().map(|(_, run)| *run).collect();
    assert_eq!(of_runs, [0, 1, 2, 1]);
}

#[test]
fn no_run_goes_on_in_the_next_entry_and_none_is_too_long() {
    let engines = ["outline".to_owned()];
    let kind = generator(1);
    let mut placement = two(&engines, 64, 1_000);
    let placed = runs(&mut placement, &[alike(&kind); 128]);
    for (number, (_, run)) in (0u32..).zip(placed) {
        assert_eq!(run, number % 64 / 16 * 16);
    }
    let mut placement = two(&engines, 64, 5);
    let placed = runs(&mut placement, &[alike(&kind); 66]);
    let first = placed.iter().take(64).filter(|(_, run)| *run == 60);
    assert_eq!(first.count(), 4, "the entry ends");
    assert_eq!([placed[64].1, placed[65].1], [0, 0]);
}

#[test]
fn a_project_is_at_home_somewhere_until_that_worker_has_too_much() {
    let engines = ["outline".to_owned()];
    let mut placement = two(&engines, 4, 1);
    let job = wanted("outline", None);
    let home = placement.home_for(job).unwrap();
    let first = placement.place(job, 9).unwrap();
    assert_eq!((first.worker, first.rule), (home, ClaimRule::AtHome));
    let second = placement.place(job, 10).unwrap();
    assert_ne!(second.worker, home, "it has all that there is");
    assert_eq!(second.rule, ClaimRule::LeastLoaded);
    let third = placement.place(job, 11).unwrap();
    assert_eq!((third.worker, third.rule), (home, ClaimRule::AtHome));
    let avoid = Wanted {
        avoid: Some(home),
        ..job
    };
    assert_ne!(placement.place(avoid, 12).unwrap().worker, home);
}

#[test]
fn before_the_level_nobody_is_at_home_anywhere() {
    let engines = ["outline".to_owned()];
    let mut placement = two(&engines, 4, 1);
    placement.level = FeatureLevel::ACCESS_CHECKED;
    let placed = placement.place(wanted("outline", None), 9);
    assert_eq!(
        chosen(placed),
        Some((WorkerId(1), ClaimRule::LeastRecentlyUsed))
    );
}

#[test]
fn the_dominant_share_counts_and_whoever_lacks_memory_is_not_fit() {
    let engines = ["outline".to_owned(), "summary".to_owned()];
    let mut placement = Placement::new(FeatureLevel::ACCESS_CHECKED);
    let of_memory = |used, all| Candidate {
        engines: [("outline", 0), ("summary", 300)].into(),
        memory: (used, all),
        ..candidate(&engines, 1, 0)
    };
    // Of slots all have a quarter in use.
    for (id, used, all) in [(1, 600, 1_000), (2, 100, 500), (3, 0, 200)] {
        placement.add(WorkerId(id), of_memory(used, all));
    }
    let place = |placement: &mut Placement<'_>, engine| {
        let placed = placement.place(wanted(engine, None), 9)?;
        Some((placed.worker.0, placed.load.share, placed.fit))
    };
    assert_eq!(place(&mut placement, "summary"), Some((2, 250, 2)));
    assert_eq!(place(&mut placement, "summary"), Some((1, 600, 1)));
    assert_eq!(place(&mut placement, "summary"), None, "all lack memory");
    assert!(!placement.offers("summary") && placement.offers("outline"));
    assert_eq!(place(&mut placement, "outline"), Some((3, 250, 3)));
}
