//! Do the answers that leave the cluster fit the log? What is answered is
//! committed; a request id has one answer; a job is completed by its last
//! token; work is handed out under a committed claim.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use precentor_core::command::{
    Admission, Asked, Cancellation, Command, Outcome, Purging, Redriving, Rejection,
    Reprioritisation,
};
use precentor_core::event::Event;
use precentor_core::ids::{JobId, LogIndex, RequestId, SessionId, Ticket, Token, WorkerId};
use precentor_core::job::WorkerSpec;
use precentor_core::request::{Reply, Work};

use super::logs::Logs;
use super::queue::Queue;
use super::{Checker, Verdict, ensure, proposed};
use crate::marks::{Mark, Marks};

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Where a request id stands first, and what was answered.
    requests: BTreeMap<RequestId, (LogIndex, Option<Outcome>)>,
    /// Where it stands again: the next one counts where those before were denied.
    copies: BTreeMap<RequestId, VecDeque<LogIndex>>,
    /// What was sent under a request id, or by a worker that registers, and is
    /// not answered.
    asked: BTreeMap<Ticket, (Option<RequestId>, Command)>,
    /// Where each life of a worker was registered, in order.
    registered: Vec<(LogIndex, WorkerSpec)>,
    /// Where workers were expelled, in order.
    expelled: Vec<(LogIndex, WorkerId)>,
    /// Claims of each job, in order; whether apply granted them is not known here.
    claims: BTreeMap<JobId, Vec<Token>>,
    /// What sessions were told since that was asked last.
    told: Vec<Told>,
}

/// A session was told which jobs answer for what it asked.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) session: SessionId,
    /// Where its request stands first.
    pub(super) at: LogIndex,
    pub(super) jobs: Vec<JobId>,
    /// Dead letters, with the jobs that do them again.
    pub(super) again: Vec<(JobId, JobId)>,
}

impl History {
    /// What sessions were told since that was asked last.
    pub(super) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Where a request stands of which something came.
    fn pass_denied(&mut self, request: RequestId, logs: &Logs) {
        let Some((first, _)) = self.requests.get_mut(&request) else {
            return;
        };
        let copies = self.copies.entry(request).or_default();
        while logs.was_denied(*first)
            && let Some(next) = copies.pop_front()
        {
            *first = next;
        }
    }

    fn note_told(&mut self, request: RequestId, outcome: &Outcome, logs: &Logs) {
        self.pass_denied(request, logs);
        let Some((at, None)) = self.requests.get(&request) else {
            return;
        };
        let mut told = Told {
            session: request.session,
            at: *at,
            jobs: Vec::new(),
            again: Vec::new(),
        };
        match outcome {
            Outcome::Submitted(items) => told.jobs.extend(items.iter().map(|item| item.job)),
            Outcome::Asked(items) => told.jobs.extend(items.iter().filter_map(job_of)),
            Outcome::Redriven(redrive) => {
                let command = logs.get(*at).and_then(|committed| committed.command());
                if let Some(Command::Redrive { jobs: letters, .. }) = command {
                    let again = letters.iter().zip(&redrive.jobs);
                    told.again.extend(again.filter_map(done_again));
                }
                told.jobs.extend(told.again.iter().map(|(_, job)| *job));
            }
            _ => return,
        }
        self.told.push(told);
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        if let Event::Client {
            ticket, request, ..
        } = event
            && let Some((request, command)) = proposed(request)
            && (request.is_some() || matches!(command, Command::Register { .. }))
        {
            self.asked.insert(*ticket, (request, command.clone()));
        }
    }

