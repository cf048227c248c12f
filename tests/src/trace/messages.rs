//! What nodes say to each other, in words.

use precentor_core::entry::LogEntry;
use precentor_core::ids::{RequestId, Term};
use precentor_core::message::{AppendResult, Body, ForwardEnd, LogPosition, Message};
use precentor_core::status::Health;
use precentor_core::wire;

use super::{words_of_body, words_of_command};

pub(super) fn position(at: LogPosition) -> String {
    format!("{}@{}", at.index, at.term)
}

/// A message in words.
#[must_use]
pub fn words_of_message(message: &Message) -> String {
    let term = message.term;
    match &message.body {
        Body::PreVote { last } => format!("pre-vote for {term}? log ends {}", position(*last)),
        Body::PreVoteReply { granted: true } => format!("pre-vote for {term}: yes"),
        Body::PreVoteReply { granted: false } => format!("pre-vote: no, in {term}"),
        Body::Vote { last, transfer } => {
            let by = if *transfer { ", by hand-over" } else { "" };
            format!("vote in {term}? log ends {}{by}", position(*last))
        }
        Body::VoteReply { granted: true } => format!("vote in {term}: yes"),
        Body::VoteReply { granted: false } => format!("vote: no, in {term}"),
        Body::Append(append) => {
            let entries: Vec<_> = append.entries.iter().map(|e| entry(e, term)).collect();
            let hash = append
                .state_hash
                .as_ref()
                .map_or(String::new(), |at| format!(", state of {}", at.index));
            format!(
                "append {term}: after {} [{}] commit {}{hash}",
                position(append.previous),
                entries.join(", "),
                append.commit
            )
        }
        Body::AppendReply(reply) => {
            let health = match reply.health {
                Health::Well => "",
                Health::Strained => "; strained",
                Health::Slow => "; slow",
                Health::Stuck => "; stuck",
            };
            match reply.result {
                AppendResult::Matched { verified, durable } => {
                    format!("append {term}: equal up to {verified}, durable {durable}{health}")
                }
                AppendResult::Conflict {
                    previous,
                    hint,
                    repairing,
                } => format!(
                    "append {term}: differs at {previous}, try after {}{}{health}",
                    position(hint),
                    if repairing { ", being repaired" } else { "" }
                ),
            }
        }
        Body::Lend(loan) => {
            let entries: Vec<_> = loan.entries.iter().map(|e| entry(e, term)).collect();
            format!(
                "lend: after {} [{}]",
                position(loan.previous),
                entries.join(", ")
            )
        }
        Body::TimeoutNow => format!("stand for election now, says the leader of {term}"),
        Body::Removed { since } => format!("you are no member since {since}"),
        Body::SnapshotOffer(offer) => format!(
            "snapshot of {}@{} is offered, members {}",
            offer.index, offer.term, offer.membership
        ),
        Body::SnapshotFetch { index, offset } => {
            format!("snapshot of {index}: what is from byte {offset} on?")
        }
        Body::SnapshotPiece {
            index,
            offset,
            piece: Some(piece),
        } => {
            let end = if piece.last { ", the last" } else { "" };
            let (from, to) = (offset, offset + piece.bytes.count());
            format!("snapshot of {index}: bytes {from} to {to}{end}")
        }
        Body::SnapshotPiece {
            index, piece: None, ..
        } => format!("snapshot of {index}: there is none any more"),
        Body::BodiesFetch { digests } => format!("{} bodies, please", digests.len()),
        Body::Bodies { bodies } => format!("{} bodies", bodies.len()),
        Body::ReadIndex { number } => format!("read {number} in {term}: how far?"),
        Body::Forward { entry, .. } => match wire::command::decode(entry) {
            Ok(entry) => format!("forward {}", words_of_command(&entry.command)),
            Err(error) => format!("forward what is no request: {error}"),
        },
        Body::Forwarded { request, end, .. } => {
            let RequestId { session, sequence } = request;
            match end {
                ForwardEnd::Settled { index } => {
                    format!("request {session}:{sequence} is settled as of {index}")
                }
                ForwardEnd::Refused { why } => {
                    format!("request {session}:{sequence} is refused for good: {why}")
                }
                ForwardEnd::Again { after } => format!(
                    "request {session}:{sequence}: again in {} ms",
                    after.as_ms()
                ),
            }
        }
        Body::ReadIndexReply { number, index } => format!("read {number} in {term}: {index}"),
    }
}

fn entry(entry: &LogEntry, term: Term) -> String {
    let words = words_of_body(entry);
    if entry.term == term {
        format!("{} {words}", entry.index)
    } else {
        format!("{}@{} {words}", entry.index, entry.term)
    }
}
