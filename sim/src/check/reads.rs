//! Does a linearizable read see all that was committed anywhere before it was
//! asked, whoever answers it? Do answers move forward with the index that they
//! are of, on all nodes together? Is a stale answer as young as it says?

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use precentor_core::address::Address;
use precentor_core::command::Command;
use precentor_core::edit::ConflictId;
use precentor_core::event::Event;
use precentor_core::ids::{JobId, LogIndex, Term, Ticket};
use precentor_core::job::{ContextView, Explanation, Hold, JobState, JobView};
use precentor_core::message::Body;
use precentor_core::request::{Answer, Consistency, Freshness, Query, Reply, Request};
use precentor_core::status::RoleName;
use precentor_core::time::{Span, Time};
use precentor_core::view::View;

use super::logs::Logs;
use super::{Checker, Moment, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// An open linearizable read.
#[derive(Clone, Debug)]
struct Asked {
    place: Place,
    query: Query,
    term: Term,
    /// What was committed on some node by then.
    committed: LogIndex,
}

/// What leaders told a node in one life of it.
#[derive(Clone, Debug, Default)]
struct Heard {
    /// The appends of the turn that is being taken.
    fresh: Vec<(Term, LogIndex)>,
    /// The first moment at which so much was known to be committed: ascending in both.
    commits: Vec<(Time, LogIndex)>,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Reads {
    asked: BTreeMap<Ticket, Asked>,
    heard: Vec<Heard>,
    /// The newest answer on each job, and as of which index it is.
    jobs: BTreeMap<JobId, (LogIndex, Option<JobView>)>,
    contexts: BTreeMap<Address, (LogIndex, Option<ContextView>)>,
    /// Where entries evict what is published at an address, or try to.
    evicted: BTreeMap<Address, Vec<LogIndex>>,
}

impl Reads {
    pub(super) fn new(count: usize) -> Reads {
        Reads {
            asked: BTreeMap::new(),
            heard: vec![Heard::default(); count],
            jobs: BTreeMap::new(),
            contexts: BTreeMap::new(),
            evicted: BTreeMap::new(),
        }
    }

    pub(super) fn on_committed(&mut self, index: LogIndex, logs: &Logs) {
        let command = logs.get(index).and_then(|committed| committed.command());
        if let Some(Command::Evict { evictions }) = command {
            for eviction in evictions {
                let of_it = self.evicted.entry(eviction.address.clone()).or_default();
                of_it.push(index);
            }
        }
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.heard[place] = Heard::default();
        self.asked.retain(|_, asked| asked.place != place);
    }

    pub(super) fn on_event(
        &mut self,
        moment: Moment,
        event: &Event,
        view: &View<'_>,
        committed: LogIndex,
    ) {
        let place = moment.place;
        match event {
            Event::Client {
                ticket,
                request:
                    Request::Read {
                        consistency: Consistency::Linearizable,
                        query,
                    },
                ..
            } => {
                let asked = Asked {
                    place,
                    query: query.clone(),
                    term: view.term(),
                    committed,
                };
                self.asked.insert(*ticket, asked);
            }
            Event::Peer { message, .. } => {
                if let Body::Append(append) = &message.body {
                    let heard = (message.term, append.commit);
                    self.heard[place].fresh.push(heard);
                }
            }
            _ => {}
        }
    }

    /// A turn was taken: of what it was told, the words of its term's leader count.
    pub(super) fn on_turn(&mut self, moment: Moment, view: &View<'_>) {
        let heard = &mut self.heard[moment.place];
        for (term, commit) in std::mem::take(&mut heard.fresh) {
            let last = heard.commits.last().map_or(LogIndex(0), |last| last.1);
            if term == view.term() && commit > last {
                heard.commits.push((moment.now.time, commit));
            }
        }
    }

    pub(super) fn on_answer(
        &mut self,
        moment: Moment,
        ticket: Ticket,
        reply: &Reply,
        view: &View<'_>,
        committed: LogIndex,
        marks: &mut Marks,
    ) -> Verdict {
        let asked = self.asked.remove(&ticket);
        let Reply::Read {
            answer,
            applied,
            freshness,
        } = reply
        else {
            if asked.is_some() {
                marks.hit(Mark::ReadRefused);
            }
            return Ok(());
        };
        let node = view.node();
        match freshness {
            Freshness::Linearizable => {
                let Some(asked) = asked else {
                    return ensure(false, Checker::FreshReads, || {
                        format!("{node} calls an answer to {ticket} linearizable; nobody asked")
                    });
                };
                ensure(*applied >= asked.committed, Checker::FreshReads, || {
                    format!(
                        "{node} answers a read as of {applied}; {} was committed before it was asked",
                        asked.committed
                    )
                })?;
                self.still_there(&asked.query, answer, *applied)?;
                marks.hit(match view.role() {
                    RoleName::Leader => Mark::ReadAtLeader,
                    _ => Mark::ReadElsewhere,
                });
                if asked.term < view.term() {
                    marks.hit(Mark::ReadAcrossTerms);
                }
            }
            Freshness::Stale { age_ms } => {
                if *applied < committed {
                    marks.hit(Mark::ReadStale);
                }
                if let Some(age_ms) = age_ms {
                    self.is_honest(moment, *age_ms, *applied)?;
                }
            }
        }
        self.moves_forward(answer, *applied)?;
        // A stale read is answered before the turn applies what is new.
        let same = *applied != view.applied()
            || match answer {
                Answer::Job(None) => true,
                Answer::Job(Some(job)) => view.queue().job(job.job).as_ref() == Some(job),
                Answer::Context(None) => true,
                Answer::Context(Some(context)) => {
                    view.queue().context(&context.address).as_ref() == Some(context)
                }
                Answer::DeadLetter(None) => true,
                Answer::DeadLetter(Some(letter)) => {
                    view.queue().dead_letter(letter.job.job).as_ref() == Some(letter)
                }
                Answer::DeadLetters { letters, .. } => letters.iter().all(|letter| {
                    view.queue().dead_letter(letter.job.job).as_ref() == Some(letter)
                }),
                Answer::Explained { explanation, .. } => explanation
                    .as_ref()
                    .is_none_or(|said| view.queue().explain(said.job.job).as_ref() == Some(said)),
                Answer::Cached(cached) => cached.as_ref().is_none_or(|cached| {
                    view.queue().cached_view(&cached.context.address).as_ref() == Some(cached)
                }),
                Answer::Cache(cache) => view.queue().cache_view() == **cache,
                Answer::Pauses(pauses) => view.queue().pauses().eq(pauses.iter().cloned()),
                Answer::Roles { rights, .. } => {
                    let (all, _) = view.queue().rights_after(None, u32::MAX);
                    rights.iter().all(|one| all.contains(one))
                }
                Answer::Limits { accounts, breakers } => {
                    view.queue().accounts().eq(accounts.iter().cloned())
                        && view.queue().breakers().eq(breakers.iter().cloned())
                }
                Answer::Needs(needs) => view.queue().needs().eq(needs.iter().cloned()),
                Answer::Sources(told) => **told == view.queue().sources_view(&told.lacking),
                Answer::Worker(None) => true,
                Answer::Worker(Some(worker)) => {
                    view.queue().worker_view(worker.spec.worker).as_ref() == Some(worker)
                }
                Answer::Edited(None) => true,
                Answer::Edited(Some(edited)) => {
                    view.queue().edited(&edited.address).as_ref() == Some(edited)
                }
                Answer::History {
                    address,
                    results,
                    edits,
                } => view.queue().history(address) == (results.clone(), edits.clone()),
                Answer::Conflicts { conflicts, .. } => {
                    let (open, _) = view.queue().conflicts(ConflictId::default(), u32::MAX);
                    conflicts.iter().all(|conflict| open.contains(conflict))
                }
                Answer::Unfinished { jobs, .. } => jobs
                    .iter()
                    .all(|job| view.queue().job(job.job).as_ref() == Some(job)),
            };
        ensure(same, Checker::FreshReads, || {
            format!("{node} answers {answer:?} as of {applied}, and its state there is another")
        })
    }

    /// Nothing is missing that a leader had told this node by then.
    fn is_honest(&self, moment: Moment, age_ms: u64, applied: LogIndex) -> Verdict {
        // The age is rounded down.
        let age = Span::from_ms(age_ms + 1);
        let by = |heard: &&(Time, LogIndex)| heard.0 + age <= moment.now.time;
        let heard = self.heard[moment.place].commits.iter().rev().find(by);
        ensure(
            heard.is_none_or(|(_, commit)| *commit <= applied),
            Checker::HonestAge,
            || {
                format!(
                    "n{} calls its state of {applied} {age_ms} ms old at {:?}; it had heard {heard:?}",
                    moment.place + 1,
                    moment.now.time
                )
            },
        )
    }

    /// What was read once is not gone later: no run finishes so many jobs that
    /// one is forgotten. A context may have been evicted since.
    fn still_there(&self, query: &Query, answer: &Answer, applied: LogIndex) -> Verdict {
        let before = match (query, answer) {
            (Query::Job(job), Answer::Job(None)) => self.jobs.get(job).map(|known| known.0),
            (Query::Context(address), Answer::Context(None)) => {
                let evicted = self.evicted.get(address).into_iter().flatten();
                let known = self.contexts.get(address).map(|known| known.0);
                known.filter(|known| {
                    let since = (Bound::Excluded(known), Bound::Included(&applied));
                    !evicted.clone().any(|index| since.contains(index))
                })
            }
            (Query::Job(job), Answer::Job(Some(found))) if *job == found.job => None,
            (Query::Context(address), Answer::Context(Some(found)))
                if *address == found.address =>
            {
                None
            }
            // Letters are purged, and what is paused is resumed.
            (Query::DeadLetter(job), Answer::DeadLetter(letter))
                if letter.as_ref().is_none_or(|letter| letter.job.job == *job) =>
            {
                None
            }
            (Query::DeadLetters { after, .. }, Answer::DeadLetters { letters, .. })
                if letters.iter().all(|letter| letter.job.job > *after) =>
            {
                None
            }
            (Query::Pauses, Answer::Pauses(_))
            | (Query::Limits, Answer::Limits { .. })
            | (Query::Needs, Answer::Needs(_))
            | (Query::Worker(_), Answer::Worker(_))
            | (Query::Sources(_), Answer::Sources(_))
            | (Query::Cached(_), Answer::Cached(_))
            | (Query::Cache, Answer::Cache(_))
            | (Query::Roles { .. }, Answer::Roles { .. })
            | (Query::Unfinished { .. }, Answer::Unfinished { .. }) => None,
            (Query::Edited(address), Answer::Edited(edited))
                if edited
                    .as_ref()
                    .is_none_or(|edited| edited.address == *address) =>
            {
                None
            }
            (Query::History(address), Answer::History { address: found, .. })
                if address == found =>
            {
                None
            }
            // What is resolved is open no longer.
            (Query::Conflicts { after, .. }, Answer::Conflicts { conflicts, .. })
                if conflicts.iter().all(|conflict| conflict.id > *after) =>
            {
                None
            }
            (Query::Explain(job), Answer::Explained { explanation, .. })
                if explanation.as_ref().is_none_or(|said| said.job.job == *job) =>
            {
                None
            }
            _ => {
                return ensure(false, Checker::FreshReads, || {
                    format!("{query:?} is answered {answer:?}")
                });
            }
        };
        ensure(
            before.is_none_or(|before| before > applied),
            Checker::FreshReads,
            || format!("{query:?} finds nothing as of {applied}, and was there at {before:?}"),
        )
    }

    fn moves_forward(&mut self, answer: &Answer, applied: LogIndex) -> Verdict {
        match answer {
            Answer::Job(None)
            | Answer::Context(None)
            | Answer::DeadLetter(_)
            | Answer::DeadLetters { .. }
            | Answer::Pauses(_)
            | Answer::Limits { .. }
            | Answer::Needs(_)
            | Answer::Worker(_)
            | Answer::Sources(_)
            | Answer::Cached(_)
            | Answer::Cache(_)
            | Answer::Roles { .. }
            | Answer::Edited(_)
            | Answer::History { .. }
            | Answer::Conflicts { .. }
            | Answer::Unfinished { .. } => Ok(()),
            Answer::Explained { explanation, .. } => check_explanation(explanation.as_deref()),
            Answer::Job(Some(job)) => {
                let known = self.jobs.entry(job.job).or_insert((applied, None));
                let order = in_order(known, (applied, job), is_later_job);
                ensure(order, Checker::FreshReads, || {
                    format!("as of {applied} {job:?}; that contradicts {known:?}")
                })?;
                keep(known, applied, job);
                Ok(())
            }
            Answer::Context(Some(context)) => {
                let known = self.contexts.entry(context.address.clone());
                let known = known.or_insert((applied, None));
                let order = in_order(known, (applied, context), |a, b| a.job <= b.job);
                ensure(order, Checker::FreshReads, || {
                    format!("as of {applied} {context:?}; that contradicts {known:?}")
                })?;
                keep(known, applied, context);
                Ok(())
            }
        }
    }
}

/// Can one job's second view be later than its first?
fn is_later_job(first: &JobView, second: &JobView) -> bool {
    (!first.state.is_terminal() || first.state == second.state)
        && first.last_token <= second.last_token
        && first.attempts <= second.attempts
        && first.failures <= second.failures
        && first.crashes <= second.crashes
}

fn in_order<T: PartialEq>(
    (known_at, known): &(LogIndex, Option<T>),
    (at, found): (LogIndex, &T),
    is_later: impl Fn(&T, &T) -> bool,
) -> bool {
    let Some(known) = known else {
        return true;
    };
    match at.cmp(known_at) {
        std::cmp::Ordering::Less => is_later(found, known),
        std::cmp::Ordering::Equal => known == found,
        std::cmp::Ordering::Greater => is_later(known, found),
    }
}

fn keep<T: Clone>(known: &mut (LogIndex, Option<T>), at: LogIndex, found: &T) {
    if at >= known.0 {
        *known = (at, Some(found.clone()));
    }
}

/// An explanation holds together: what is over is held by nothing, and what is not
/// by something that fits where it stands.
fn check_explanation(explanation: Option<&Explanation>) -> Verdict {
    let Some(said) = explanation else {
        return Ok(());
    };
    let fits = |hold: &Hold| match hold {
        Hold::Dependencies { open, first } => {
            let state = &said.job.state;
            *state == JobState::Waiting { open: *open } && !first.is_empty()
        }
        Hold::Delay { until, .. } => said.job.state == JobState::Delayed { until: *until },
        Hold::Behind { job } => said.job.state == JobState::Parked && *job != said.job.job,
        Hold::Turn { .. } | Hold::Memory { .. } => said.job.state == JobState::Ready,
        Hold::Running { lease, .. } => said.job.state == JobState::Running(*lease),
        Hold::Paused(_) | Hold::NoWorker | Hold::Unfit(_) | Hold::Limited(_) | Hold::Broken(_) => {
            !matches!(said.job.state, JobState::Running(_))
        }
    };
    let is_over = said.job.state.is_terminal();
    let failed = matches!(said.job.state, JobState::DependencyFailed { .. });
    let superseded = matches!(said.job.state, JobState::Superseded { .. });
    ensure(
        said.holds.is_empty() == is_over
            && said.holds.iter().all(fits)
            && said.causes.is_empty() != failed
            && (!superseded || said.instead.is_some()),
        Checker::FreshReads,
        || format!("{said:?} does not hold together"),
    )
}
