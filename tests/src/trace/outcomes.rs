//! What came of a command, in the words of a trace.

use precentor_core::access::Grant;
use precentor_core::command::{
    AfterFailure, Cancellation, Outcome, Purging, Redriving, Reprioritisation,
};
use precentor_core::edit::Merge;
use precentor_core::job::DeadLetter;

use super::caching;
use super::{words_of_job, words_of_jobs};

pub(super) fn words_of_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::TookOver => "took over".into(),
        Outcome::SessionOpened(session) => format!("session {session}"),
        Outcome::Submitted(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| format!("{} {:?}", item.job, item.how).to_lowercase())
                .collect();
            items.join(", ")
        }
        Outcome::Registered => "registered".into(),
        Outcome::Claimed(claims) => format!("{} claims", claims.len()),
        Outcome::Completed => "completed".into(),
        Outcome::Failed(after) => words_of_failure(after),
        Outcome::NeedsPut(before) => format!("before it was {before}"),
        Outcome::OfferPut(before) => format!("before it was {before}"),
        Outcome::SourcesKept { fresh } => format!("kept, {fresh} of them new"),
        Outcome::SourceBudgetPut { before } => format!("room, before: {before} bytes"),
        Outcome::FailedTogether { jobs, after } => {
            format!("{jobs} failed: {}", words_of_failure(after))
        }
        Outcome::Released => "released".into(),
        Outcome::Expired { count } => format!("{count} expired"),
        Outcome::Ticked { count } => format!("{count} moved"),
        Outcome::LevelRaised => "raised".into(),
        Outcome::Cancelled(results) => {
            let results = results.iter().copied().map(words_of_cancellation);
            results.collect::<Vec<_>>().join(", ")
        }
        Outcome::Redriven(redrive) => {
            let mut words: Vec<String> = redrive.jobs.iter().map(words_of_redriving).collect();
            if redrive.dependents > 0 {
                words.push(format!("{} dependents", redrive.dependents));
            }
            if redrive.lacking > 0 {
                words.push(format!("{} lacking", redrive.lacking));
            }
            if !redrive.next.is_empty() {
                words.push(format!("next {}", words_of_jobs(&redrive.next)));
            }
            words.join(", ")
        }
        Outcome::Purged(results) => {
            let results = results.iter().map(|result| match result {
                Purging::Purged => "purged",
                Purging::NotKept => "not kept",
            });
            results.collect::<Vec<_>>().join(", ")
        }
        Outcome::Reprioritised(results) => {
            let results = results.iter().map(|result| match result {
                Reprioritisation::Now { class } => format!("now {class:?}").to_lowercase(),
                Reprioritisation::Over => "over".into(),
                Reprioritisation::Unknown => "unknown".into(),
            });
            results.collect::<Vec<_>>().join(", ")
        }
        Outcome::Paused { before: false } => "paused".into(),
        Outcome::Paused { before: true } => "was paused".into(),
        Outcome::Resumed { before: false } => "resumed".into(),
        Outcome::Resumed { before: true } => "was not paused".into(),
        Outcome::Expelled { known: false, .. } => "not known".into(),
        Outcome::Expelled { known: true, jobs } => format!("expelled, ran {jobs}"),
        Outcome::LimitsPut { before } => format!("limited, before: {before}"),
        Outcome::Asked(items) => caching::words_of_asked(items),
        Outcome::Invalidated { published } => match published {
            Some(true) => "invalid".into(),
            Some(false) => "nothing there".into(),
            None => "invalid from here on".into(),
        },
        Outcome::BudgetPut { before } => {
            format!("budget, before: {}", caching::words_of_budget(*before))
        }
        Outcome::Evicted(results) => caching::words_of_evicted(results),
        Outcome::RolesPut { before } => format!("may do that, before: {before} grants"),
        Outcome::DenialsNoted => "noted".into(),
        Outcome::Annotated {
            revision,
            merge,
            conflicts,
        } => {
            let mut words = format!("{revision}");
            if *merge == Merge::Concurrent {
                words.push_str(", merged with what its author had not seen");
            }
            for conflict in conflicts {
                words.push_str(&format!(", conflict {conflict}"));
            }
            words
        }
        Outcome::Resolved { revision } => format!("resolved, {revision}"),
        Outcome::Rejected(rejection) => format!("rejected: {rejection}"),
    }
}

fn words_of_redriving(result: &Redriving) -> String {
    match result {
        Redriving::Again { job, how } => format!("again as {job} {how:?}").to_lowercase(),
        Redriving::Before { job } => format!("was redriven as {job}"),
        Redriving::Published { by } => format!("published by {by}"),
        Redriving::Outdated { by } => format!("outdated by {by}"),
        Redriving::Needs { address } => format!("needs {}", address.path()),
        Redriving::Later => "later".into(),
        Redriving::NotDead => "not dead".into(),
        Redriving::NotKept => "not kept".into(),
        Redriving::Unknown => "unknown".into(),
    }
}

pub(super) fn words_of_letter(letter: &DeadLetter) -> String {
    let attempts = letter.attempts.iter().map(|attempt| {
        let end = match &attempt.ended {
            Some(end) => format!(", {:?} at {:?}", end.class, end.at),
            None => String::new(),
        };
        format!(
            " [{} {} by {} from {:?}{end}]",
            attempt.number, attempt.worker, attempt.token, attempt.began
        )
    });
    let attempts: String = attempts.collect();
    let redriven = match letter.redriven {
        Some(job) => format!(", redriven as {job}"),
        None => String::new(),
    };
    format!("{}{attempts}{redriven}", words_of_job(&letter.job))
}

fn words_of_cancellation(result: Cancellation) -> String {
    match result {
        Cancellation::Ended { stops: None } => "ended".into(),
        Cancellation::Ended {
            stops: Some(worker),
        } => format!("ended, {worker} stops"),
        Cancellation::Left => "left".into(),
        Cancellation::Over => "over".into(),
        Cancellation::NotWaitedFor => "not waited for".into(),
        Cancellation::Unknown => "unknown".into(),
        Cancellation::Further { job } => format!("further at {job}"),
    }
}

/// Grants in words.
pub(super) fn words_of_grants(grants: &[Grant]) -> String {
    let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
    match grants.is_empty() {
        true => "nothing".into(),
        false => grants.join(", "),
    }
}

fn words_of_failure(after: &AfterFailure) -> String {
    match after {
        AfterFailure::Retry { at } => format!("again at {at:?}"),
        AfterFailure::Dead => "dead".into(),
        AfterFailure::Superseded { by } => format!("superseded by {by}"),
    }
}
