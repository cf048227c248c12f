//! Version vectors: what the author of an edit had seen (Parker et al., 1983). Each
//! actor counts its own edits; a vector says up to which count of which actor somebody
//! has them. Knows no edit and no address. Orders what was written by people who could
//! not see each other, and nothing else: the log orders the queue.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::ActorId;

/// One edit: by its author and its number among the edits of that author.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Whose.
    pub actor: ActorId,
    /// Its number, from 1.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How one vector stands to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// Both have seen the same.
    Equal,
    /// The other has seen all that this one has, and more.
    Before,
    /// This one has seen all that the other has, and more.
    After,
    /// Each has seen what the other has not.
    Concurrent,
}

/// Up to which of its edits each actor's are seen; nothing of those not in it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionVector(BTreeMap<ActorId, u64>);

impl VersionVector {
    /// Nothing is seen.
    #[must_use]
    pub fn new() -> VersionVector {
        VersionVector::default()
    }

    /// Up to which of an actor's edits are seen.
    #[must_use]
    pub fn get(&self, actor: ActorId) -> u64 {
        self.0.get(&actor).copied().unwrap_or(0)
    }

    /// An edit is seen, and all before it of its actor.
    pub fn see(&mut self, dot: Dot) {
        if self.get(dot.actor) < dot.counter {
            self.0.insert(dot.actor, dot.counter);
        }
    }

    /// The next edit of an actor, which is seen from now on.
    pub fn advance(&mut self, actor: ActorId) -> Dot {
        let counter = self.get(actor).saturating_add(1);
        self.0.insert(actor, counter);
        Dot { actor, counter }
    }

    /// Is this edit seen?
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.actor) >= dot.counter
    }

    /// Is all seen here that is seen there?
    #[must_use]
    pub fn covers_all(&self, other: &VersionVector) -> bool {
        other.dots().all(|dot| self.covers(dot))
    }

    /// How this one stands to the other.
    #[must_use]
    pub fn relation(&self, other: &VersionVector) -> Relation {
        match (self.covers_all(other), other.covers_all(self)) {
            (true, true) => Relation::Equal,
            (false, true) => Relation::Before,
            (true, false) => Relation::After,
            (false, false) => Relation::Concurrent,
        }
    }

    /// All that is seen there is seen here, too.
    pub fn join(&mut self, other: &VersionVector) {
        for dot in other.dots() {
            self.see(dot);
        }
    }

    /// The last edit seen of each actor, by actor.
    pub fn dots(&self) -> impl Iterator<Item = Dot> {
        self.0.iter().map(|(actor, counter)| Dot {
            actor: *actor,
            counter: *counter,
        })
    }

    /// How many actors are in it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Is nothing seen?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Dot> for VersionVector {
    /// As given, counters of 0 too: whoever takes a vector in looks for them.
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> VersionVector {
        let pairs = dots.into_iter().map(|dot| (dot.actor, dot.counter));
        VersionVector(pairs.collect())
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (number, dot) in self.dots().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{dot}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector() -> impl Strategy<Value = VersionVector> {
        let dot = (0..4u64, 1..4u64).prop_map(|(actor, counter)| Dot {
            actor: ActorId(actor),
            counter,
        });
        prop::collection::vec(dot, 0..5).prop_map(|dots| {
            let mut vector = VersionVector::new();
            dots.into_iter().for_each(|dot| vector.see(dot));
            vector
        })
    }

    fn joined(one: &VersionVector, two: &VersionVector) -> VersionVector {
        let mut both = one.clone();
        both.join(two);
        both
    }

    proptest! {
        #[test]
        fn to_have_seen_at_least_as_much_is_a_partial_order(
            a in vector(), b in vector(), c in vector(),
        ) {
            prop_assert!(a.covers_all(&a), "reflexive");
            if a.covers_all(&b) && b.covers_all(&a) {
                prop_assert_eq!(&a, &b, "antisymmetric");
            }
            if a.covers_all(&b) && b.covers_all(&c) {
                prop_assert!(a.covers_all(&c), "transitive");
            }
        }

        #[test]
        fn a_relation_is_that_of_the_other_turned_round(a in vector(), b in vector()) {
            let turned = match b.relation(&a) {
                Relation::Before => Relation::After,
                Relation::After => Relation::Before,
                same @ (Relation::Equal | Relation::Concurrent) => same,
            };
            prop_assert_eq!(a.relation(&b), turned);
            prop_assert_eq!(a.relation(&b) == Relation::Equal, a == b);
        }

        #[test]
        fn a_join_is_the_least_that_has_seen_both(a in vector(), b in vector(), c in vector()) {
            let both = joined(&a, &b);
            prop_assert!(both.covers_all(&a) && both.covers_all(&b));
            prop_assert_eq!(&both, &joined(&b, &a), "commutative");
            prop_assert_eq!(joined(&both, &c), joined(&a, &joined(&b, &c)), "associative");
            prop_assert_eq!(joined(&a, &a), a.clone(), "idempotent");
            if c.covers_all(&a) && c.covers_all(&b) {
                prop_assert!(c.covers_all(&both), "least");
            }
        }

        #[test]
        fn an_edit_comes_after_all_that_its_author_has_seen(a in vector(), actor in 0..5u64) {
            let mut next = a.clone();
            let dot = next.advance(ActorId(actor));
            prop_assert_eq!(next.relation(&a), Relation::After);
            prop_assert!(next.covers(dot) && !a.covers(dot));
        }

        #[test]
        fn edits_of_two_who_have_not_seen_each_other_are_concurrent(
            a in vector(), one in 0..2u64, two in 2..4u64,
        ) {
            let (mut left, mut right) = (a.clone(), a);
            left.advance(ActorId(one));
            right.advance(ActorId(two));
            prop_assert_eq!(left.relation(&right), Relation::Concurrent);
        }
    }

    #[test]
    fn what_an_actor_is_not_in_says_nothing_of_it() {
        let seen = |pairs: &[(u64, u64)]| {
            let dots = pairs.iter().map(|(actor, counter)| Dot {
                actor: ActorId(*actor),
                counter: *counter,
            });
            dots.collect::<VersionVector>()
        };
        let zero = seen(&[(1, 2), (2, 0)]);
        assert_eq!(zero.relation(&seen(&[(1, 2)])), Relation::Equal);
        assert_eq!(zero.to_string(), "[a1:2 a2:0]");
        assert_eq!(VersionVector::new().to_string(), "[]");
    }
}
