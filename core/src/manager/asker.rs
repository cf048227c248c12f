//! Who is told what a proposal came to: a client of this node, another node that keeps a
//! request for one of its clients, or this node, which keeps one itself.

use super::{ContextManager, cx};
use crate::command::{Command, Entry, Outcome, Rejection};
use crate::event::Now;
use crate::ids::{LocalNumber, NodeId, RequestId, Ticket};
use crate::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX};
use crate::marks::Mark;
use crate::message::{Body, ForwardEnd};
use crate::request::Reply;
use crate::time::Span;
use crate::wire;

/// A leader that cannot take a request just now wants it again after this time.
const FORWARD_AGAIN: Span = Span::from_ms(50);

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// A client of this node.
    Client(Ticket),
    /// A node that keeps a request.
    Peer {
        node: NodeId,
        request: RequestId,
        attempt: u64,
    },
    /// This node itself.
    Local(LocalNumber),
}

impl ContextManager {
    /// Tells whoever asked what came of it.
    pub(super) fn tell(&mut self, now: Now, asker: Asker, reply: Reply) {
        match asker {
            Asker::Client(ticket) => self.outbox.answer(ticket, reply),
            Asker::Peer {
                node,
                request,
                attempt,
            } => {
                let end = end_of(reply);
                let body = Body::Forwarded {
                    request,
                    attempt,
                    end,
                };
                self.cluster.say(node, body, &mut cx!(self, now));
            }
            Asker::Local(number) => self.on_local_end(now, number, end_of(reply)),
        }
    }

    /// A member sends what it keeps. What makes no sense has no answer: no program that
    /// is right sends it.
    pub(super) fn on_forward(&mut self, now: Now, node: NodeId, attempt: u64, entry: &[u8]) {
        let entry = wire::command::decode(entry).ok();
        let Some((entry, request)) = entry.and_then(|it| it.request.map(|id| (it, id))) else {
            return self.marks.hit(Mark::ForwardSenseless);
        };
        let asker = Asker::Peer {
            node,
            request,
            attempt,
        };
        if !self.failover.may_serve() {
            return self.tell(now, asker, Reply::NotLeader { leader: None });
        }
        self.marks.hit(Mark::ForwardTaken);
        self.take_forwarded(now, asker, entry);
    }

    /// Proposes what was kept, here or elsewhere, as its client would.
    pub(super) fn take_forwarded(&mut self, now: Now, asker: Asker, entry: Entry) {
        let Entry {
            principal,
            request,
            acknowledged,
            command,
            ..
        } = entry;
        if principal.0.len() as u64 > NAME_BYTES_MAX || !command.may_be_kept() {
            let message = "no client may have this kept by a node".to_owned();
            return self.tell(now, asker, Reply::Invalid { message });
        }
        // It would be refused for good, and its client does not watch: it can wait.
        if let Command::Submit { items } | Command::Ask { items, .. } = &command
            && let Some(request) = request
            && self.queue.can_wait_for_room(request, items)
        {
            return self.tell(now, asker, Reply::Unknown);
        }
        self.propose(now, asker, principal, request, acknowledged, command);
    }
}

/// What a reply says of a request that is kept.
fn end_of(reply: Reply) -> ForwardEnd {
    let refused = |mut why: String| {
        let end = why.floor_char_boundary(MESSAGE_BYTES_MAX as usize);
        why.truncate(end);
        ForwardEnd::Refused { why }
    };
    match reply {
        // A leader that was deposed had proposed it, and it was passed over.
        Reply::Applied {
            outcome: Outcome::Rejected(Rejection::OldTerm { .. }),
            ..
        } => ForwardEnd::Again {
            after: FORWARD_AGAIN,
        },
        // It was answered, and its client said that it has the answer.
        Reply::Applied {
            index,
            outcome: Outcome::Rejected(Rejection::SequenceForgotten { .. }),
        } => ForwardEnd::Settled { index },
        Reply::Applied {
            outcome: Outcome::Rejected(rejection),
            ..
        } => refused(rejection.to_string()),
        Reply::Applied { index, .. } => ForwardEnd::Settled { index },
        Reply::Denied(denial) => refused(denial.to_string()),
        Reply::Invalid { message } => refused(message),
        Reply::Refused { retry_after_ms, .. } => ForwardEnd::Again {
            after: Span::from_ms(retry_after_ms),
        },
        _ => ForwardEnd::Again {
            after: FORWARD_AGAIN,
        },
    }
}
