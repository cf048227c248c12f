//! Which jobs are not over somewhere.

use super::*;

impl World {
    fn pages(&self, within: &str, count_max: u32) -> Vec<Vec<JobId>> {
        let within = address(within);
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let (jobs, next) = self.queue.jobs_within(&within, after.as_ref(), count_max);
            pages.push(jobs.iter().map(|job| job.job).collect());
            let Some(next) = next else { return pages };
            assert!(after.is_none_or(|after| after < next), "it goes on");
            after = Some(next);
        }
    }
}

#[test]
fn what_is_over_is_on_no_page_and_every_page_is_bounded() {
    let mut world = World::new();
    // They begin with the same letters, and come before what is inside.
    let beside = (0..4_999).map(|number| spec(&format!("a-{number:04}"), 1));
    let mut made = 0;
    for items in beside.collect::<Vec<_>>().chunks(1_000) {
        made += world.submit(items.to_vec()).len();
    }
    assert_eq!(made, 4_999);
    let (over, inside) = (
        world.submit_one(spec("a/x", 1)),
        world.submit_one(spec("a/y", 1)),
    );
    world.run(over);
    assert_eq!(
        world.pages("a", 9),
        [vec![], vec![inside]],
        "one page looks at so much and no more"
    );
    assert_eq!(world.pages("a/y", 9), [[inside]]);
    assert_eq!(world.pages("a/x", 9), [[]]);
    assert_eq!(world.pages("b", 9), [[]]);
    let all: Vec<JobId> = world.pages("", 256).concat();
    assert_eq!(all.len(), 5_000);
}

#[test]
fn an_address_is_on_one_page_with_all_its_jobs() {
    let mut world = World::new();
    let first = world.submit_one(spec("a", 1));
    world.claim(first);
    let parked = world.submit_one(spec("a", 2));
    let other = world.submit_one(spec("a/b", 1));
    assert_eq!(world.pages("a", 1), [vec![first, parked], vec![other]]);
    let (past, next) = world
        .queue
        .jobs_within(&address("a"), Some(&address("z")), 9);
    assert!(past.is_empty() && next.is_none());
    let before = Address::parse("ucxl://0/").unwrap();
    let (all, _) = world.queue.jobs_within(&address("a"), Some(&before), 9);
    assert_eq!(all.len(), 3, "it begins where it is asked for");
}