    pub(super) fn on_committed(&mut self, index: LogIndex, logs: &Logs) {
        let Some(committed) = logs.get(index) else {
            return;
        };
        let Some(command) = &committed.command else {
            return;
        };
        if let Some(request) = command.request {
            match self.requests.entry(request) {
                Entry::Vacant(vacant) => drop(vacant.insert((index, None))),
                Entry::Occupied(_) => self.copies.entry(request).or_default().push_back(index),
            }
        }
        if let Command::Register { worker } = &command.command {
            self.registered.push((index, worker.clone()));
        }
        // A copy of the order has no effect.
        let first = command
            .request
            .and_then(|request| self.requests.get(&request));
        if let Command::Expel { worker } = command.command
            && first.is_none_or(|(first, _)| *first == index)
        {
            self.expelled.push((index, worker));
        }
        for (position, claim) in (0..).zip(command.command.claims()) {
            self.claims
                .entry(claim.job)
                .or_default()
                .push(Token { index, position });
        }
    }

    pub(super) fn on_answer(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        logs: &Logs,
        queue: &Queue,
        marks: &mut Marks,
    ) -> Verdict {
        let asked = self.asked.remove(&ticket);
        match reply {
            Reply::Applied { index, outcome } => {
                let entry = logs.get(*index).and_then(|c| c.command.as_ref());
                match asked {
                    Some((Some(request), command))
                        if entry.is_none_or(|entry| entry.request != Some(request)) =>
                    {
                        self.on_resend((request, &command), *index, outcome, logs, marks)
                    }
                    Some((None, Command::Register { worker }))
                        if entry.is_none_or(|entry| !registers(&entry.command, &worker)) =>
                    {
                        self.on_known_worker(&worker, *index, outcome, logs, marks)
                    }
                    Some(_) | None => self.on_applied(*index, outcome, logs, queue, marks),
                }
            }
            Reply::Work(work) => on_work(work, logs),
            Reply::Finished { jobs, .. } => {
                jobs.iter().try_for_each(|finished| queue.agrees(finished))
            }
            Reply::Unknown => {
                marks.hit(Mark::RequestUnknown);
                Ok(())
            }
            Reply::NotLeader { .. }
            | Reply::Refused { .. }
            | Reply::Invalid { .. }
            // Judged by another.
            | Reply::Read { .. }
            | Reply::Status(_)
            | Reply::Membership { .. }
            | Reply::ChangeRefused(_)
            | Reply::HandedOver { .. }
            | Reply::HandOverFailed(_)
            | Reply::Recovered(_)
            | Reply::RecoveryFailed(_)
            | Reply::Denied(_)
            | Reply::Awaited { .. }
            | Reply::QueuedLocally => Ok(()),
        }
    }

