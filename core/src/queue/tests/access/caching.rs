//! What the commands about the cache need.

use super::*;
use crate::command::{CacheMode, Eviction};
use crate::job::Reach;

fn invalidate(reach: Reach) -> Command {
    Command::Invalidate { reach }
}

fn generator_reach() -> Reach {
    Reach::Generator {
        engine: "outline".into(),
        version: None,
    }
}

fn asking(item: JobSpec, mode: CacheMode) -> Command {
    let items = vec![item];
    Command::Ask { items, mode }
}

#[test]
fn each_command_about_the_cache_needs_its_role() {
    let mut world = closed();
    let budget = Command::PutBudget { bytes_max: Some(9) };
    let needs = [
        (Role::Agent, asking(spec("a", 1), CacheMode::CachedOnly)),
        (Role::Agent, asking(spec("a", 1), CacheMode::Refresh)),
        (Role::Operator, invalidate(Reach::Address(address("a")))),
        (Role::Operator, invalidate(Reach::Prefix(address("a")))),
        (Role::Operator, invalidate(generator_reach())),
        (Role::Operator, budget),
    ];
    for (needed, command) in needs {
        for role in Role::ALL {
            let who = who(&role.to_string());
            let denial = world.queue.command_denial(&who, &command);
            let held = vec![role];
            let expected = (!role.carries(needed)).then_some(Denial::Role { needed, held });
            assert_eq!(denial, expected, "{role} and {command:?}");
        }
        let held = vec![];
        let denial = world.denied("guest", command);
        assert_eq!(denial, Denial::Role { needed, held });
    }
    let evictions = vec![Eviction {
        address: address("a"),
        job: JobId(1),
    }];
    let evict = Command::Evict { evictions };
    assert_eq!(world.denied("admin", evict), Denial::LeaderOnly);
}

#[test]
fn whoever_asks_with_a_mode_may_ask_for_no_more_than_who_submits() {
    let mut world = closed();
    let agent = Grant {
        class: Class::Normal,
        ..grant(Role::Agent, within("a"))
    };
    world.put("admin", "agent", vec![agent]);
    let mode = CacheMode::CachedOnly;
    let place = Denial::Place {
        needed: Role::Agent,
        item: Some(0),
        address: address("b"),
    };
    let outside = asking(spec("b", 1), mode);
    assert_eq!(world.denied("agent", outside), place);
    let urgent = JobSpec {
        class: Class::Urgent,
        ..spec("a/x", 1)
    };
    let denied = world.denied("agent", asking(urgent, mode));
    assert_eq!(denied.reason(), DenialReason::Class);
    let fine = world.by("agent", asking(spec("a/x", 1), mode));
    assert!(matches!(fine, Outcome::Asked(_)), "{fine:?}");
}

#[test]
fn an_operator_of_a_part_invalidates_no_more_than_that() {
    let mut world = closed();
    let grants = vec![
        grant(Role::Operator, within("a")),
        grant(Role::Operator, Area::At(address("b"))),
    ];
    world.put("admin", "operator", grants);
    let needed = Role::Operator;
    let place = |name| Denial::Place {
        needed,
        item: None,
        address: address(name),
    };
    let mut fine = |reach| {
        let outcome = world.by("operator", invalidate(reach));
        assert!(
            matches!(outcome, Outcome::Invalidated { .. }),
            "{outcome:?}"
        );
    };
    fine(Reach::Address(address("a/x")));
    fine(Reach::Prefix(address("a")));
    fine(Reach::Address(address("b")));
    let outside = invalidate(Reach::Address(address("b/x")));
    assert_eq!(world.denied("operator", outside), place("b/x"));
    let above = invalidate(Reach::Prefix("ucxl://p/".parse().unwrap()));
    assert_eq!(
        world.denied("operator", above).reason(),
        DenialReason::Place(needed)
    );
    // It has that place, and not what is inside.
    let inside = Denial::Inside {
        needed,
        address: address("b"),
    };
    let prefix = invalidate(Reach::Prefix(address("b")));
    assert_eq!(world.denied("operator", prefix), inside);
    let everywhere = Denial::Everywhere { needed };
    let engine = invalidate(generator_reach());
    assert_eq!(world.denied("operator", engine), everywhere);
    let budget = Command::PutBudget { bytes_max: None };
    assert_eq!(world.denied("operator", budget), everywhere);
}
