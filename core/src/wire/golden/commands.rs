//! Every command, and every reason for a membership, as the body of a log entry.

use std::collections::BTreeSet;

use super::check;
use crate::access::{Area, DenialReason, Denied, Grant, Role, Tally};
use crate::command::{
    CacheMode, Claim, ClaimRule, Command, Contender, Entry, Eviction, ExpiredLease, Load,
    WeighedClaim,
};
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::edit::{self, Anchor, Author, Basis, ConflictId, Edit, Note, Resolution};
use crate::feature::FeatureLevel;
use crate::ids::{
    ActorId, Incarnation, JobId, LogIndex, NodeId, RequestId, Revision, Sequence, SessionId, Term,
    Token, WorkerId, WorkerIncarnation,
};
use crate::job::{
    Account, Class, Dependency, FailureClass, Generator, JobSpec, Limits, Needs, Offer, Policy,
    Rate, Reach, Scope, WorkerSpec,
};
use crate::membership::{Change, Loss, Membership, MembershipEntry, Why};
use crate::principal::Principal;
use crate::time::Stamp;
use crate::version::Dot;
use crate::wire::{command, membership};

macro_rules! kinds {
    ($type:ty, $list:ident, $kind:ident: $($pattern:pat => $name:literal,)*) => {
        const $list: &[&str] = &[$($name,)*];

        fn $kind(value: &$type) -> &'static str {
            match value { $($pattern => $name,)* }
        }
    };
}

kinds! { Command, COMMANDS, command_kind:
    Command::TakeOver { .. } => "take_over",
    Command::OpenSession => "open_session",
    Command::Submit { .. } => "submit",
    Command::Register { .. } => "register",
    Command::Claim { .. } => "claim",
    Command::Complete { .. } => "complete",
    Command::Fail { .. } => "fail",
    Command::Release { .. } => "release",
    Command::Expire { .. } => "expire",
    Command::Tick => "tick",
    Command::RaiseLevel { .. } => "raise_level",
    Command::Leave { .. } => "leave",
    Command::Cancel { .. } => "cancel",
    Command::Redrive { .. } => "redrive",
    Command::Purge { .. } => "purge",
    Command::Reprioritise { .. } => "reprioritise",
    Command::Pause { .. } => "pause",
    Command::Resume { .. } => "resume",
    Command::Expel { .. } => "expel",
    Command::PutLimits { .. } => "put_limits",
    Command::Ask { .. } => "ask",
    Command::Invalidate { .. } => "invalidate",
    Command::PutBudget { .. } => "put_budget",
    Command::Evict { .. } => "evict",
    Command::PutRoles { .. } => "put_roles",
    Command::NoteDenials { .. } => "note_denials",
    Command::ClaimFrom { .. } => "claim_from",
    Command::Annotate { .. } => "annotate",
    Command::Resolve { .. } => "resolve",
    Command::ClaimTogether { .. } => "claim_together",
    Command::FailTogether { .. } => "fail_together",
    Command::PutNeeds { .. } => "put_needs",
    Command::PutOffer { .. } => "put_offer",
    Command::KeepSources { .. } => "keep_sources",
    Command::PutSourceBudget { .. } => "put_source_budget",
}

kinds! { Why, REASONS, reason_kind:
    Why::Asked(Change::AddLearner { .. }) => "add_learner",
    Why::Asked(Change::Promote { .. }) => "promote",
    Why::Asked(Change::Remove { .. }) => "remove",
    Why::Asked(Change::Replace { .. }) => "replace",
    Why::CaughtUp => "caught_up",
    Why::JointLeft => "joint_left",
    Why::LivesLearned => "lives_learned",
    Why::UnsafeRecovery { .. } => "unsafe_recovery",
}

