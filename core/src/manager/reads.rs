//! Clients that read the replicated state: at once from what is applied, or
//! when it is confirmed that nothing newer was committed before they asked, and
//! as much is applied here.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{ContextManager, cx};
use crate::event::Now;
use crate::ids::{JobId, LogIndex, ReadNumber, Ticket};
use crate::limits::{
    CONFLICTS_LISTED_MAX, DEAD_LETTERS_LISTED_MAX, JOBS_LISTED_MAX, READS_WAITING_MAX,
    RIGHTS_LISTED_MAX, SOURCES_ASKED_MAX,
};
use crate::marks::Mark;
use crate::principal::Principal;
use crate::request::{Answer, Consistency, Freshness, Query, Refusal, Reply};
use crate::time::{Span, Time};

/// A read that waits.
#[derive(Clone, Debug)]
struct Read {
    ticket: Ticket,
    principal: Principal,
    query: Query,
    deadline: Time,
}

/// Those who wait, all equally long: each queue is in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Came in this turn.
    arrived: VecDeque<Read>,
    /// The question that covers each is on its way.
    asked: VecDeque<(ReadNumber, Read)>,
    /// How far must be applied for each is known.
    confirmed: VecDeque<(LogIndex, Read)>,
}

impl Reads {
    fn count(&self) -> u64 {
        (self.arrived.len() + self.asked.len() + self.confirmed.len()) as u64
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let asked = self.asked.front().map(|(_, read)| read.deadline);
        let confirmed = self.confirmed.front().map(|(_, read)| read.deadline);
        asked.into_iter().chain(confirmed).min()
    }

    /// Everything that a number covers needs this index. What was confirmed
    /// before stays in front, so nothing is answered earlier than it may be.
    fn on_confirmed(&mut self, number: ReadNumber, index: LogIndex) {
        while let Some((_, read)) = self.asked.pop_front_if(|(asked, _)| *asked <= number) {
            self.confirmed.push_back((index, read));
        }
    }

    fn expire(&mut self, now: Time) -> Option<Read> {
        let asked = self.asked.pop_front_if(|(_, read)| read.deadline <= now);
        let late = asked.map(|(_, read)| read);
        late.or_else(|| {
            let confirmed = self
                .confirmed
                .pop_front_if(|(_, read)| read.deadline <= now);
            confirmed.map(|(_, read)| read)
        })
    }
}

impl ContextManager {
    pub(super) fn read(
        &mut self,
        now: Now,
        ticket: Ticket,
        principal: Principal,
        query: Query,
        consistency: Consistency,
    ) {
        match consistency {
            Consistency::Stale => {
                let age = self.cluster.age(now.time);
                let age_ms = age.map(Span::as_ms);
                self.answer_read(ticket, &query, Freshness::Stale { age_ms });
            }
            Consistency::Linearizable if self.reads.count() >= READS_WAITING_MAX => {
                self.refuse(ticket, Refusal::WaitingReads);
            }
            Consistency::Linearizable => {
                let deadline = now.time + Span::from_ms(self.config.knobs.wait_ms_max);
                self.reads.arrived.push_back(Read {
                    ticket,
                    principal,
                    query,
                    deadline,
                });
            }
        }
    }

    /// The reads of a turn share one question.
    pub(super) fn ask_reads(&mut self, now: Now) {
        if self.reads.arrived.is_empty() {
            return;
        }
        let number = self.cluster.ask_read(&mut cx!(self, now));
        let arrived = self.reads.arrived.drain(..).map(|read| (number, read));
        self.reads.asked.extend(arrived);
    }

