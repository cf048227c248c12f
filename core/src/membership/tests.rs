use super::*;

const A: Incarnation = Incarnation(10);
const B: Incarnation = Incarnation(11);

fn node(id: u64) -> NodeId {
    NodeId(id)
}

fn founding(count: u64) -> Membership {
    Membership::founding((1..=count).map(NodeId))
}

/// The index that a quorum has, of one index per node, from node 1 on.
fn reached(membership: &Membership, indexes: &[u64]) -> u64 {
    let of = |node: NodeId| LogIndex(indexes[node.0 as usize - 1]);
    membership.reached_by_quorum(of).0
}

/// Whether these nodes are a quorum.
fn quorum(membership: &Membership, having: &[u64]) -> bool {
    membership.has_quorum(|node| having.contains(&node.0))
}

#[test]
fn what_a_majority_has_is_committed() {
    assert_eq!(reached(&founding(1), &[7]), 7);
    assert_eq!(reached(&founding(2), &[7, 3]), 3, "of two both are needed");
    assert_eq!(reached(&founding(3), &[9, 3, 5]), 5);
    assert_eq!(reached(&founding(4), &[9, 9, 1, 2]), 2);
    assert_eq!(reached(&founding(5), &[1, 9, 2, 8, 3]), 3);
}

#[test]
fn the_committed_index_is_the_highest_that_a_quorum_has() {
    // All logs of up to five voters and five entries, against counting; plain
    // and while one goes.
    for voters in 1..=5u64 {
        let plain = founding(voters);
        let mut cases = vec![plain.clone()];
        if voters > 1 {
            cases.push(plain.after(Change::Remove { node: node(1) }).unwrap());
        }
        for membership in cases {
            for code in 0..5u64.pow(voters as u32) {
                let indexes: Vec<_> = (0..voters as u32).map(|v| code / 5u64.pow(v) % 5).collect();
                let has = |index: &u64| {
                    membership.has_quorum(|node| indexes[node.0 as usize - 1] >= *index)
                };
                let counted = (0..5).rev().find(has).unwrap_or(0);
                assert_eq!(
                    reached(&membership, &indexes),
                    counted,
                    "{membership} {indexes:?}"
                );
            }
        }
    }
}

#[test]
fn two_quorums_always_share_a_voter() {
    let joint = founding(4).after(Change::Remove { node: node(4) }).unwrap();
    let memberships = [
        founding(3),
        founding(4),
        joint.clone(),
        joint.with_joint_left(),
    ];
    for one in &memberships[1..] {
        for other in &memberships[1..] {
            let next_to_each_other = one.is_joint() || other.is_joint() || one == other;
            for code in 0..1u64 << 8 {
                let (these, those) = (code & 15, code >> 4);
                let members = |set: u64| {
                    (1..=4)
                        .filter(move |n| set >> (n - 1) & 1 == 1)
                        .collect::<Vec<u64>>()
                };
                let both = quorum(one, &members(these)) && quorum(other, &members(those));
                assert!(
                    !both || these & those != 0 || !next_to_each_other,
                    "{one} by {these:b} and {other} by {those:b}"
                );
            }
        }
    }
}

#[test]
fn a_joint_phase_needs_both_majorities_and_never_counts_their_union() {
    let with_learner = founding(3)
        .after(Change::Replace {
            old: node(3),
            new: node(4),
            incarnation: A,
        })
        .unwrap();
    assert!(!with_learner.is_joint());
    assert_eq!(with_learner.to_promote(), Some(node(4)));
    assert_eq!(
        reached(&with_learner, &[5, 4, 3, 9]),
        4,
        "a learner does not count"
    );
    let joint = with_learner.with_promotion_begun();
    assert!(joint.is_joint());
    assert_eq!(joint.to_string(), "n1 n2 n3- n4+");
    assert!(quorum(&joint, &[1, 2]));
    assert!(!quorum(&joint, &[1, 3]), "no majority of the new voters");
    assert!(!quorum(&joint, &[1, 4]), "no majority of the old voters");
    assert!(!quorum(&joint, &[3, 4]), "half of the union is none");
    assert!(quorum(&joint, &[1, 3, 4]));
    assert_eq!(reached(&joint, &[5, 1, 4, 3]), 3);
    let left = joint.with_joint_left();
    assert_eq!(left.to_string(), "n1 n2 n4");
    assert_eq!(left.get(node(4)).unwrap().incarnation, Some(A));
}

#[test]
fn a_lost_disk_stops_voting_at_once_and_votes_again_when_it_has_caught_up() {
    let known = founding(3).with_lives(|_| Some(A)).unwrap();
    assert_eq!(known.with_lives(|_| Some(B)), None, "a known life stays");
    let replace = |incarnation| Change::Replace {
        old: node(3),
        new: node(3),
        incarnation,
    };
    let same = ChangeError::SameIncarnation {
        node: node(3),
        incarnation: A,
    };
    assert_eq!(known.after(replace(A)), Err(same));
    let going = known.after(replace(B)).unwrap();
    assert_eq!(going.to_string(), "n1 n2 n3~");
    assert!(going.counts(node(3), A) && !going.counts(node(3), B));
    let learning = going.with_joint_left();
    assert!(learning.counts(node(3), B) && !learning.counts(node(3), A));
    assert!(!learning.is_voter(node(3)));
    assert_eq!(learning.to_promote(), Some(node(3)));
    let back = learning.with_promotion_begun().with_joint_left();
    assert_eq!(back.to_string(), "n1 n2 n3");
    assert!(back.counts(node(3), B));
}

