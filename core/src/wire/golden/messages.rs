//! Every message in every version of the wire.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::check;
use crate::digest::{Digest, StateHash};
use crate::entry::{ChainHash, EntryKind, LogEntry};
use crate::ids::{Incarnation, LogIndex, NodeId, ReadNumber, RequestId, Sequence, SessionId, Term};
use crate::membership::Membership;
use crate::message::{
    Append, AppendReply, AppendResult, Body, ForwardEnd, Loan, LogPosition, Message, Piece,
    StateHashAt,
};
use crate::snapshot::SnapshotMeta;
use crate::status::Health;
use crate::time::Span;
use crate::wire::hello::WireVersion;
use crate::wire::message::{decode, encode};

/// Names each variant, for the compiler to find one that has no golden bytes.
macro_rules! kinds {
    ($($pattern:pat => $name:literal,)*) => {
        const KINDS: &[&str] = &[$($name,)*];

        fn kind(body: &Body) -> &'static str {
            match body { $($pattern => $name,)* }
        }
    };
}

kinds! {
    Body::PreVote { .. } => "pre_vote",
    Body::PreVoteReply { .. } => "pre_vote_reply",
    Body::Vote { .. } => "vote",
    Body::VoteReply { .. } => "vote_reply",
    Body::Append(_) => "append",
    Body::AppendReply(AppendReply { result: AppendResult::Matched { .. }, .. }) => "append_reply_matched",
    Body::AppendReply(AppendReply { result: AppendResult::Conflict { .. }, .. }) => "append_reply_conflict",
    Body::TimeoutNow => "timeout_now",
    Body::SnapshotOffer(_) => "snapshot_offer",
    Body::SnapshotFetch { .. } => "snapshot_fetch",
    Body::SnapshotPiece { .. } => "snapshot_piece",
    Body::BodiesFetch { .. } => "bodies_fetch",
    Body::Bodies { .. } => "bodies",
    Body::Lend(_) => "lend",
    Body::Removed { .. } => "removed",
    Body::ReadIndex { .. } => "read_index",
    Body::ReadIndexReply { .. } => "read_index_reply",
    Body::Forward { .. } => "forward",
    Body::Forwarded { end: ForwardEnd::Settled { .. }, .. } => "forwarded_settled",
    Body::Forwarded { end: ForwardEnd::Refused { .. }, .. } => "forwarded_refused",
    Body::Forwarded { end: ForwardEnd::Again { .. }, .. } => "forwarded_again",
}

const LAST: LogPosition = LogPosition {
    term: Term(3),
    index: LogIndex(70_000),
};

/// Two of one term and one of the next, the last a membership's.
fn entries() -> Vec<LogEntry> {
    let mut chain = ChainHash(0x0123_4567_89ab_cdef);
    let bodies: [&[u8]; 3] = [b"a command", b"", b"a membership"];
    let terms = [3, 3, 4];
    let kinds = [
        EntryKind::Command,
        EntryKind::Command,
        EntryKind::Membership,
    ];
    let mut entries = Vec::new();
    for (index, ((body, term), kind)) in (70_001..).zip(bodies.into_iter().zip(terms).zip(kinds)) {
        let entry = LogEntry {
            index: LogIndex(index),
            term: Term(term),
            chain,
            kind,
            body: body.into(),
        };
        chain = entry.chain_after();
        entries.push(entry);
    }
    entries
}

pub(in crate::wire) fn samples() -> Vec<Message> {
    let number = ReadNumber {
        life: 0x0123_4567_89ab_cdef,
        count: 300,
    };
    let index = LAST.index;
    let reply = |result| {
        Body::AppendReply(AppendReply {
            round: 200,
            result,
            health: Health::Slow,
            patience: Span(300_000),
        })
    };
    let forwarded = |end| Body::Forwarded {
        request: RequestId {
            session: SessionId(300),
            sequence: Sequence(7),
        },
        attempt: 0x0123_4567_89ab_cdef,
        end,
    };
    let bodies = vec![
        Body::PreVote { last: LAST },
        Body::PreVoteReply { granted: true },
        Body::Vote {
            last: LAST,
            transfer: true,
        },
        Body::VoteReply { granted: false },
        Body::Append(Append {
            previous: LAST,
            entries: entries().into(),
            commit: LogIndex(69_999),
            held_by_all: LogIndex(400),
            round: 200,
            state_hash: Some(Arc::new(StateHashAt {
                index,
                hash: StateHash(0x0123_4567_89ab_cdef_0011_2233),
            })),
        }),
        reply(AppendResult::Matched {
            verified: index,
            durable: LogIndex(69_000),
        }),
        reply(AppendResult::Conflict {
            previous: index,
            hint: LAST,
            repairing: true,
        }),
        Body::TimeoutNow,
        Body::SnapshotOffer(SnapshotMeta {
            index,
            term: Term(3),
            chain: ChainHash(5),
            state: StateHash(6),
            membership: Membership::founding([1, 2, 3].map(NodeId)).into(),
        }),
        Body::SnapshotFetch { index, offset: 512 },
        Body::SnapshotPiece {
            index,
            offset: 512,
            piece: Some(Piece {
                bytes: b"a piece"[..].into(),
                last: true,
            }),
        },
        Body::BodiesFetch {
            digests: vec![Digest([7; 32]), Digest([8; 32])],
        },
        Body::Bodies {
            bodies: vec![b"a body"[..].into(), b""[..].into()],
        },
        Body::Lend(Loan {
            previous: LAST,
            entries: entries().into(),
        }),
        Body::Removed { since: index },
        Body::ReadIndex { number },
        Body::ReadIndexReply { number, index },
        Body::Forward {
            attempt: 0x0123_4567_89ab_cdef,
            entry: b"an entry".to_vec().into(),
        },
        forwarded(ForwardEnd::Settled { index }),
        forwarded(ForwardEnd::Refused { why: "why".into() }),
        forwarded(ForwardEnd::Again {
            after: Span(50_000),
        }),
    ];
    let message = |body| Message {
        term: Term(5),
        incarnation: Incarnation(9),
        body,
    };
    bodies.into_iter().map(message).collect()
}

#[test]
fn every_message_looks_as_it_did_in_both_versions_and_comes_back() {
    let samples = samples();
    for message in &samples {
        let name = kind(&message.body);
        for (version, suffix) in [(WireVersion::FIRST, ""), (WireVersion::SECOND, "_2")] {
            let bytes = encode(message, version);
            check(&format!("{name}{suffix}"), &bytes);
            assert_eq!(decode(&bytes, version).as_ref(), Ok(message), "{name}");
        }
    }
    let seen: BTreeSet<_> = samples.iter().map(|message| kind(&message.body)).collect();
    let all: BTreeSet<_> = KINDS.iter().copied().collect();
    assert_eq!(seen, all, "a message has no golden bytes: add a sample");
}

#[test]
fn a_version_is_not_taken_for_another() {
    for message in samples() {
        let first = encode(&message, WireVersion::FIRST);
        let second = encode(&message, WireVersion::SECOND);
        assert!(decode(&first, WireVersion::SECOND).is_err(), "{message:?}");
        assert!(decode(&second, WireVersion::FIRST).is_err(), "{message:?}");
    }
}
