//! The local queue: requests that clients left with this node because it could not serve
//! them (decision 30; `accept=local` of the API). Each is on this node's disk before its
//! client is told so, and goes to the leader in order of arrival, one at a time, under the
//! client's own request id: so it takes effect once, however often it is sent, by however
//! many nodes, and whatever its client does meanwhile. It is let go when a leader says
//! what became of it. Only then it was accepted.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::ContextManager;
use super::asker::Asker;
use super::recover::RecoverError;
use super::serve::{refusal_of, too_large};
use crate::action::Action;
use crate::bytes::Bytes;
use crate::command::{Command, Entry};
use crate::event::Now;
use crate::feature::FeatureLevel;
use crate::ids::{LocalNumber, NodeId, RequestId, Sequence, Term, Ticket};
use crate::limits::{LOCAL_BYTES_MAX, LOCAL_WAITERS_MAX};
use crate::marks::Mark;
use crate::message::{Body, ForwardEnd};
use crate::principal::Principal;
use crate::request::{Refusal, Reply};
use crate::status::LocalQueueStatus;
use crate::time::{Span, Time};
use crate::wire;

/// After so long without a word of the leader a request is sent again.
const FORWARD_PATIENCE: Span = Span::from_ms(1_000);

/// A kept request.
#[derive(Clone, Debug)]
struct KeptRequest {
    id: RequestId,
    entry: Bytes,
    /// It is on disk for good.
    durable: bool,
    /// Who is told when it is.
    waiting: Vec<Ticket>,
}

/// A request on its way to a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct UnderWay {
    number: LocalNumber,
    /// To whom, and in which term.
    to: (NodeId, Term),
    attempt: u64,
    /// When it is sent again; never, if this node is the leader itself.
    again: Option<Time>,
}

/// What a node keeps for its clients, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalQueue {
    requests: BTreeMap<LocalNumber, KeptRequest>,
    by_id: BTreeMap<RequestId, LocalNumber>,
    bytes: u64,
    next: LocalNumber,
    /// The first one, if it is on its way.
    under_way: Option<UnderWay>,
    /// The leader wants nothing before.
    rests_until: Option<Time>,
    settled: u64,
    refused: u64,
    last_refused: Option<(RequestId, String)>,
}

impl LocalQueue {
    /// What a disk holds.
    pub(super) fn recover(kept: Vec<(LocalNumber, Bytes)>) -> Result<LocalQueue, RecoverError> {
        let mut queue = LocalQueue::default();
        for (number, entry) in kept {
            let failed = |reason: String| RecoverError::LocalRequest { number, reason };
            let read = wire::command::decode(&entry).map_err(|error| failed(error.to_string()))?;
            let id = read.request;
            let id = id.ok_or_else(|| failed("it names no request of a session".into()))?;
            if number < queue.next || queue.by_id.contains_key(&id) {
                return Err(failed("it stands there twice, or out of order".into()));
            }
            queue.insert(number, id, entry);
            queue
                .requests
                .entry(number)
                .and_modify(|it| it.durable = true);
        }
        Ok(queue)
    }

    fn insert(&mut self, number: LocalNumber, id: RequestId, entry: Bytes) {
        self.next = number.next();
        self.bytes += entry.count();
        self.by_id.insert(id, number);
        let kept = KeptRequest {
            id,
            entry,
            durable: false,
            waiting: Vec::new(),
        };
        self.requests.insert(number, kept);
    }

    fn remove(&mut self, number: LocalNumber) -> KeptRequest {
        let kept = self.requests.remove(&number);
        let kept = kept.expect("what is let go was kept");
        self.by_id.remove(&kept.id);
        self.bytes -= kept.entry.count();
        self.under_way.take_if(|it| it.number == number);
        kept
    }

    fn has_room(&self, bytes: u64, requests_max: u64) -> bool {
        let count = self.requests.len() as u64;
        count < requests_max && self.bytes + bytes <= LOCAL_BYTES_MAX
    }

    /// The connection to a peer is closed: what was on its way there may be lost.
    pub(super) fn on_peer_down(&mut self, peer: NodeId) {
        self.under_way.take_if(|it| it.to.0 == peer);
    }

