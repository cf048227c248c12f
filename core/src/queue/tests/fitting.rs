//! What engines need of workers, and what workers have.

use super::*;
use crate::feature::FeatureLevel;

fn fitted() -> World {
    let mut world = World::new();
    let to = FeatureLevel::WORKERS_FITTED;
    world.apply(Command::RaiseLevel { to });
    assert_eq!(world.apply(worker(1, 2, 8)), Outcome::Registered);
    world
}

fn tags(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn needs_of(names: &[&str], memory_mib: u64) -> Needs {
    Needs {
        tags: tags(names),
        memory_mib,
    }
}

impl World {
    fn need(&mut self, names: &[&str], memory_mib: u64) -> Outcome {
        self.apply(Command::PutNeeds {
            engine: "outline".into(),
            needs: needs_of(names, memory_mib),
        })
    }

    fn offer(&mut self, life: u64, names: &[&str], memory_mib: u64) -> Outcome {
        self.apply(Command::PutOffer {
            worker: WorkerId(1),
            incarnation: WorkerIncarnation(life),
            offer: Offer {
                tags: tags(names),
                memory_mib,
            },
        })
    }

    fn jobs(&mut self, count: u8) -> Vec<JobId> {
        let items = (0..count).map(|n| spec(&format!("f{n}"), 1)).collect();
        let jobs = self.submit(items);
        jobs.into_iter().map(|job| job.job).collect()
    }
}

#[test]
fn a_worker_without_a_tag_gets_no_job_of_an_engine_that_needs_it() {
    let mut world = fitted();
    let jobs = world.jobs(2);
    assert_eq!(
        world.need(&["gpu", "checkout"], 0),
        Outcome::NeedsPut(Needs::default())
    );
    let refused = Err(ClaimRefusal::LacksTag);
    assert_eq!(world.try_claim(jobs[0], 1), refused, "it has said nothing");
    world.offer(2, &["checkout"], 0);
    assert_eq!(world.try_claim(jobs[0], 1), refused, "it has one of two");
    world.offer(2, &["checkout", "big", "gpu"], 0);
    world.run(jobs[0]);
    // What nobody needs any more nobody must have.
    world.offer(2, &[], 0);
    assert_eq!(world.try_claim(jobs[1], 1), refused);
    assert_eq!(
        world.need(&[], 0),
        Outcome::NeedsPut(needs_of(&["gpu", "checkout"], 0))
    );
    world.run(jobs[1]);
    assert_eq!(world.queue.needs().count(), 0);
}

#[test]
fn jobs_never_need_more_memory_together_than_their_worker_has() {
    let mut world = fitted();
    let jobs = world.jobs(5);
    let free = world.claim(jobs[0]);
    world.need(&[], 300);
    world.offer(2, &[], 1_000);
    // What runs counts by what its engine needs now.
    let held: Vec<Token> = jobs[1..3].iter().map(|job| world.claim(*job)).collect();
    let refused = Err(ClaimRefusal::NoMemory);
    assert_eq!(world.try_claim(jobs[3], 1), refused);
    let view = world.queue.worker_view(WorkerId(1)).unwrap();
    assert_eq!((view.held, view.memory_used_mib), (3, 900));
    assert_eq!(world.complete(jobs[0], free, "x"), Outcome::Completed);
    world.claim(jobs[3]);
    assert_eq!(world.try_claim(jobs[4], 1), refused);
    // More is needed than there is: what runs goes on, and nothing is added.
    world.need(&[], 600);
    world.expire(jobs[1], held[0]);
    assert_eq!(world.try_claim(jobs[1], 1), refused);
    assert_eq!(world.complete(jobs[2], held[1], "x"), Outcome::Completed);
}

#[test]
fn a_new_life_has_nothing_until_it_says_so_and_an_old_one_says_nothing() {
    let mut world = fitted();
    let jobs = world.jobs(1);
    world.need(&["gpu"], 0);
    world.offer(2, &["gpu"], 7);
    world.apply(worker(1, 2, 8));
    assert!(
        world.queue.has_tags(WorkerId(1), "outline"),
        "the same life"
    );
    world.apply(worker(1, 3, 8));
    let refused = Err(ClaimRefusal::LacksTag);
    assert_eq!(world.try_claim(jobs[0], 1), refused);
    let worker = WorkerId(1);
    let old = Outcome::Rejected(Rejection::OldIncarnation { worker });
    assert_eq!(world.offer(2, &["gpu"], 7), old);
    let unknown = Outcome::Rejected(Rejection::UnknownWorker { worker });
    assert_eq!(world.offer(4, &["gpu"], 7), unknown);
    assert_eq!(
        world.offer(3, &["gpu"], 7),
        Outcome::OfferPut(Offer::default())
    );
    world.claim(jobs[0]);
    world.apply(Command::Expel { worker });
    assert_eq!(world.offer(3, &["gpu"], 7), unknown);
    assert_eq!(world.queue.worker_view(worker), None);
}

#[test]
fn whoever_asks_why_is_told_what_workers_lack() {
    let mut world = fitted();
    let jobs = world.jobs(1);
    world.need(&["gpu", "checkout"], 512);
    world.offer(2, &["checkout"], 100);
    let explanation = world.queue.explain(jobs[0]).unwrap();
    assert_eq!(
        explanation.holds[0].to_string(),
        "its engine needs gpu, checkout, 512 MiB; of 1 workers that offer it, 1 lack gpu, 1 have too little memory; it goes on when one comes that has all, or the engine needs less"
    );
    world.offer(2, &["checkout", "gpu"], 600);
    let explanation = world.queue.explain(jobs[0]).unwrap();
    assert!(
        matches!(explanation.holds[..], [Hold::Turn { workers: 1, .. }]),
        "{explanation}"
    );
    world.claim(jobs[0]);
    let next = world.submit_one(spec("next", 1));
    let explanation = world.queue.explain(next).unwrap();
    assert_eq!(
        explanation.holds[0].to_string(),
        "it needs 512 MiB, and no worker that is fit has more than 88 left; it goes on when a job ends or a worker comes"
    );
}

#[test]
fn what_is_no_offer_and_no_need_is_rejected_with_what_would_be_right() {
    let mut world = fitted();
    let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for names in [&many[..], &[""], &[&"x".repeat(300)]] {
        for outcome in [world.need(names, 0), world.offer(2, names, 0)] {
            assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
        }
    }
    let outcome = world.need(&[], u64::MAX);
    assert!(
        matches!(
            outcome,
            Outcome::Rejected(Rejection::OutOfRange {
                found: u64::MAX,
                ..
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(world.queue.needs().count(), 0);
}

#[test]
fn needs_and_offers_are_in_the_image() {
    let mut world = fitted();
    world.need(&["gpu"], 5);
    world.offer(2, &["gpu"], 7);
    let twin = QueueManager::from_image(&world.queue.image()).unwrap();
    assert_eq!(twin.state_hash(), world.queue.state_hash());
    assert!(twin.needs().eq(world.queue.needs()));
    let view = twin.worker_view(WorkerId(1));
    assert_eq!(view, world.queue.worker_view(WorkerId(1)));
}