    fn on_applied(
        &mut self,
        index: LogIndex,
        outcome: &Outcome,
        logs: &Logs,
        queue: &Queue,
        marks: &mut Marks,
    ) -> Verdict {
        let Some(committed) = logs.get(index) else {
            return ensure(false, Checker::AcceptedIsCommitted, || {
                format!(
                    "{outcome:?} is answered for {index}; committed is {}",
                    logs.committed()
                )
            });
        };
        let Some(entry) = &committed.command else {
            return ensure(false, Checker::AcceptedIsCommitted, || {
                format!("{index} answers a command, and is none")
            });
        };
        if let (Command::Complete { job, token, .. }, Outcome::Completed) =
            (&entry.command, outcome)
        {
            // The last token before this entry whose claim was granted.
            let claims = self.claims.get(job).map_or(&[][..], Vec::as_slice);
            let last = claims
                .iter()
                .rev()
                .find(|t| t.index < index && queue.was_granted(**t));
            ensure(last == Some(token), Checker::Tokens, || {
                format!(
                    "{job} is completed at {index} with token {token}; the last issued is {last:?}"
                )
            })?;
        }
        match outcome {
            Outcome::Submitted(items) => {
                for item in items {
                    match item.how {
                        Admission::Attached => marks.hit(Mark::Attached),
                        Admission::Parked => marks.hit(Mark::Parked),
                        Admission::Created | Admission::FromCache | Admission::FailedBefore => {}
                    }
                }
            }
            Outcome::Cancelled(results) => results.iter().for_each(|result| match result {
                Cancellation::Left => marks.hit(Mark::LeftToOthers),
                Cancellation::Ended { stops: Some(_) } => marks.hit(Mark::RunCancelled),
                Cancellation::NotWaitedFor => marks.hit(Mark::LeftBefore),
                _ => {}
            }),
            Outcome::Redriven(redrive) => {
                for result in &redrive.jobs {
                    mark_redriving(result, marks);
                }
                if redrive.dependents > 0 {
                    marks.hit(Mark::DependentsRedriven);
                }
            }
            Outcome::Purged(results) if results.contains(&Purging::Purged) => {
                marks.hit(Mark::LetterPurged);
            }
            Outcome::Reprioritised(results) => {
                if let Command::Reprioritise { class, .. } = entry.command {
                    let kept = |result: &_| matches!(result, Reprioritisation::Now { class: now } if *now < class);
                    if results.iter().any(kept) {
                        marks.hit(Mark::KeptUrgent);
                    }
                }
            }
            Outcome::Paused { .. } => marks.hit(Mark::QueuePaused),
            Outcome::Rejected(Rejection::Cycle { .. }) => marks.hit(Mark::CycleRejected),
            Outcome::Rejected(Rejection::QueueFull { .. }) => marks.hit(Mark::QueueFull),
            Outcome::Rejected(Rejection::TenantFull { .. }) => marks.hit(Mark::TenantFull),
            Outcome::Rejected(Rejection::Stale { .. }) => marks.hit(Mark::StaleRefused),
            Outcome::Rejected(Rejection::OldIncarnation { .. }) => marks.hit(Mark::OldIncarnation),
            Outcome::Rejected(Rejection::IdempotencyMismatch { .. }) => {
                marks.hit(Mark::MismatchRejected)
            }
            _ => {}
        }
        let Some(request) = entry.request else {
            return Ok(());
        };
        self.note_told(request, outcome, logs);
        let Some((first, answered)) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let same_body = stands_at(*first, &entry.command, logs);
        // These speak of the copy that was sent, not of the request.
        let of_copy = matches!(
            outcome,
            Outcome::Rejected(
                Rejection::SequenceForgotten { .. }
                    | Rejection::IdempotencyMismatch { .. }
                    | Rejection::UnknownSession { .. }
                    | Rejection::TooManyOutstanding { .. }
                    | Rejection::OldTerm { .. }
                    | Rejection::Denied(_)
            )
        );
        if of_copy {
            return Ok(());
        }
        ensure(same_body, Checker::OneEffectPerRequest, || {
            format!(
                "{request:?} stands at {first} and with another body at {index}, answered {outcome:?}"
            )
        })?;
        is_the_same(request, answered, index, outcome, marks)
    }

    /// It was answered that it is registered as of `index`, and has no entry there.
    fn on_known_worker(
        &self,
        worker: &WorkerSpec,
        index: LogIndex,
        outcome: &Outcome,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        // Who was expelled begins anew, with any life.
        let expelled = self.expelled.iter().rev();
        let mut expelled = expelled.filter(|(at, other)| {
            *at <= index && *other == worker.worker && !logs.was_rejected(*at)
        });
        let since = expelled.next().map_or(LogIndex(0), |(at, _)| *at);
        let registered = self.registered.iter();
        let of_it = registered
            .filter(|(at, other)| (since..=index).contains(at) && other.worker == worker.worker)
            .filter(|(at, _)| !logs.was_denied(*at));
        // Of equal lives the later one counts.
        let last = of_it.max_by_key(|(at, other)| (other.incarnation, *at));
        let is_so = *outcome == Outcome::Registered
            && index <= logs.committed()
            && last.is_some_and(|(_, other)| other == worker);
        marks.hit(Mark::WorkerKnown);
        ensure(is_so, Checker::AcceptedIsCommitted, || {
            format!("{worker:?} is answered {outcome:?} as of {index}; registered is {last:?}")
        })
    }