fn commands() -> Vec<Command> {
    let (job, node) = (JobId(300), NodeId(2));
    let token = Token {
        index: LogIndex(70_000),
        position: 3,
    };
    let body = b"a result"[..].into();
    let tally = Tally {
        count: 1_000_000,
        first: Stamp(300),
        last: Stamp(400),
    };
    let load = Load {
        share: 250,
        last_claim: 300,
    };
    let address = |text: &str| text.parse().unwrap();
    vec![
        Command::TakeOver {
            term: Term(5),
            node,
        },
        Command::OpenSession,
        Command::Submit {
            items: vec![JobSpec {
                address: address("ucxl://p/a/b.rs"),
                kind: ContextKind::File,
                subject: Digest([7; 32]),
                generator: Generator {
                    engine: "outline".into(),
                    version: 1,
                    parameters: Digest([8; 32]),
                },
                class: Class::Urgent,
                tenant: "team".into(),
                dependencies: vec![Dependency {
                    address: address("ucxl://p/a"),
                    policy: Policy::Optional,
                }],
                delay_ms: 300,
            }],
        },
        Command::Register {
            worker: WorkerSpec {
                worker: WorkerId(4),
                incarnation: WorkerIncarnation(2),
                slots: 8,
                engines: vec!["outline".into()],
            },
        },
        Command::Claim {
            claims: vec![Claim {
                job,
                worker: WorkerId(4),
                rule: ClaimRule::LeastLoaded,
            }],
        },
        Command::Complete {
            job,
            token,
            result: Digest([9; 32]),
            body,
        },
        Command::Fail {
            job,
            token,
            class: FailureClass::Busy,
            message: "later".into(),
            retry_after_ms: Some(1_000),
        },
        Command::Release { job, token },
        Command::Expire {
            leases: vec![ExpiredLease { job, token }],
        },
        Command::Tick,
        Command::RaiseLevel {
            to: FeatureLevel(2),
        },
        Command::Leave {
            jobs: vec![job, JobId(7)],
        },
        Command::Cancel { jobs: vec![job] },
        Command::Redrive {
            jobs: vec![job],
            dependents: true,
        },
        Command::Purge { jobs: vec![job] },
        Command::Reprioritise {
            jobs: vec![job],
            class: Class::Background,
        },
        Command::Pause {
            scope: Scope::Engine("outline".into()),
            reason: "it is down".into(),
        },
        Command::Resume {
            scope: Scope::Tenant("team".into()),
        },
        Command::Expel {
            worker: WorkerId(3),
        },
        Command::PutLimits {
            account: Account::Project("site".into()),
            limits: Limits {
                running_max: Some(300),
                rate: Some(Rate {
                    per_minute: 60,
                    burst: 5,
                }),
                queued_max: None,
                weight: Some(7),
            },
        },
        Command::Ask {
            items: vec![JobSpec {
                address: address("ucxl://p/a/b.rs"),
                kind: ContextKind::File,
                subject: Digest([7; 32]),
                generator: Generator {
                    engine: "outline".into(),
                    version: 1,
                    parameters: Digest([8; 32]),
                },
                class: Class::Normal,
                tenant: "team".into(),
                dependencies: Vec::new(),
                delay_ms: 0,
            }],
            mode: CacheMode::StaleOk { max_age_ms: 60_000 },
        },
        Command::Invalidate {
            reach: Reach::Generator {
                engine: "outline".into(),
                version: Some(3),
            },
        },
        Command::PutBudget {
            bytes_max: Some(1 << 30),
        },
        Command::Evict {
            evictions: vec![Eviction {
                address: address("ucxl://p/a/b.rs"),
                job,
            }],
        },
        Command::PutRoles {
            principal: Principal("bob".into()),
            grants: vec![
                Grant::everywhere(Role::Operator),
                Grant {
                    role: Role::Agent,
                    area: Area::Within(address("ucxl://p/a")),
                    class: Class::Background,
                },
                Grant {
                    role: Role::Viewer,
                    area: Area::At(address("ucxl://p/b.rs")),
                    class: Class::Urgent,
                },
            ],
        },
        Command::NoteDenials {
            denied: vec![Denied {
                principal: Principal("mallory".into()),
                reason: DenialReason::Place(Role::Agent),
                tally,
            }],
            others: Some(tally),
        },
        Command::ClaimFrom {
            claims: vec![WeighedClaim {
                claim: Claim {
                    job,
                    worker: WorkerId(4),
                    rule: ClaimRule::LeastLoaded,
                },
                load,
                fit: 2,
                others: [
                    Some(Contender {
                        worker: WorkerId(5),
                        load,
                    }),
                    None,
                    None,
                ],
            }],
        },
        annotate(),
        Command::Resolve {
            address: "ucxl://p/src/main.rs".parse().unwrap(),
            conflict: ConflictId {
                index: LogIndex(70_000),
                position: 1,
            },
            revision: Revision(9),
            author: Author::Person,
            resolution: Box::new(Resolution::Keep {
                side: Dot {
                    actor: ActorId(2),
                    counter: 3,
                },
            }),
        },
        Command::ClaimTogether {
            claims: vec![WeighedClaim {
                claim: Claim {
                    job,
                    worker: WorkerId(4),
                    rule: ClaimRule::WithOthers,
                },
                load,
                fit: 2,
                others: [
                    Some(Contender {
                        worker: WorkerId(5),
                        load,
                    }),
                    None,
                    None,
                ],
            }],
            runs: vec![0],
        },
        Command::FailTogether {
            job,
            token,
            class: FailureClass::Retryable,
            message: "too long together".into(),
            retry_after_ms: Some(500),
        },
        Command::PutNeeds {
            engine: "summary".into(),
            needs: Needs {
                tags: vec!["gpu".into()],
                memory_mib: 70_000,
            },
        },
        Command::PutOffer {
            worker: WorkerId(4),
            incarnation: WorkerIncarnation(2),
            offer: Offer {
                tags: vec!["gpu".into(), "checkout".into()],
                memory_mib: 300,
            },
        },
        Command::KeepSources {
            sources: vec![b"fn main() {}".as_slice().into(), b"".as_slice().into()],
        },
        Command::PutSourceBudget { bytes_max: 1 << 30 },
    ]
}

