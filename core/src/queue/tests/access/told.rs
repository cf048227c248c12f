//! What the audit tells of access and of claims.

use super::*;

#[test]
fn the_audit_says_who_may_do_what_and_what_was_denied() {
    let mut world = closed();
    let mut text = |by: &str, command| {
        let entry = Entry {
            principal: who(by),
            ..entry(7, command)
        };
        world.enter(entry).audit.text
    };
    let capped = Grant {
        class: Class::Background,
        ..grant(Role::Agent, within("a"))
    };
    let put = |grants| Command::PutRoles {
        principal: who("agent"),
        grants,
    };
    assert_eq!(
        text(
            "admin",
            put(vec![capped, grant(Role::Viewer, Area::At(address("b")))])
        ),
        "let agent be agent within ucxl://p/a up to background, viewer at ucxl://p/b: \
         it had 1 grants"
    );
    assert_eq!(
        text("admin", put(vec![])),
        "let agent do nothing any more: it had 2 grants"
    );
    assert_eq!(
        text("guest", Command::OpenSession),
        "open a session: rejected: denied: this needs the role agent; the principal has \
         none; ask an admin for a grant"
    );
    let tally = |count| Tally {
        count,
        first: Stamp(3),
        last: Stamp(6),
    };
    let denied = vec![Denied {
        principal: who("guest"),
        reason: DenialReason::Role(Role::Agent),
        tally: tally(4),
    }];
    let others = Some(tally(1_000_000));
    assert_eq!(
        text("cluster", Command::NoteDenials { denied, others }),
        "denied: guest, not agent, 4 times from 3ms to 6ms; others 1000000 times from 3ms to 6ms"
    );
}

#[test]
fn an_entry_tells_of_so_many_denials_at_the_most() {
    let mut world = closed();
    let denied = Denied {
        principal: who("guest"),
        reason: DenialReason::Class,
        tally: Tally::once(Stamp(0)),
    };
    let denied = vec![denied; DENIALS_NAMED_MAX as usize + 1];
    let outcome = world.by_cluster(Command::NoteDenials {
        denied,
        others: None,
    });
    assert!(matches!(
        outcome,
        Outcome::Rejected(Rejection::OutOfRange { .. })
    ));
}

#[test]
fn a_weighed_claim_does_what_a_claim_does_and_the_audit_says_who_lost() {
    let mut world = closed();
    let jobs = ["a", "b", "c"].map(|name| world.submit_for("agent", spec(name, 1)));
    let load = |share, last_claim| Load { share, last_claim };
    let contender = |id, load| {
        let worker = WorkerId(id);
        Some(Contender { worker, load })
    };
    let claims = [
        (ClaimRule::LeastLoaded, load(125, 4), 6),
        (ClaimRule::LeastRecentlyUsed, load(250, 4), 3),
        (ClaimRule::OnlyFit, load(375, 4), 1),
    ];
    let claims = claims
        .into_iter()
        .zip(jobs)
        .map(|((rule, load_of, fit), job)| {
            let worker = WorkerId(1);
            let claim = Claim { job, worker, rule };
            let second = contender(2, load(250, 5)).filter(|_| fit > 1);
            let third = contender(3, load(500, 2)).filter(|_| fit > 2);
            WeighedClaim {
                claim,
                load: load_of,
                fit,
                others: [second, third, None],
            }
        });
    let claims: Vec<WeighedClaim> = claims.collect();
    let entry = Entry {
        principal: Principal::cluster(),
        ..entry(0, Command::ClaimFrom { claims })
    };
    let applied = world.enter(entry);
    let index = world.index;
    let token = |position| {
        let index = LogIndex(index);
        Ok(Token { index, position })
    };
    assert_eq!(
        applied.outcome,
        Outcome::Claimed([0, 1, 2].map(token).to_vec())
    );
    assert_eq!(
        applied.audit.text,
        format!(
            "claim 3 jobs: j1 to w1 by token {index}.0, least loaded of 6 at 125, w2 250, w3 500 \
             and 3 more; j2 to w1 by token {index}.1, least recently used of 3 at 250 since \
             claim 4, w2 250 since claim 5, w3 500 since claim 2; j3 to w1 by token {index}.2, \
             the only one fit;"
        )
    );
}
