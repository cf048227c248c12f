//! What the replicated state says, in words that stay the same.

use precentor_core::request::Answer;

use super::caching;
use super::edits::{words_of_conflict, words_of_edited, words_of_history};
use super::outcomes::{words_of_grants, words_of_letter};
use super::words_of_job;

pub(super) fn words_of_answer(answer: &Answer) -> String {
    match answer {
        Answer::Job(Some(job)) => words_of_job(job),
        Answer::Job(None) => "no such job".into(),
        Answer::Context(Some(context)) => format!(
            "input {:?}, result {:?}, by {}",
            context.subject, context.result, context.job
        ),
        Answer::Context(None) => "no context".into(),
        Answer::DeadLetter(Some(letter)) => words_of_letter(letter),
        Answer::DeadLetter(None) => "no such dead letter".into(),
        Answer::DeadLetters { letters, next } => {
            let mut words: Vec<String> = letters.iter().map(words_of_letter).collect();
            words.extend(next.map(|next| format!("more after {next}")));
            match words.is_empty() {
                true => "no dead letters".into(),
                false => words.join("; "),
            }
        }
        Answer::Explained {
            explanation,
            asking,
        } => {
            let why = match explanation {
                Some(explanation) => explanation.to_string().replace("\n ", ";"),
                None => "no such job".into(),
            };
            match asking {
                Some(asking) => format!("{why}; {asking} workers ask"),
                None => why,
            }
        }
        Answer::Pauses(pauses) => {
            let pauses = pauses.iter().map(|pause| {
                format!(
                    "{} is paused since {:?} by {}: {}",
                    pause.scope, pause.since, pause.by, pause.reason
                )
            });
            one_or_more(pauses.collect(), "nothing is paused")
        }
        Answer::Limits { accounts, breakers } => {
            let accounts = accounts.iter().map(ToString::to_string);
            let breakers = breakers.iter().map(ToString::to_string);
            one_or_more(accounts.chain(breakers).collect(), "nothing is limited")
        }
        Answer::Needs(needs) => {
            let needs = needs.iter();
            let needs = needs.map(|one| format!("engine {} needs {}", one.engine, one.needs));
            one_or_more(needs.collect(), "no engine needs anything")
        }
        Answer::Worker(Some(view)) => format!(
            "{} {} of {} slots has {}; holds {}, which need {} MiB{}",
            view.spec.worker,
            view.spec.incarnation,
            view.spec.slots,
            view.offer,
            view.held,
            view.memory_used_mib,
            if view.drained { "; drained" } else { "" }
        ),
        Answer::Worker(None) => "no such worker".into(),
        Answer::Sources(view) => {
            let lacking: Vec<_> = view.lacking.iter().map(|it| format!("{it:?}")).collect();
            format!(
                "{} sources count for {} of {} bytes, {} held; lacking: {}",
                view.count,
                view.bytes,
                view.bytes_max,
                view.bytes_held,
                one_or_more(lacking, "none")
            )
        }
        Answer::Unfinished { jobs, next } => {
            let mut words: Vec<String> = jobs.iter().map(words_of_job).collect();
            words.extend(next.as_ref().map(|next| format!("more after {next}")));
            one_or_more(words, "no unfinished jobs")
        }
        Answer::Edited(None) => "nothing is known of it".into(),
        Answer::Edited(Some(edited)) => words_of_edited(edited),
        Answer::History { results, edits, .. } => {
            one_or_more(words_of_history(results, edits), "no history")
        }
        Answer::Conflicts { conflicts, next } => {
            let mut words: Vec<String> = conflicts.iter().map(words_of_conflict).collect();
            words.extend(next.map(|next| format!("more after {next}")));
            one_or_more(words, "no open conflicts")
        }
        Answer::Cached(view) => caching::words_of_cached(view.as_deref()),
        Answer::Cache(view) => caching::words_of_cache(view),
        Answer::Roles { rights, next } => {
            let rights = rights
                .iter()
                .map(|one| format!("{}: {}", one.principal, words_of_grants(&one.grants)));
            let next = next.iter().map(|next| format!("more after {next}"));
            one_or_more(rights.chain(next).collect(), "everybody may do everything")
        }
    }
}

fn one_or_more(parts: Vec<String>, none: &str) -> String {
    match parts.len() {
        0 => none.to_owned(),
        _ => parts.join("; "),
    }
}