    /// When it wants a turn at the latest.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.under_way.and_then(|it| it.again).or(self.rests_until)
    }

    /// What it holds, and what became of the rest.
    pub(super) fn status(&self) -> LocalQueueStatus {
        LocalQueueStatus {
            requests: self.requests.len() as u64,
            bytes: self.bytes,
            settled: self.settled,
            refused: self.refused,
            last_refused: self.last_refused.clone(),
        }
    }

    /// What is kept, in order, and whether it is on disk for good.
    pub(super) fn kept(&self) -> impl Iterator<Item = (LocalNumber, RequestId, bool)> + '_ {
        let requests = self.requests.iter();
        requests.map(|(number, kept)| (*number, kept.id, kept.durable))
    }
}

impl ContextManager {
    /// A client wants a request kept if it cannot be served.
    pub(super) fn queue_locally(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        request: RequestId,
        acknowledged: Sequence,
        command: Command,
    ) {
        if self.local.requests.is_empty() && self.failover.may_serve() {
            let asker = Asker::Client(ticket);
            return self.propose(now, asker, principal, Some(request), acknowledged, command);
        }
        let invalid = match command.may_be_kept() {
            true => refusal_of(&command, Some(request)),
            false => Some(
                "only submits, asks, leaves, cancels, annotations and resolutions are queued locally; propose it to the leader"
                    .into(),
            ),
        };
        if let Some(message) = invalid {
            return self.outbox.answer(ticket, Reply::Invalid { message });
        }
        if self.config.supports < FeatureLevel::REQUESTS_FORWARDED
            || self.queue.level() < command.level()
        {
            return self.refuse(ticket, Refusal::LevelTooLow);
        }
        if self.is_removed() {
            return self
                .outbox
                .answer(ticket, Reply::NotLeader { leader: None });
        }
        if let Some(denial) = self.queue.session_denial(&principal, Some(request)) {
            return self.deny(now, ticket, &principal, denial);
        }
        if let Some(outcome) = self.known_outcome(&principal, Some(request), acknowledged, &command)
        {
            self.marks.hit(Mark::ResendAnswered);
            let index = self.applied;
            return self
                .outbox
                .answer(ticket, Reply::Applied { index, outcome });
        }
        if let Some(denial) = self.queue.command_denial(&principal, &command) {
            return self.deny(now, ticket, &principal, denial);
        }
        if let Some(number) = self.local.by_id.get(&request).copied() {
            return self.queue_again(ticket, number, &principal, &command);
        }
        let entry = Entry {
            request: Some(request),
            acknowledged,
            ..self.entry(now, principal, command)
        };
        let entry = wire::command::encode(&entry);
        if let Some(message) = too_large(&entry) {
            return self.outbox.answer(ticket, Reply::Invalid { message });
        }
        if !self
            .local
            .has_room(entry.count(), self.config.knobs.local_requests_max)
        {
            self.marks.hit(Mark::LocalQueueFull);
            return self.refuse(ticket, Refusal::LocalQueueFull);
        }
        self.marks.hit(Mark::RequestQueuedLocally);
        let number = self.local.next;
        self.local.insert(number, request, entry.clone());
        self.outbox.act(Action::KeepRequest { number, entry });
        #[cfg(feature = "planted-bugs")]
        if self
            .config
            .planted(crate::planted::Bug::QueuedBeforeDurable)
        {
            return self.outbox.answer(ticket, Reply::QueuedLocally);
        }
        let kept = self.local.requests.get_mut(&number);
        kept.expect("it was just put there").waiting.push(ticket);
    }

    /// It is kept already: so it stays, if it is the same.
    fn queue_again(
        &mut self,
        ticket: Ticket,
        number: LocalNumber,
        principal: &Principal,
        command: &Command,
    ) {
        let kept = self.local.requests.get_mut(&number);
        let kept = kept.expect("an id leads to what is kept");
        let entry = wire::command::decode(&kept.entry).expect("it was encoded or read here");
        if entry.principal != *principal || entry.command != *command {
            let message = format!(
                "request {} is queued here with another content; use a new sequence for a new request",
                kept.id.sequence
            );
            return self.outbox.answer(ticket, Reply::Invalid { message });
        }
        if kept.durable {
            self.outbox.answer(ticket, Reply::QueuedLocally);
        } else if kept.waiting.len() as u64 >= LOCAL_WAITERS_MAX {
            self.refuse(ticket, Refusal::WaitingRequests);
        } else {
            kept.waiting.push(ticket);
        }
    }

    /// A request is on disk for good: whoever left it may go.
    pub(super) fn on_request_kept(&mut self, number: LocalNumber) {
        // It may be over already: another way was faster.
        let Some(kept) = self.local.requests.get_mut(&number) else {
            return;
        };
        kept.durable = true;
        for ticket in std::mem::take(&mut kept.waiting) {
            self.outbox.answer(ticket, Reply::QueuedLocally);
        }
    }

