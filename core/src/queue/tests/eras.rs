//! What a restored cluster gives out.

use super::state::a_full_world;
use super::*;
use crate::feature::FeatureLevel;
use crate::queue::{ERA_NUMBERS, digest_of_record};

fn restored(world: &World) -> (World, AuditRecord) {
    let mut queue = QueueManager::from_image(&world.queue.image()).unwrap();
    let by = Principal::cluster();
    let record = queue.begin_era(Term(1), 5, &by, "restore".into()).unwrap();
    queue.check();
    let queue = QueueManager::from_image(&queue.image()).unwrap();
    let restored = World {
        queue,
        index: record.index.0,
        t: world.t,
        twin: None,
        guard: None,
    };
    (restored, record)
}

#[test]
fn what_was_there_keeps_its_names_and_what_comes_has_new_ones() {
    let mut old = a_full_world();
    let (mut new, record) = restored(&old);
    assert_eq!(record.index.0, old.index + ERA_NUMBERS);
    assert_eq!(record.previous, old.queue.audit_head());
    assert_eq!(record.digest, digest_of_record(&record));
    assert_eq!(new.queue.audit_head(), record.digest);
    assert_eq!(new.queue.level(), FeatureLevel::CLUSTERS_RESTORED);
    assert_eq!(new.queue.counts(), old.queue.counts());
    for id in 1..=old.queue.last_job().0 {
        let id = JobId(id);
        assert_eq!(new.queue.job(id), old.queue.job(id));
    }
    let contexts = |world: &World| world.queue.contexts(None).collect::<Vec<_>>();
    assert_eq!(contexts(&new), contexts(&old));

    // Both go on, each for itself.
    for world in [&mut old, &mut new] {
        world.submit_one(spec("e", 1));
        world.apply(Command::OpenSession);
    }
    let (was, is) = (old.queue.last_job(), new.queue.last_job());
    assert_eq!(is.0, was.0 + ERA_NUMBERS);
    let (old_token, new_token) = (old.claim(was), new.claim(is));
    assert!(new_token.index.0 > ERA_NUMBERS && old_token.index.0 < ERA_NUMBERS);
    // A lease of before is good at both: it was given when there was one cluster.
    let (job, held) = {
        let mut leases = old.queue.leases();
        let (_, token, job) = leases.find(|(_, _, job)| *job != was).unwrap();
        (job, token)
    };
    old.complete(job, held, "z");
    new.complete(job, held, "z");
    // One of after is good where it was given alone.
    let foreign = new.apply(Command::Complete {
        job: is,
        token: old_token,
        result: Digest::of(b"y"),
        body: b"y".to_vec().into(),
    });
    assert!(matches!(foreign, Outcome::Rejected(_)), "{foreign:?}");
    new.complete(is, new_token, "y");
    new.queue.check();
    // Whoever knows the old feed up to anywhere hears of all that ends here.
    let seen = old.queue.last_finish();
    let ended = new.queue.finished_after(seen, 10);
    assert_eq!(ended.len(), 2, "{ended:?}");
}

#[test]
fn a_restored_cluster_is_backed_up_and_restored_again() {
    let world = a_full_world();
    let (mut again, _) = restored(&restored(&world).0);
    let job = again.submit_one(spec("e", 1));
    assert_eq!(job.0 / ERA_NUMBERS, 2);
    again.run(job);
    again.queue.check();
}

#[test]
fn there_are_only_so_many_eras() {
    let mut queue = a_full_world().queue;
    let by = Principal::cluster();
    let mut eras = 0_u64;
    while queue.begin_era(Term(1), 5, &by, String::new()).is_some() {
        eras += 1;
    }
    assert!(eras > 1_000_000, "{eras}");
    let hash = queue.state_hash();
    assert_eq!(queue.begin_era(Term(1), 5, &by, String::new()), None);
    assert_eq!(queue.state_hash(), hash, "nothing was changed");
    queue.check();
}