    /// Answers what is confirmed and applied, and refuses what waited too long.
    pub(super) fn answer_reads(&mut self, now: Now) {
        for (number, index) in self.cluster.take_confirmed_reads() {
            self.reads.on_confirmed(number, index);
        }
        let applied = self.applied;
        #[cfg(feature = "planted-bugs")]
        let applied = match self.config.planted(crate::planted::Bug::ReadIgnoresApplied) {
            true => LogIndex(u64::MAX),
            false => applied,
        };
        while let Some((_, read)) = self
            .reads
            .confirmed
            .pop_front_if(|(index, _)| *index <= applied)
        {
            // As fresh as the answer would be.
            if let Some(denial) = self.query_denial(&read.principal, &read.query) {
                self.deny(now, read.ticket, &read.principal, denial);
                continue;
            }
            self.answer_read(read.ticket, &read.query, Freshness::Linearizable);
        }
        while let Some(read) = self.reads.expire(now.time) {
            self.marks.hit(Mark::ReadExpired);
            self.refuse(read.ticket, Refusal::ReadUnconfirmed);
        }
        if self.reads.asked.is_empty() {
            self.cluster.forget_reads();
        }
    }

    fn explain(&self, job: JobId) -> Answer {
        let explanation = self.queue.explain(job).map(Box::new);
        let engine = self.queue.engine_of(job);
        let engine = engine.filter(|_| self.failover.may_serve());
        Answer::Explained {
            asking: engine.map(|engine| self.generation.asking_for(engine, &self.queue)),
            explanation,
        }
    }

    fn answer_read(&mut self, ticket: Ticket, query: &Query, freshness: Freshness) {
        self.note_read(query);
        let answer = match query {
            Query::Job(job) => Answer::Job(self.queue.job(*job).map(Box::new)),
            Query::Context(address) => Answer::Context(self.queue.context(address).map(Box::new)),
            Query::DeadLetter(job) => {
                Answer::DeadLetter(self.queue.dead_letter(*job).map(Box::new))
            }
            Query::DeadLetters { after, count_max } => {
                let count_max = (*count_max).clamp(1, DEAD_LETTERS_LISTED_MAX);
                let (letters, next) = self.queue.dead_letters(*after, count_max);
                Answer::DeadLetters { letters, next }
            }
            Query::Pauses => Answer::Pauses(self.queue.pauses().collect()),
            Query::Limits => Answer::Limits {
                accounts: self.queue.accounts().collect(),
                breakers: self.queue.breakers().collect(),
            },
            Query::Explain(job) => self.explain(*job),
            Query::Needs => Answer::Needs(self.queue.needs().collect()),
            Query::Worker(worker) => Answer::Worker(self.queue.worker_view(*worker).map(Box::new)),
            Query::Sources(digests) => {
                let count = digests.len().min(SOURCES_ASKED_MAX as usize);
                Answer::Sources(Box::new(self.queue.sources_view(&digests[..count])))
            }
            Query::Cached(address) => Answer::Cached(self.queue.cached_view(address).map(Box::new)),
            Query::Cache => Answer::Cache(Box::new(self.queue.cache_view())),
            Query::Roles { after, count_max } => {
                let count_max = (*count_max).clamp(1, RIGHTS_LISTED_MAX);
                let (rights, next) = self.queue.rights_after(after.as_ref(), count_max);
                Answer::Roles { rights, next }
            }
            Query::Edited(address) => Answer::Edited(self.queue.edited(address).map(Box::new)),
            Query::History(address) => {
                let (results, edits) = self.queue.history(address);
                Answer::History {
                    address: address.clone(),
                    results,
                    edits,
                }
            }
            Query::Conflicts { after, count_max } => {
                let count_max = (*count_max).clamp(1, CONFLICTS_LISTED_MAX);
                let (conflicts, next) = self.queue.conflicts(*after, count_max);
                Answer::Conflicts { conflicts, next }
            }
            Query::Unfinished {
                within,
                after,
                count_max,
            } => {
                let count_max = (*count_max).clamp(1, JOBS_LISTED_MAX);
                let (jobs, next) = self.queue.jobs_within(within, after.as_ref(), count_max);
                Answer::Unfinished { jobs, next }
            }
        };
        let reply = Reply::Read {
            answer,
            applied: self.applied,
            freshness,
        };
        self.outbox.answer(ticket, reply);
    }
}
