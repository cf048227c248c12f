//! `precentor jobs`, `explain`, `cancel` and `dead`: what is in a cluster's queue, and
//! what an operator does about it.

use precentor_core::address::Address;
use precentor_core::command::{Cancellation, Command, Outcome, Purging, Redriving};
use precentor_core::ids::JobId;
use precentor_core::job::JobView;
use precentor_core::limits::{DEAD_LETTERS_LISTED_MAX, JOBS_LISTED_MAX};
use precentor_core::request::{Answer, Query};

use super::remote::{Cluster, senseless};
use super::{CommandError, Exit, print, print_json, warn};
use crate::http::words::{DeadLetterWords, ExplanationWords, JobWords};
use crate::options::{Cancel, Dead, Explain, Jobs};

pub(super) fn jobs(verb: &Jobs) -> Result<Exit, CommandError> {
    let within =
        Address::parse(&verb.within).map_err(|error| CommandError::new(Exit::Usage, error))?;
    let mut cluster = Cluster::of(&verb.cluster)?;
    let mut after = None;
    loop {
        let query = Query::Unfinished {
            within: within.clone(),
            after,
            count_max: JOBS_LISTED_MAX,
        };
        let (jobs, next) = match cluster.read(query)? {
            Answer::Unfinished { jobs, next } => (jobs, next),
            other => return Err(senseless(&other)),
        };
        for job in &jobs {
            match verb.json {
                true => print_json(&JobWords::from(job))?,
                false => print(&line(job)),
            }
        }
        if next.is_none() {
            return Ok(Exit::Done);
        }
        after = next;
    }
}

fn line(job: &JobView) -> String {
    format!("{} {} {}", job.job, job.address, job.state)
}

pub(super) fn explain(verb: &Explain) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let job = JobId(verb.job);
    match cluster.read(Query::Explain(job))? {
        Answer::Explained {
            explanation: Some(explanation),
            asking,
        } => {
            match verb.json {
                true => print_json(&ExplanationWords::new(&explanation, asking))?,
                false => print(&explanation.to_string()),
            }
            Ok(Exit::Done)
        }
        Answer::Explained { .. } => {
            let message =
                format!("{job} is not known: it never was, or it ended and was forgotten");
            Err(CommandError::new(Exit::NotFound, message))
        }
        other => Err(senseless(&other)),
    }
}

fn ids(jobs: &[u64]) -> Vec<JobId> {
    jobs.iter().copied().map(JobId).collect()
}

pub(super) fn cancel(verb: &Cancel) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let jobs = ids(&verb.jobs);
    let outcome = cluster.propose(Command::Cancel { jobs: jobs.clone() })?;
    let Outcome::Cancelled(became) = outcome else {
        return Err(senseless(&outcome));
    };
    let mut exit = Exit::Done;
    for (job, became) in jobs.iter().zip(became) {
        let text = match became {
            Cancellation::Ended { stops: None } => "is cancelled".to_owned(),
            Cancellation::Ended {
                stops: Some(worker),
            } => {
                format!("is cancelled; worker {worker} is told to stop")
            }
            Cancellation::Unknown => {
                exit = Exit::NotFound;
                "is not known".to_owned()
            }
            Cancellation::Over
            | Cancellation::Left
            | Cancellation::NotWaitedFor
            | Cancellation::Further { .. } => "was over already".to_owned(),
        };
        print(&format!("{job} {text}"));
    }
    Ok(exit)
}

pub(super) fn dead(verb: &Dead) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    if !verb.redrive.is_empty() {
        return redrive(&mut cluster, ids(&verb.redrive), verb.dependents);
    }
    if !verb.purge.is_empty() {
        return purge(&mut cluster, ids(&verb.purge));
    }
    let mut after = JobId(0);
    loop {
        let query = Query::DeadLetters {
            after,
            count_max: DEAD_LETTERS_LISTED_MAX,
        };
        let (letters, next) = match cluster.read(query)? {
            Answer::DeadLetters { letters, next } => (letters, next),
            other => return Err(senseless(&other)),
        };
        for letter in &letters {
            match verb.json {
                true => print_json(&DeadLetterWords::from(letter))?,
                false => print(&line(&letter.job)),
            }
        }
        match next {
            Some(next) => after = next,
            None => return Ok(Exit::Done),
        }
    }
}

fn redrive(
    cluster: &mut Cluster,
    jobs: Vec<JobId>,
    dependents: bool,
) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    let mut named = jobs;
    // One entry does only so much: what is left is named again.
    while !named.is_empty() {
        let command = Command::Redrive {
            jobs: named.clone(),
            dependents,
        };
        let redrive = match cluster.propose_once(command)? {
            Outcome::Redriven(redrive) => redrive,
            other => return Err(senseless(&other)),
        };
        for (job, became) in named.iter().zip(&redrive.jobs) {
            let text = match became {
                Redriving::Again { job, .. } => format!("is done again as {job}"),
                Redriving::Before { job } => format!("was redriven before, as {job}"),
                Redriving::Published { by } => format!("is not needed: {by} made it meanwhile"),
                Redriving::Outdated { by } => format!("is outdated by {by}"),
                Redriving::Later => continue,
                Redriving::Needs { address } => {
                    exit = Exit::Incomplete;
                    format!(
                        "requires {address}, which is not there and has no job: redrive or submit that one first"
                    )
                }
                Redriving::NotDead => {
                    exit = Exit::Incomplete;
                    "is not over, or ended otherwise".to_owned()
                }
                Redriving::NotKept => {
                    exit = Exit::NotFound;
                    "is not kept any more: submit it anew".to_owned()
                }
                Redriving::Unknown => {
                    exit = Exit::NotFound;
                    "is not known".to_owned()
                }
            };
            print(&format!("{job} {text}"));
        }
        if redrive.dependents > 0 {
            print(&format!(
                "and {} that failed for want of it",
                redrive.dependents
            ));
        }
        if redrive.lacking > 0 {
            warn(&format!(
                "{} more were not: they require something else that is not there",
                redrive.lacking
            ));
        }
        named = redrive.next;
    }
    Ok(exit)
}

fn purge(cluster: &mut Cluster, jobs: Vec<JobId>) -> Result<Exit, CommandError> {
    let outcome = cluster.propose(Command::Purge { jobs: jobs.clone() })?;
    let Outcome::Purged(became) = outcome else {
        return Err(senseless(&outcome));
    };
    let mut exit = Exit::Done;
    for (job, became) in jobs.iter().zip(became) {
        let text = match became {
            Purging::Purged => "is forgotten",
            Purging::NotKept => {
                exit = Exit::NotFound;
                "is no dead letter that is kept"
            }
        };
        print(&format!("{job} {text}"));
    }
    Ok(exit)
}
