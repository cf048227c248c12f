//! Requests that come again.

use super::*;

#[test]
fn a_resent_request_has_one_effect_and_the_same_reply() {
    let mut world = World::new();
    let outcome = world.apply(Command::OpenSession);
    assert_eq!(outcome, Outcome::SessionOpened(SessionId(2)));
    let submit = Command::Submit {
        items: vec![spec("a", 1)],
    };
    let first = world.ask(2, 1, 0, submit.clone());
    let again = world.ask(2, 1, 0, submit.clone());
    assert_eq!(first, again);
    assert_eq!(world.queue.job(JobId(1)).unwrap().waiters, 1);
    let other = Command::Submit {
        items: vec![spec("a", 2)],
    };
    assert_eq!(
        world.ask(2, 1, 0, other.clone()),
        Outcome::Rejected(Rejection::IdempotencyMismatch {
            sequence: Sequence(1)
        })
    );
    world.ask(2, 3, 2, other);
    assert_eq!(
        world.ask(2, 1, 0, submit.clone()),
        Outcome::Rejected(Rejection::SequenceForgotten {
            sequence: Sequence(1)
        })
    );
    assert_eq!(
        world.ask(9, 1, 0, submit),
        Outcome::Rejected(Rejection::UnknownSession {
            session: SessionId(9)
        })
    );
}

#[test]
fn the_kept_reply_is_what_a_resend_comes_to_and_nothing_else_has_one() {
    let mut world = World::new();
    world.apply(Command::OpenSession);
    let submit = Command::Submit {
        items: vec![spec("a", 1)],
    };
    let other = Command::Submit {
        items: vec![spec("a", 2)],
    };
    let request = |session, sequence| RequestId {
        session: SessionId(session),
        sequence: Sequence(sequence),
    };
    assert_eq!(world.queue.kept_reply(request(2, 1), &submit), None);
    let first = world.ask(2, 1, 0, submit.clone());
    let kept = world.queue.kept_reply(request(2, 1), &submit);
    assert_eq!(kept, Some(first.clone()));
    assert_eq!(kept, Some(world.ask(2, 1, 0, submit.clone())));
    for (asked, command) in [
        (request(2, 1), &other),
        (request(2, 2), &submit),
        (request(9, 1), &submit),
    ] {
        assert_eq!(world.queue.kept_reply(asked, command), None, "{asked:?}");
    }
    world.ask(2, 2, 2, other);
    assert_eq!(world.queue.kept_reply(request(2, 1), &submit), None);
}

#[test]
fn a_refusal_is_a_reply_and_is_kept_like_one() {
    let mut world = World::new();
    world.apply(Command::OpenSession);
    let submit = Command::Submit {
        items: vec![needs(spec("b", 1), &["a"], Policy::Require)],
    };
    let first = world.ask(2, 1, 0, submit.clone());
    assert!(matches!(first, Outcome::Rejected(_)));
    world.submit_one(spec("a", 1));
    assert_eq!(world.ask(2, 1, 0, submit), first);
}

#[test]
fn a_session_has_a_bound_of_replies_and_a_time_to_live() {
    let mut world = World::new();
    world.apply(Command::OpenSession);
    for sequence in 1..=256 {
        world.ask(2, sequence, 0, Command::OpenSession);
    }
    assert!(matches!(
        world.ask(2, 257, 0, Command::Tick),
        Outcome::Rejected(Rejection::TooManyOutstanding { limit: 256 })
    ));
    assert!(matches!(
        world.ask(2, 257, 257, Command::Tick),
        Outcome::Ticked { .. }
    ));
    world.t = 1_000;
    world.ask(2, 258, 258, Command::Tick);
    world.tick_to(3_600_000);
    world.tick_to(3_600_999);
    let ask = |world: &mut World| {
        world.ask(
            2,
            259,
            0,
            Command::Release {
                job: JobId(1),
                token: Token {
                    index: LogIndex(1),
                    position: 0,
                },
            },
        )
    };
    assert!(
        matches!(
            ask(&mut world.fork()),
            Outcome::Rejected(Rejection::UnknownJob { .. })
        ),
        "it was used at 1000"
    );
    world.tick_to(3_601_000);
    assert!(matches!(
        ask(&mut world),
        Outcome::Rejected(Rejection::UnknownSession { .. })
    ));
}
