use super::*;
use crate::access::Grant;
use crate::ids::{FinishNumber, JobId, NodeId};
use crate::manager::alone::{Alone, propose};
use crate::request::{Answer, Consistency, Reply};

/// With an admin and an agent.
fn ruled() -> Alone {
    let mut alone = Alone::new();
    for (name, role) in [("admin", Role::Admin), ("agent", Role::Agent)] {
        let principal = Principal(name.into());
        let grants = vec![Grant::everywhere(role)];
        let reply = alone.propose("admin", Command::PutRoles { principal, grants });
        assert!(matches!(reply, Reply::Applied { .. }), "{reply:?}");
    }
    alone
}

fn note(denials: &mut Denials, ms: u64, who: &str) {
    let now = Time(ms * 1_000);
    let reason = DenialReason::Role(Role::Agent);
    denials.note(now, Stamp(ms), &Principal(who.into()), reason);
}

#[test]
fn a_million_denials_are_one_row_and_due_once() {
    let mut denials = Denials::default();
    for ms in 0..1_000_000 {
        note(&mut denials, ms, "mallory");
    }
    let every = Span::from_ms(10_000);
    assert_eq!(denials.due(every), Some(Time(10_000_000)));
    let Command::NoteDenials { denied, others } = denials.take() else {
        panic!("it tells of denials");
    };
    let tally = Tally {
        count: 1_000_000,
        first: Stamp(0),
        last: Stamp(999_999),
    };
    assert_eq!((denied.len(), denied[0].tally, others), (1, tally, None));
    assert_eq!(denials.due(every), None, "all is told");
}

#[test]
fn whoever_comes_under_many_names_fills_no_more_than_the_table() {
    let mut denials = Denials::default();
    for number in 0..1_000 {
        note(&mut denials, number, &format!("m{number}"));
    }
    note(&mut denials, 1_000, "m0");
    let Command::NoteDenials { denied, others } = denials.take() else {
        panic!("it tells of denials");
    };
    assert_eq!(denied.len() as u64, DENIALS_NAMED_MAX);
    let count: u64 = denied.iter().map(|denied| denied.tally.count).sum();
    assert_eq!(count, DENIALS_NAMED_MAX + 1, "m0 has a row");
    assert_eq!(
        others.map(|others| others.count),
        Some(1_000 - DENIALS_NAMED_MAX)
    );
}

fn cancel() -> Command {
    let jobs = vec![JobId(1)];
    Command::Cancel { jobs }
}

#[test]
fn a_denied_request_makes_no_entry_and_is_answered_at_once() {
    let mut alone = ruled();
    let before = alone.applied();
    let (needed, held) = (Role::Operator, vec![Role::Agent]);
    let denied = Reply::Denied(Denial::Role { needed, held });
    assert_eq!(alone.propose("agent", cancel()), denied);
    assert_eq!(alone.applied(), before);
    let opened = alone.propose("agent", Command::OpenSession);
    assert!(matches!(opened, Reply::Applied { .. }), "{opened:?}");
}

#[test]
fn ten_thousand_denials_cost_one_entry_in_an_interval() {
    let mut alone = ruled();
    let before = alone.applied();
    let count = 10_000;
    for _ in 0..count {
        alone.ask("agent", propose(cancel()));
    }
    assert_eq!(alone.applied(), before);
    alone.pass(alone.driver.view().0.config().knobs.denials_note_ms + 20);
    assert_eq!(alone.applied(), before.next());
    let record = alone.audit.last().expect("every entry has one");
    assert!(
        record
            .text
            .starts_with("denied: agent, not operator, 10000 times from"),
        "{}",
        record.text
    );
    alone.pass(60_000);
    assert_eq!(alone.applied(), before.next(), "there was nothing more");
}

#[test]
fn what_any_node_answers_needs_a_role_too() {
    let mut alone = ruled();
    let read = |query| Request::Read {
        query,
        consistency: Consistency::Stale,
    };
    let requests = [
        Request::Status,
        read(Query::Job(JobId(1))),
        read(Query::Pauses),
        Request::FinishedAfter {
            after: FinishNumber(0),
            count_max: 1,
        },
        read(Query::Roles {
            after: None,
            count_max: 9,
        }),
        Request::HandOver { to: None },
        Request::RecoverUnsafely {
            survivors: vec![NodeId(1)],
        },
    ];
    for request in requests {
        let reply = alone.reply("guest", request.clone());
        assert!(matches!(reply, Reply::Denied(_)), "{request:?}: {reply:?}");
    }
    let reply = alone.reply("agent", read(Query::Job(JobId(1))));
    assert!(matches!(reply, Reply::Read { .. }), "{reply:?}");
    let page = read(Query::Roles {
        after: None,
        count_max: 1,
    });
    assert!(matches!(
        alone.reply("agent", page.clone()),
        Reply::Denied(_)
    ));
    let Reply::Read {
        answer: Answer::Roles { rights, next },
        ..
    } = alone.reply("admin", page)
    else {
        panic!("it is not a page of roles");
    };
    assert_eq!((rights.len(), next), (1, Some(Principal("admin".into()))));
}