    /// It was answered by what a state at `index` keeps, and has no entry there:
    /// then it was committed before, with the same body.
    fn on_resend(
        &mut self,
        (request, command): (RequestId, &Command),
        index: LogIndex,
        outcome: &Outcome,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        self.note_told(request, outcome, logs);
        let found = self.requests.get_mut(&request);
        let found = found.filter(|(first, _)| *first <= index && index <= logs.committed());
        let Some((first, answered)) = found else {
            return ensure(false, Checker::AcceptedIsCommitted, || {
                format!(
                    "{request:?} is answered {outcome:?} as of {index}, and is not committed there; committed is {}",
                    logs.committed()
                )
            });
        };
        let same_body = stands_at(*first, command, logs);
        ensure(same_body, Checker::OneEffectPerRequest, || {
            format!(
                "{request:?} stands at {first} and was sent with another body, answered {outcome:?}"
            )
        })?;
        marks.hit(Mark::ResendAnswered);
        is_the_same(request, answered, index, outcome, marks)
    }
}

/// Which job answers, if one does.
pub(crate) fn job_of(asked: &Asked) -> Option<JobId> {
    match asked {
        Asked::Job(submitted)
        | Asked::Stale {
            refresh: submitted, ..
        } => Some(submitted.job),
        Asked::Cached(_) | Asked::NotCached => None,
    }
}

/// A dead letter, with the job that does it again, if one does.
fn done_again((letter, result): (&JobId, &Redriving)) -> Option<(JobId, JobId)> {
    match result {
        Redriving::Again { job, .. } => Some((*letter, *job)),
        _ => None,
    }
}

fn registers(command: &Command, worker: &WorkerSpec) -> bool {
    matches!(command, Command::Register { worker: other } if other == worker)
}

fn mark_redriving(result: &Redriving, marks: &mut Marks) {
    match result {
        Redriving::Again { .. } => marks.hit(Mark::Redriven),
        Redriving::Before { .. } => marks.hit(Mark::RedrivenBefore),
        Redriving::Outdated { .. } => marks.hit(Mark::RedriveOutdated),
        Redriving::Needs { .. } => marks.hit(Mark::RedriveNeeds),
        Redriving::NotKept => marks.hit(Mark::LetterNotKept),
        Redriving::Published { .. }
        | Redriving::Later
        | Redriving::NotDead
        | Redriving::Unknown => {}
    }
}

/// Is this the command of the entry?
fn stands_at(index: LogIndex, command: &Command, logs: &Logs) -> bool {
    let entry = logs.get(index).and_then(|c| c.command.as_ref());
    entry.is_some_and(|entry| entry.command == *command)
}

/// A request has the answer that it had before.
fn is_the_same(
    request: RequestId,
    answered: &mut Option<Outcome>,
    index: LogIndex,
    outcome: &Outcome,
    marks: &mut Marks,
) -> Verdict {
    let Some(before) = answered else {
        *answered = Some(outcome.clone());
        return Ok(());
    };
    ensure(before == outcome, Checker::OneEffectPerRequest, || {
        format!("{request:?} is answered {outcome:?} at {index}, and was answered {before:?}")
    })?;
    marks.hit(Mark::ReplyRepeated);
    Ok(())
}

fn on_work(work: &Work, logs: &Logs) -> Verdict {
    for assignment in &work.assignments {
        let token = assignment.token;
        let claimed = logs.get(token.index).is_some_and(|committed| {
            let command = committed.command();
            let claim = command.and_then(|command| command.claims().nth(token.position as usize));
            claim.is_some_and(|claim| claim.job == assignment.job)
        });
        ensure(claimed, Checker::DispatchAfterCommit, || {
            format!(
                "{} is handed out with {token}; committed is {}, and no such claim in it",
                assignment.job,
                logs.committed()
            )
        })?;
    }
    Ok(())
}
