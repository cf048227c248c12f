//! What clients of this node get: an answer from its state, a place in the
//! log, the leader's name, or a wait until there is a leader.

use super::asker::Asker;
use super::{ContextManager, cx};
use crate::bytes::Bytes;
use crate::cluster::ProposeError;
use crate::command::{Command, Entry, Outcome};
use crate::event::Now;
use crate::failover::{RETRY_AFTER, Waiting};
use crate::ids::{LogIndex, RequestId, Sequence, Ticket};
use crate::limits::{ENTRY_BYTES_MAX, NAME_BYTES_MAX};
use crate::marks::Mark;
use crate::principal::Principal;
use crate::request::{Refusal, Reply, Request};
use crate::time::Span;
use crate::wire;

impl ContextManager {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        request: Request,
    ) {
        if principal.0.len() as u64 > NAME_BYTES_MAX {
            let message = format!(
                "the principal's name is {} bytes; the limit is {NAME_BYTES_MAX}",
                principal.0.len()
            );
            return self.outbox.answer(ticket, Reply::Invalid { message });
        }
        // What only a leader does it also judges: here it is not known what is applied
        // there.
        let is_for_any = match &request {
            Request::Status
            | Request::Read { .. }
            | Request::FinishedAfter { .. }
            | Request::Await { .. }
            | Request::RecoverUnsafely { .. } => true,
            // What is kept of it comes first there: see `queue_locally`.
            Request::QueueLocally { .. }
            | Request::Propose { .. }
            | Request::Poll(_)
            | Request::ChangeMembership(_)
            | Request::HandOver { .. } => false,
        };
        if is_for_any && let Some(denial) = self.request_denial(&principal, &request) {
            return self.deny(now, ticket, &principal, denial);
        }
        match request {
            Request::Status => {
                let status = Box::new(self.status());
                self.outbox.answer(ticket, Reply::Status(status));
            }
            Request::Read { query, consistency } => {
                self.read(now, ticket, principal, query, consistency);
            }
            Request::FinishedAfter { after, count_max } => {
                let deadline = now.time + Span::from_ms(self.config.knobs.worker_poll_ms);
                if !self
                    .feeds
                    .hold(ticket, principal, after, count_max, deadline)
                {
                    self.refuse(ticket, Refusal::WaitingRequests);
                }
            }
            Request::Await { jobs, after } => {
                self.await_jobs(now, ticket, principal, &jobs, after);
            }
            Request::RecoverUnsafely { survivors } => {
                self.recover_unsafely(now, ticket, principal, &survivors);
            }
            Request::QueueLocally {
                request,
                acknowledged,
                command,
            } => self.queue_locally(now, ticket, principal, request, acknowledged, command),
            Request::Propose { .. }
            | Request::Poll(_)
            | Request::ChangeMembership(_)
            | Request::HandOver { .. } => self.serve(now, ticket, principal, request),
        }
    }

    /// Requests that only a serving leader answers.
    fn serve(&mut self, now: Now, ticket: Ticket, principal: Principal, request: Request) {
        if !self.failover.may_serve() {
            let leader = self
                .cluster
                .leader(self.config.node)
                .filter(|leader| *leader != self.config.node);
            if let Some(leader) = leader {
                self.marks.hit(Mark::RequestRedirected);
                return self.outbox.answer(
                    ticket,
                    Reply::NotLeader {
                        leader: Some(leader),
                    },
                );
            }
            let deadline = now.time + Span::from_ms(self.config.knobs.wait_ms_max);
            self.marks.hit(Mark::RequestWaited);
            let waiting = Waiting {
                ticket,
                principal,
                request,
                deadline,
            };
            if let Err(ticket) = self.failover.hold(waiting) {
                self.refuse(ticket, Refusal::WaitingRequests);
            }
            return;
        }
        if let Some(denial) = self.request_denial(&principal, &request) {
            return self.deny(now, ticket, &principal, denial);
        }
        match request {
            Request::Propose {
                request,
                acknowledged,
                command,
            } => {
                let asker = Asker::Client(ticket);
                self.propose(now, asker, principal, request, acknowledged, command);
            }
            Request::ChangeMembership(change) => {
                self.change_membership(now, ticket, principal, change);
            }
            Request::HandOver { to } => self.hand_over(now, ticket, to),
            Request::Poll(poll) if self.queue.is_nobodys(poll.worker) => {
                let work = self.generation.unknown_worker();
                self.outbox.answer(ticket, Reply::Work(work));
            }
            Request::Poll(poll) => {
                for (ticket, work) in self.generation.on_poll(now.time, ticket, poll, &self.queue) {
                    self.outbox.answer(ticket, Reply::Work(work));
                }
            }
            Request::Status
            | Request::Read { .. }
            | Request::FinishedAfter { .. }
            | Request::Await { .. }
            | Request::QueueLocally { .. }
            | Request::RecoverUnsafely { .. } => {
                unreachable!("answered by any node")
            }
        }
    }

    /// Puts a command into the log for whoever asks, or tells them why not.
    pub(super) fn propose(
        &mut self,
        now: Now,
        asker: Asker,
        principal: Principal,
        request: Option<RequestId>,
        acknowledged: Sequence,
        command: Command,
    ) {
        let appended = self.try_propose(now, principal, request, acknowledged, command);
        match appended {
            Ok((index, body)) => {
                self.pending.insert(index, asker);
                #[cfg(feature = "planted-bugs")]
                self.answer_early(index, &body);
                #[cfg(not(feature = "planted-bugs"))]
                drop(body);
            }
            Err(reply) => self.tell(now, asker, reply),
        }
    }

    /// Puts a command into the log; or says what whoever asks is to be told at once.
    fn try_propose(
        &mut self,
        now: Now,
        principal: Principal,
        request: Option<RequestId>,
        acknowledged: Sequence,
        command: Command,
    ) -> Result<(LogIndex, Bytes), Reply> {
        if let Some(message) = refusal_of(&command, request) {
            return Err(Reply::Invalid { message });
        }
        if self.queue.level() < command.level() {
            // An older program that met it in its log could not go on.
            return Err(refused(Refusal::LevelTooLow));
        }
        // The same, in the same order, as where an entry is applied.
        if let Some(denial) = self.queue.session_denial(&principal, request) {
            return Err(self.note_denied(now, &principal, denial));
        }
        let known = self.known_outcome(&principal, request, acknowledged, &command);
        let denial = match known {
            Some(_) => None,
            None => self.queue.command_denial(&principal, &command),
        };
        if let Some(denial) = denial {
            return Err(self.note_denied(now, &principal, denial));
        }
        if let Some(outcome) = known {
            self.marks.hit(Mark::ResendAnswered);
            // A worker that registers again is there, entry or not.
            self.generation.on_settled(&command);
            let index = self.applied;
            return Err(Reply::Applied { index, outcome });
        }
        let entry = Entry {
            request,
            acknowledged,
            ..self.entry(now, principal, command)
        };
        let body = wire::command::encode(&entry);
        if let Some(message) = too_large(&body) {
            return Err(Reply::Invalid { message });
        }
        match self.cluster.propose(body.clone(), &mut cx!(self, now)) {
            Ok(index) => Ok((index, body)),
            Err(ProposeError::NotLeader) => Err(Reply::NotLeader { leader: None }),
            Err(ProposeError::Refused(reason)) => Err(refused(reason)),
        }
    }

    /// What a resent request came to, if that is known here; and a worker may be
    /// registered just so already. Neither needs an entry, which would only wait
    /// behind those before it: where the disk takes longer than a client waits,
    /// the entry of each resend would come too late for it, and the next one
    /// would follow.
    ///
    /// A client that has the reply already is told so by way of the log, and so
    /// is one that sends something else under the same id.
    pub(super) fn known_outcome(
        &self,
        principal: &Principal,
        request: Option<RequestId>,
        acknowledged: Sequence,
        command: &Command,
    ) -> Option<Outcome> {
        if let (None, Command::Register { worker }) = (request, command) {
            let (id, queue) = (worker.worker, &self.queue);
            let is_known = queue.worker(id) == Some(worker)
                && queue.worker_denial(principal, id).is_none()
                && !queue.is_nobodys(id);
            return is_known.then_some(Outcome::Registered);
        }
        let request = request.filter(|request| acknowledged <= request.sequence)?;
        self.queue.kept_reply(request, command)
    }

    /// What waited is looked at again when there is a leader, here or elsewhere.
    pub(super) fn serve_waiting(&mut self, now: Now) {
        for expired in self.failover.expire(now.time) {
            self.marks.hit(Mark::RequestTimedOut);
            self.refuse(expired.ticket, Refusal::NoLeader);
        }
        let elsewhere = self
            .cluster
            .leader(self.config.node)
            .is_some_and(|leader| leader != self.config.node);
        if self.failover.has_waiting() && (elsewhere || self.failover.may_serve()) {
            for Waiting {
                ticket,
                principal,
                request,
                ..
            } in self.failover.take_waiting()
            {
                self.serve(now, ticket, principal, request);
            }
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, reason: Refusal) {
        self.outbox.answer(ticket, refused(reason));
    }
}

