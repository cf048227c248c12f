//! Terms, time, the audit chain, the feed, the image and the hash.

use super::super::{DecodeError, digest_of_record};
use super::*;
use crate::feature::FeatureLevel;

#[test]
fn an_entry_older_than_the_last_takeover_has_no_effect() {
    let mut world = World::new();
    let takeover = Command::TakeOver {
        term: Term(5),
        node: NodeId(2),
    };
    let applied = world.queue.apply(LogIndex(10), Term(5), entry(0, takeover));
    assert_eq!(applied.outcome, Outcome::TookOver);
    assert_eq!(world.queue.last_takeover_term(), Term(5));
    let submit = Command::Submit {
        items: vec![spec("a", 1)],
    };
    let applied = world.queue.apply(LogIndex(11), Term(4), entry(0, submit));
    assert_eq!(
        applied.outcome,
        Outcome::Rejected(Rejection::OldTerm {
            term: Term(4),
            current: Term(5)
        })
    );
    assert_eq!(world.queue.counts().live(), 0);
    let forged = Command::TakeOver {
        term: Term(9),
        node: NodeId(2),
    };
    world.queue.apply(LogIndex(12), Term(5), entry(0, forged));
    assert_eq!(world.queue.last_takeover_term(), Term(5), "another term's");
}

#[test]
fn cluster_time_never_goes_back() {
    let mut world = World::new();
    world.tick_to(100);
    world.tick_to(50);
    assert_eq!(world.queue.now(), Stamp(100));
}

#[test]
fn the_audit_chain_links_every_entry_and_shows_any_change() {
    let mut world = World::new();
    let before = world.queue.audit_head();
    let first = world
        .enter(entry(0, Command::Submit { items: Vec::new() }))
        .audit;
    assert_eq!(first.previous, before);
    assert!(first.text.contains("rejected"), "{}", first.text);
    world.submit_one(spec("a", 1));
    let claim = Command::Claim {
        claims: vec![Claim {
            job: JobId(1),
            worker: WorkerId(1),
            rule: ClaimRule::LeastLoaded,
        }],
    };
    let second = world.enter(entry(0, claim)).audit;
    assert!(
        second.text.contains("j1 to w1") && second.text.contains("least loaded"),
        "{}",
        second.text
    );
    assert_eq!(second.digest, digest_of_record(&second));
    assert_eq!(second.digest, world.queue.audit_head());
    let mut forged = second;
    forged.text.push('!');
    assert_ne!(forged.digest, digest_of_record(&forged));
}

#[test]
fn the_feed_of_finished_jobs_is_ordered_and_the_oldest_are_forgotten() {
    let mut world = World::under(Rules {
        jobs_finished_max: 2,
        ..rules()
    });
    for name in ["a", "b", "c"] {
        let job = world.submit_one(spec(name, 1));
        world.run(job);
    }
    let feed = world.queue.finished_after(FinishNumber(0), 10);
    let numbers: Vec<u64> = feed.iter().map(|job| job.number.0).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(world.queue.finished_after(FinishNumber(2), 10).len(), 1);
    assert_eq!(world.queue.finished_after(FinishNumber(0), 1).len(), 1);
    assert_eq!(world.queue.job(JobId(1)), None, "purged");
    let pages: Vec<_> = world.queue.contexts(Some(&address("a"))).collect();
    assert_eq!(pages.len(), 2, "contexts stay");
}

/// A world with something in every table.
pub(super) fn a_full_world() -> World {
    let mut world = World::new();
    world.apply(Command::OpenSession);
    let submit = Command::Submit {
        items: vec![
            spec("a", 1),
            needs(spec("b", 1), &["a"], Policy::Require),
            needs(spec("c", 1), &["b", "gap"], Policy::Optional),
        ],
    };
    world.ask(2, 1, 0, submit);
    let a = world.claim(JobId(1));
    world.submit_one(spec("a", 2));
    let d = world.submit_one(spec("d", 1));
    let token = world.claim(d);
    world.fail(d, token, FailureClass::Retryable);
    world.complete(JobId(1), a, "x");
    world.claim(JobId(2));
    world
}

#[test]
fn an_image_restores_the_state_with_its_hash() {
    let world = a_full_world();
    let image = world.queue.image();
    let restored = QueueManager::from_image(&image).unwrap();
    assert_eq!(restored.state_hash(), world.queue.state_hash());
    assert_eq!(restored.image(), image);
    assert_eq!(restored.next_timer(), world.queue.next_timer());
    assert_eq!(restored.counts(), world.queue.counts());
}

#[test]
fn parts_of_any_size_make_up_the_same_image() {
    let world = a_full_world();
    let image = world.queue.image();
    for budget in [0, 1, 40, 1_000, u64::MAX] {
        let mut queue = world.queue.clone();
        assert_eq!(queue.begin_image(), world.queue.state_hash());
        let mut bytes = Vec::new();
        while queue.is_imaging() {
            bytes.extend(queue.image_part(budget).bytes);
        }
        assert!(bytes == image, "with {budget} bytes a part");
    }
}