fn annotate() -> Command {
    let anchor = Anchor {
        symbol: "main".into(),
        digest: Digest::ZERO,
    };
    let note = Note {
        text: "never call it twice".into(),
        anchor: Some(anchor),
    };
    let changes = vec![
        edit::Change::PutSummary("starts all".into()),
        edit::Change::PutNote {
            name: "once".into(),
            note,
        },
        edit::Change::WithdrawNote { name: "old".into() },
        edit::Change::AddTag("entry".into()),
        edit::Change::RemoveTag("draft".into()),
    ];
    let dots = [(0, 1), (2, 300)].map(|(actor, counter)| Dot {
        actor: ActorId(actor),
        counter,
    });
    Command::Annotate {
        address: "ucxl://p/src/main.rs".parse().unwrap(),
        edit: Edit {
            author: Author::Agent,
            changes,
        },
        basis: Basis::Version {
            actor: ActorId(2),
            version: dots.into_iter().collect(),
        },
    }
}

#[test]
fn every_command_looks_as_it_did_and_comes_back() {
    let commands = commands();
    let seen: BTreeSet<_> = commands.iter().map(command_kind).collect();
    let all: BTreeSet<_> = COMMANDS.iter().copied().collect();
    assert_eq!(seen, all, "a command has no golden bytes: add a sample");
    for command in commands {
        let name = format!("command_{}", command_kind(&command));
        let entry = Entry {
            t: Stamp(7),
            wall_ms: 1_700_000_000_000,
            principal: Principal("alice".into()),
            request: Some(RequestId {
                session: SessionId(12),
                sequence: Sequence(3),
            }),
            acknowledged: Sequence(2),
            command,
        };
        let bytes = command::encode(&entry);
        check(&name, &bytes);
        assert_eq!(command::decode(&bytes), Ok(entry), "{name}");
    }
}

#[test]
fn every_membership_looks_as_it_did_and_comes_back() {
    let (node, incarnation) = (NodeId(4), Incarnation(99));
    let change = Change::AddLearner {
        node,
        incarnation,
        promote: true,
    };
    let founders = Membership::founding([1, 2, 3].map(NodeId));
    let grown = founders.after(change).unwrap();
    let reasons = [
        (Why::Asked(change), grown),
        (Why::Asked(Change::Promote { node }), founders.clone()),
        (Why::Asked(Change::Remove { node }), founders.clone()),
        (
            Why::Asked(Change::Replace {
                old: NodeId(3),
                new: node,
                incarnation,
            }),
            founders.clone(),
        ),
        (Why::CaughtUp, founders.clone()),
        (Why::JointLeft, founders.clone()),
        (Why::LivesLearned, founders.clone()),
        (
            Why::UnsafeRecovery {
                given_up: vec![NodeId(1), NodeId(2)],
                loss: Loss::Possible {
                    from: LogIndex(70_000),
                    certain: Some(LogIndex(70_001)),
                },
            },
            founders,
        ),
    ];
    let seen: BTreeSet<_> = reasons.iter().map(|(why, _)| reason_kind(why)).collect();
    let all: BTreeSet<_> = REASONS.iter().copied().collect();
    assert_eq!(seen, all, "a reason has no golden bytes: add a sample");
    for (why, membership) in reasons {
        let name = format!("members_{}", reason_kind(&why));
        let entry = MembershipEntry {
            membership,
            principal: Principal("alice".into()),
            wall_ms: 1_700_000_000_000,
            why,
        };
        let bytes = membership::encode(&entry);
        check(&name, &bytes);
        assert_eq!(membership::decode(&bytes), Ok(entry), "{name}");
    }
}