fn refused(reason: Refusal) -> Reply {
    Reply::Refused {
        reason,
        retry_after_ms: RETRY_AFTER.as_ms(),
    }
}

/// Why a request does not fit the log, if it does not.
pub(super) fn too_large(entry: &Bytes) -> Option<String> {
    let bytes = entry.count();
    (bytes > ENTRY_BYTES_MAX).then(|| {
        format!(
            "the request is {bytes} bytes; the limit is {ENTRY_BYTES_MAX} (entry_bytes_max); send fewer items at once"
        )
    })
}

/// Why a client may not propose this, if it may not.
pub(super) fn refusal_of(command: &Command, request: Option<RequestId>) -> Option<String> {
    match command {
        Command::Submit { .. } | Command::Ask { .. } if request.is_none() => Some(
            "a submit needs a request id, so that a resend is harmless; open a session first"
                .into(),
        ),
        Command::Leave { .. } if request.is_none() => Some(
            "a leave needs a request id of the session that waits; to end a job for all, cancel it"
                .into(),
        ),
        Command::OpenSession
        | Command::Submit { .. }
        | Command::Register { .. }
        | Command::PutOffer { .. }
        | Command::PutNeeds { .. }
        | Command::Complete { .. }
        | Command::Fail { .. }
        | Command::FailTogether { .. }
        | Command::Release { .. }
        | Command::Leave { .. }
        | Command::Cancel { .. }
        | Command::Redrive { .. }
        | Command::Purge { .. }
        | Command::Reprioritise { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Expel { .. }
        | Command::PutLimits { .. }
        | Command::Ask { .. }
        | Command::Invalidate { .. }
        | Command::PutBudget { .. }
        | Command::PutRoles { .. }
        | Command::Annotate { .. }
        | Command::Resolve { .. }
        | Command::KeepSources { .. }
        | Command::PutSourceBudget { .. } => None,
        Command::TakeOver { .. }
        | Command::Claim { .. }
        | Command::ClaimFrom { .. }
        | Command::ClaimTogether { .. }
        | Command::Expire { .. }
        | Command::Tick
        | Command::RaiseLevel { .. }
        | Command::Evict { .. }
        | Command::NoteDenials { .. } => Some(
            "only the leader itself proposes take-overs, claims, expiries, ticks, levels, evictions and notes of denials".into(),
        ),
    }
}