    /// Sends the leader the first request, unless it is on its way there.
    pub(super) fn forward_local(&mut self, now: Now) {
        self.local.rests_until.take_if(|until| *until <= now.time);
        let term = self.cluster.term();
        let leader = self.cluster.leader(self.config.node);
        let to = leader.map(|leader| (leader, term));
        let before = self.local.under_way;
        self.local
            .under_way
            .take_if(|it| Some(it.to) != to || it.again.is_some_and(|again| again <= now.time));
        let Some(to) = to else {
            return;
        };
        // What waits for the disk would be sent when it may be over already.
        if self.local.under_way.is_some()
            || self.local.rests_until.is_some()
            || !self.outbox.is_hard_state_durable()
        {
            return;
        }
        let first = self.local.requests.first_key_value();
        #[cfg(feature = "planted-bugs")]
        let first = match self.config.planted(crate::planted::Bug::LocalQueueReversed) {
            true => self.local.requests.last_key_value(),
            false => first,
        };
        let Some((&number, kept)) = first.filter(|(_, kept)| kept.durable) else {
            return;
        };
        let entry = kept.entry.clone();
        if before.is_some_and(|it| it.number == number) {
            self.marks.hit(Mark::LocalForwardedAgain);
        }
        if to.0 == self.config.node {
            self.propose_local(now, number, to, &entry);
        } else if self.levels.supports(to.0, FeatureLevel::REQUESTS_FORWARDED) {
            self.marks.hit(Mark::LocalForwarded);
            let attempt = self.random.next_u64();
            self.local.under_way = Some(UnderWay {
                number,
                to,
                attempt,
                again: Some(now.time + FORWARD_PATIENCE),
            });
            let body = Body::Forward { attempt, entry };
            self.cluster.say(to.0, body, &mut super::cx!(self, now));
            #[cfg(feature = "planted-bugs")]
            if self
                .config
                .planted(crate::planted::Bug::LocalDroppedWhenSent)
            {
                self.local.remove(number);
                self.outbox.act(Action::DropRequest { number });
            }
        }
    }

    /// This node leads: what it kept goes into its own log.
    fn propose_local(&mut self, now: Now, number: LocalNumber, to: (NodeId, Term), entry: &[u8]) {
        #[cfg(feature = "planted-bugs")]
        if self
            .config
            .planted(crate::planted::Bug::LeaderForgetsOwnQueue)
        {
            return;
        }
        if !self.failover.may_serve() || self.cluster.is_yielding() {
            return;
        }
        self.marks.hit(Mark::LocalProposed);
        self.local.under_way = Some(UnderWay {
            number,
            to,
            attempt: 0,
            again: None,
        });
        let entry = wire::command::decode(entry).expect("it was encoded or read here");
        self.take_forwarded(now, Asker::Local(number), entry);
    }

    /// What became of a request that this node proposed to itself.
    pub(super) fn on_local_end(&mut self, now: Now, number: LocalNumber, end: ForwardEnd) {
        // An earlier leader's word may have come meanwhile, late.
        if let Some(kept) = self.local.requests.get(&number) {
            let id = kept.id;
            self.on_forwarded(now, id, 0, end);
        }
    }

    /// A leader says what became of a request.
    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        request: RequestId,
        attempt: u64,
        end: ForwardEnd,
    ) {
        // One that was let go, or came a second time.
        let Some(number) = self.local.by_id.get(&request).copied() else {
            return;
        };
        let is_latest = |it: &UnderWay| it.number == number && it.attempt == attempt;
        if !self.local.under_way.as_ref().is_some_and(is_latest)
            && !matches!(end, ForwardEnd::Settled { .. })
        {
            return;
        }
        match end {
            ForwardEnd::Again { after } => {
                self.local.under_way = None;
                self.local.rests_until = Some(now.time + after);
                return;
            }
            ForwardEnd::Settled { .. } => {
                self.marks.hit(Mark::LocalSettled);
                self.local.settled += 1;
            }
            ForwardEnd::Refused { why } => {
                self.marks.hit(Mark::LocalRefused);
                self.local.refused += 1;
                self.local.last_refused = Some((request, why));
            }
        }
        let kept = self.local.remove(number);
        // They asked for a second time meanwhile, and would ask again.
        for ticket in kept.waiting {
            self.outbox.answer(ticket, Reply::Unknown);
        }
        self.outbox.act(Action::DropRequest { number });
    }
}