#[test]
fn a_copy_of_a_queue_goes_on_with_the_image_that_is_under_way() {
    let mut world = a_full_world();
    let image = world.queue.image();
    world.queue.begin_image();
    let mut bytes = world.queue.image_part(100).bytes;
    let mut copy = world.queue.clone();
    world.submit_one(spec("later", 1));
    while copy.is_imaging() {
        bytes.extend(copy.image_part(100).bytes);
    }
    assert!(bytes == image);
}

#[test]
fn an_image_that_is_given_up_leaves_nothing_behind() {
    let mut world = a_full_world();
    world.queue.begin_image();
    let part = world.queue.image_part(100);
    world.submit_one(spec("later", 1));
    world.queue.give_up_image();
    assert!(!part.last && !world.queue.is_imaging());
    let image = world.queue.image();
    world.queue.begin_image();
    let whole = world.queue.image_part(u64::MAX);
    assert!(whole.last && whole.bytes == image);
    assert_eq!(whole.kept_count, 0);
    world.queue.give_up_image();
}

#[test]
fn an_image_is_one_of_its_level_though_that_rises_meanwhile() {
    let mut world = a_full_world();
    let image = world.queue.image();
    world.queue.begin_image();
    let mut bytes = world.queue.image_part(100).bytes;
    let to = FeatureLevel::JOBS_CANCELLED;
    world.apply(Command::RaiseLevel { to });
    let submit = Command::Submit {
        items: vec![spec("later", 1)],
    };
    world.ask(2, 2, 0, submit);
    while world.queue.is_imaging() {
        bytes.extend(world.queue.image_part(100).bytes);
    }
    assert!(bytes == image, "an older program must be able to read it");
    let later = world.queue.image();
    let restored = QueueManager::from_image(&later).unwrap();
    assert_eq!(restored.waits.rows.len(), 1);
    assert_eq!(restored.image(), later);
}

#[test]
#[should_panic(expected = "one image is taken at a time")]
fn a_second_image_is_not_begun_while_one_is_under_way() {
    let mut queue = a_full_world().queue;
    queue.begin_image();
    queue.begin_image();
}

#[test]
fn a_damaged_image_is_refused_and_never_panics() {
    let image = a_full_world().queue.image();
    assert!(matches!(
        QueueManager::from_image(&[]),
        Err(DecodeError::Malformed { .. })
    ));
    let mut other = image.clone();
    other[0] = 9;
    assert_eq!(
        QueueManager::from_image(&other).unwrap_err(),
        DecodeError::Version { found: 9 }
    );
    for end in 0..image.len() {
        assert!(QueueManager::from_image(&image[..end]).is_err());
    }
    for at in 4..image.len() {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged[at] ^= 1 << bit;
            // A damaged hash finds itself, any other byte is found by the hash.
            assert!(
                QueueManager::from_image(&damaged).is_err(),
                "bit {bit} of byte {at}"
            );
        }
    }
}

#[test]
fn any_difference_in_an_entry_shows_in_the_state_hash() {
    let base = |change: &dyn Fn(&mut Entry)| {
        let mut world = World::new();
        let mut entry = entry(
            5,
            Command::Submit {
                items: vec![spec("a", 1)],
            },
        );
        change(&mut entry);
        world.enter(entry);
        world.queue.state_hash()
    };
    let item = |change: &dyn Fn(&mut JobSpec)| {
        base(&|entry| {
            if let Command::Submit { items } = &mut entry.command {
                change(&mut items[0]);
            }
        })
    };
    let same = base(&|_| {});
    assert_eq!(same, base(&|_| {}));
    for (what, hash) in [
        ("t", base(&|entry| entry.t = Stamp(6))),
        ("principal", base(&|entry| entry.principal.0 = "x".into())),
        ("address", item(&|item| item.address = address("b"))),
        ("subject", item(&|item| item.subject = subject(2))),
        ("kind", item(&|item| item.kind = ContextKind::Folder)),
        ("class", item(&|item| item.class = Class::Idle)),
        ("tenant", item(&|item| item.tenant = "other".into())),
        ("delay", item(&|item| item.delay_ms = 1)),
        ("engine", item(&|item| item.generator.engine = "e".into())),
        ("version", item(&|item| item.generator.version = 2)),
    ] {
        assert_ne!(hash, same, "{what} is not in the hash");
    }
    let mut strict = World::under(Rules {
        failures_max: 4,
        ..rules()
    });
    strict.enter(entry(
        5,
        Command::Submit {
            items: vec![spec("a", 1)],
        },
    ));
    assert_ne!(strict.queue.state_hash(), same, "the rules are in the hash");
}