#[test]
fn impossible_changes_are_refused_and_say_why() {
    let three = founding(3);
    let learner = |node| Change::AddLearner {
        node,
        incarnation: A,
        promote: false,
    };
    let is_member = ChangeError::IsMember { node: node(3) };
    assert_eq!(three.after(learner(node(3))), Err(is_member));
    let remove = |node| Change::Remove { node };
    let not_member = ChangeError::NotMember { node: node(9) };
    assert_eq!(three.after(remove(node(9))), Err(not_member));
    let last = ChangeError::LastVoter { node: node(1) };
    assert_eq!(founding(1).after(remove(node(1))), Err(last));
    let promote = |node| Change::Promote { node };
    let is_voter = ChangeError::IsVoter { node: node(1) };
    assert_eq!(three.after(promote(node(1))), Err(is_voter));
    let joint = three.after(remove(node(3))).unwrap();
    assert_eq!(joint.after(remove(node(2))), Err(ChangeError::InProgress));
    let eight = founding(7).after(learner(node(8))).unwrap();
    let too_many = eight.after(promote(node(8))).unwrap_err();
    assert_eq!(
        too_many.to_string(),
        "the cluster would have 8 voters; the limit is 7"
    );
}

#[test]
fn a_promotion_under_way_can_only_be_cancelled() {
    let add = |id| Change::AddLearner {
        node: node(id),
        incarnation: A,
        promote: true,
    };
    let pending = founding(3).after(add(4)).unwrap();
    assert_eq!(pending.after(add(5)), Err(ChangeError::InProgress));
    let remove = |id| Change::Remove { node: node(id) };
    assert_eq!(pending.after(remove(3)), Err(ChangeError::InProgress));
    assert_eq!(pending.after(remove(4)), Ok(founding(3)));
}

#[test]
fn one_that_goes_votes_and_does_not_stay() {
    let joint = founding(3).after(Change::Remove { node: node(3) }).unwrap();
    assert!(joint.is_voter(node(3)) && !joint.stays_voter(node(3)));
    assert!(joint.is_voter(node(1)) && joint.stays_voter(node(1)));
    assert!(!joint.stays_voter(node(4)), "a stranger has no vote");
}

#[test]
fn survivors_with_a_part_in_every_majority_lose_nothing() {
    let four = Membership::founding([1, 2, 3, 4].map(NodeId));
    let loss = |survivors: &[u64]| {
        let survivors: Vec<NodeId> = survivors.iter().copied().map(NodeId).collect();
        four.loss_with(&survivors, LogIndex(6), LogIndex(8), LogIndex(6))
    };
    assert_eq!(loss(&[1, 2]), Loss::Nothing, "every three have one of them");
    let possible = Loss::Possible {
        from: LogIndex(7),
        certain: None,
    };
    assert_eq!(loss(&[1]), possible);
}

#[test]
fn what_a_leader_had_told_beyond_the_survivors_log_is_lost_for_certain() {
    let three = Membership::founding([1, 2, 3].map(NodeId));
    let loss = three.loss_with(&[NodeId(3)], LogIndex(6), LogIndex(7), LogIndex(9));
    let gone = Loss::Possible {
        from: LogIndex(7),
        certain: Some(LogIndex(9)),
    };
    assert_eq!(loss, gone);
    assert_eq!(
        loss.to_string(),
        "committed entries from i7 on may be gone, and for certain those behind the log's end up to i9"
    );
}

#[test]
fn in_a_joint_phase_one_half_without_a_majority_is_enough_to_lose_nothing() {
    let joint = Membership::founding([1, 2, 3].map(NodeId))
        .after(Change::Replace {
            old: NodeId(3),
            new: NodeId(4),
            incarnation: Incarnation(4),
        })
        .expect("a voter can be replaced")
        .with_promotion_begun();
    // The old voters are n1 n2 n3, the new ones n1 n2 n4.
    let loss =
        |survivors: &[NodeId]| joint.loss_with(survivors, LogIndex(7), LogIndex(7), LogIndex(7));
    assert_eq!(loss(&[NodeId(1), NodeId(4)]), Loss::Nothing);
    assert_ne!(loss(&[NodeId(3), NodeId(4)]), Loss::Nothing);
}

#[test]
fn only_members_survive_and_all_of_them_vote() {
    let three = Membership::founding([1, 2, 3].map(NodeId));
    let stranger = three.with_survivors_only(&[NodeId(1), NodeId(9)]);
    assert!(matches!(
        stranger,
        Err(RecoveryError::NotMember {
            node: NodeId(9),
            ..
        })
    ));
    let learner = three
        .after(Change::AddLearner {
            node: NodeId(4),
            incarnation: Incarnation(4),
            promote: false,
        })
        .expect("a learner can be added");
    let left = learner
        .with_survivors_only(&[NodeId(1), NodeId(4)])
        .expect("both are members");
    assert_eq!(left.to_string(), "n1 n4");
    assert!(left.is_voter(NodeId(4)) && !left.is_joint());
}

#[test]
fn a_change_is_refused_if_what_follows_of_it_is_not_possible() {
    let seven = founding(7);
    let add = |promote| Change::AddLearner {
        node: node(8),
        incarnation: A,
        promote,
    };
    let refused = seven.after(add(true));
    assert!(
        matches!(refused, Err(ChangeError::TooMany { found: 8, .. })),
        "{refused:?}"
    );
    assert!(seven.after(add(false)).is_ok());
    let replace = Change::Replace {
        old: node(7),
        new: node(8),
        incarnation: A,
    };
    let replaced = seven.after(replace).expect("one comes and one goes");
    assert_eq!(replaced.with_promotion_begun().check(), Ok(()));
}
