//! The audit chain: every entry leaves one record in words, linked to the one
//! before by digest. The state keeps only the chain's head.

mod told;

use std::fmt::Write;
use std::sync::LazyLock;

use crate::bytes::Bytes;
use crate::command::{
    Admission, AfterFailure, Asked, AuditRecord, Cancellation, ClaimRule, Command, Entry, Evicting,
    Eviction, Outcome, Purging, Redriving, Reprioritisation, Submitted,
};
use crate::digest::{Digest, DigestBuilder};
use crate::edit::Merge;
use crate::ids::{LogIndex, Term};
use crate::job::Class;
use crate::limits::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX};
use crate::principal::Principal;

use super::QueueManager;
use super::attempts::cut;
use super::edits::{words_of_edit, words_of_resolution};

const AUDIT_DOMAIN: &str = "precentor 2026 audit record";
const COMMAND_DOMAIN: &str = "precentor 2026 request";

/// What the digests begin with: their domains are digested once.
static RECORDS: LazyLock<DigestBuilder> = LazyLock::new(|| DigestBuilder::new(AUDIT_DOMAIN));
static COMMANDS: LazyLock<DigestBuilder> = LazyLock::new(|| DigestBuilder::new(COMMAND_DOMAIN));

impl QueueManager {
    /// Adds a link to the chain.
    pub(super) fn chain(
        &mut self,
        index: LogIndex,
        term: Term,
        wall_ms: u64,
        principal: &Principal,
        text: String,
    ) -> AuditRecord {
        let mut record = AuditRecord {
            index,
            term,
            t: self.head.now,
            wall_ms,
            principal: principal.clone(),
            text,
            previous: self.head.audit,
            digest: Digest::ZERO,
        };
        record.digest = digest_of_record(&record);
        self.head.audit = record.digest;
        record
    }
}

/// What the digest of a record must be: over everything else in it.
#[must_use]
pub fn digest_of_record(record: &AuditRecord) -> Digest {
    let mut numbers = [0; 32];
    let values = [record.index.0, record.term.0, record.t.0, record.wall_ms];
    for (slot, value) in numbers.chunks_exact_mut(8).zip(values) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    let mut builder = RECORDS.clone();
    builder.part(&numbers);
    builder.part(record.principal.0.as_bytes());
    builder.part(record.text.as_bytes());
    builder.part(&record.previous.0);
    builder.finish()
}

/// Tells one request's content from another's.
pub(super) fn digest_of_command(command: &Command) -> Digest {
    // Room for a large one at once, for it is not to grow step by step.
    let items = match command {
        Command::Submit { items } | Command::Ask { items, .. } => items.len(),
        _ => 0,
    };
    let room = Vec::with_capacity(256 + 192 * items);
    let bytes = postcard::to_extend(command, room).expect("our own types serialise");
    let mut builder = COMMANDS.clone();
    builder.part(&bytes);
    builder.finish()
}

/// What was asked, in words.
pub(super) fn words_of_command(command: &Command) -> String {
    match command {
        Command::TakeOver { term, node } => format!("take-over by {node} in {term}"),
        Command::OpenSession => "open a session".to_owned(),
        Command::Submit { items } => match items.first() {
            Some(item) if items.len() == 1 => format!("submit {}", item.address),
            Some(item) => format!("submit {} items from {} on", items.len(), item.address),
            None => "submit nothing".to_owned(),
        },
        Command::Register { worker } => format!(
            "register {} {} with {} slots for {}",
            worker.worker,
            worker.incarnation,
            worker.slots,
            worker.engines.join(", ")
        ),
        Command::PutOffer {
            worker,
            incarnation,
            offer,
        } => {
            let words = format!("let {worker} {incarnation} have {offer}");
            cut(&words, MESSAGE_BYTES_MAX).to_owned()
        }
        Command::PutNeeds { engine, needs } => {
            let words = format!("let engine {} need {needs}", word_of(engine));
            cut(&words, MESSAGE_BYTES_MAX).to_owned()
        }
        // The outcome says it: only there are the tokens known.
        Command::Claim { claims } => format!("claim {} jobs", claims.len()),
        Command::ClaimFrom { claims } => format!("claim {} jobs", claims.len()),
        Command::ClaimTogether { claims, .. } => format!("claim {} jobs", claims.len()),
        Command::Complete {
            job, token, result, ..
        } => format!("complete {job} by {token:?} with {result}"),
        Command::Fail {
            job,
            token,
            class,
            message,
            ..
        } => format!("fail {job} by {token:?}, {class:?}: {message}"),
        Command::FailTogether {
            job,
            token,
            class,
            message,
            ..
        } => format!("fail all that is run with {job} by {token:?}, {class:?}: {message}"),
        Command::Release { job, token } => format!("release {job} by {token:?}"),
        Command::Expire { leases } => {
            let mut words = "expire".to_owned();
            for lease in leases {
                add(&mut words, format_args!(" {} {:?}", lease.job, lease.token));
            }
            words
        }
        Command::Tick => "tick".to_owned(),
        Command::RaiseLevel { to } => format!("raise the cluster to {to}"),
        // The outcome says which.
        Command::Leave { jobs } => format!("leave {} jobs", jobs.len()),
        Command::Cancel { jobs } => format!("cancel {} jobs", jobs.len()),
        Command::Redrive { jobs, dependents } => match dependents {
            true => format!("redrive {} jobs with dependents", jobs.len()),
            false => format!("redrive {} jobs", jobs.len()),
        },
        Command::Purge { jobs } => format!("purge {} dead letters", jobs.len()),
        Command::Reprioritise { jobs, class } => {
            format!("make {} jobs {}", jobs.len(), word_of_class(*class))
        }
        Command::Pause { scope, reason } => {
            let reason = cut(reason, MESSAGE_BYTES_MAX);
            format!("pause {}: {reason}", word_of(scope))
        }
        Command::Resume { scope } => format!("resume {}", word_of(scope)),
        Command::Expel { worker } => format!("expel {worker}"),
        Command::PutLimits { account, limits } => {
            format!("limit {} to {limits}", word_of(account))
        }
        Command::Ask { items, mode } => match items.first() {
            Some(item) if items.len() == 1 => format!("ask for {}, {mode}", item.address),
            Some(item) => {
                let count = items.len();
                format!("ask for {count} items from {} on, {mode}", item.address)
            }
            None => format!("ask for nothing, {mode}"),
        },
        Command::Invalidate { reach } => {
            let mut words = format!("invalidate {reach}");
            words.truncate(cut(&words, MESSAGE_BYTES_MAX).len());
            words
        }
        Command::PutBudget {
            bytes_max: Some(bytes),
        } => format!("let results take {bytes} bytes"),
        Command::PutBudget { bytes_max: None } => "let results take any room".to_owned(),
        Command::KeepSources { sources } => {
            let bytes: u64 = sources.iter().map(Bytes::count).sum();
            format!("keep {} sources of {bytes} bytes", sources.len())
        }
        Command::PutSourceBudget { bytes_max } => {
            format!("let sources count for {bytes_max} bytes")
        }
        // The outcome says which.
        Command::Evict { evictions } => format!("evict {} results", evictions.len()),
        Command::PutRoles { principal, grants } => {
            told::words_of_roles(&word_of(principal), grants)
        }
        Command::NoteDenials { denied, others } => told::words_of_denials(denied, *others),
        Command::Annotate {
            address,
            edit,
            basis,
        } => words_of_edit(address, edit, basis),
        Command::Resolve {
            address,
            conflict,
            revision,
            author,
            resolution,
        } => {
            let how = words_of_resolution(resolution);
            format!("resolve {conflict} of {address} at {revision} as {author:?}: {how}")
        }
    }
}

fn add_after(words: &mut String, after: &AfterFailure) {
    match after {
        AfterFailure::Retry { at } => add(words, format_args!(": again at {at:?}")),
        AfterFailure::Dead => words.push_str(": dead"),
        AfterFailure::Superseded { by } => add(words, format_args!(": superseded by {by}")),
    }
}

/// What was asked and what came of it, in words.
pub(super) fn words(asked: &str, entry: &Entry, outcome: &Outcome) -> String {
    let mut words = String::with_capacity(asked.len() + 64);
    words.push_str(asked);
    if let Some(request) = entry.request {
        add(
            &mut words,
            format_args!(" ({} {})", request.session, request.sequence),
        );
    }
    match outcome {
        Outcome::TookOver => words.push_str(": done"),
        Outcome::SessionOpened(session) => add(&mut words, format_args!(": {session}")),
        Outcome::Submitted(items) => {
            words.push(':');
            for item in items {
                add_submitted(&mut words, item);
            }
        }
        Outcome::Asked(items) => {
            words.push(':');
            for item in items {
                add_asked(&mut words, item);
            }
        }
        Outcome::Invalidated { published } => words.push_str(match published {
            Some(true) => ": done",
            Some(false) => ": nothing is published there",
            None => ": begun",
        }),
        Outcome::BudgetPut { before } => match before {
            Some(bytes) => add(&mut words, format_args!(": before it was {bytes}")),
            None => words.push_str(": before it was any"),
        },
        Outcome::SourcesKept { fresh } => add(&mut words, format_args!(": {fresh} are new")),
        Outcome::SourceBudgetPut { before } => {
            add(&mut words, format_args!(": before it was {before}"));
        }
        Outcome::Evicted(results) => {
            words.push(':');
            let Command::Evict { evictions } = &entry.command else {
                panic!("only an evict is answered by {outcome:?}");
            };
            for (eviction, result) in evictions.iter().zip(results) {
                let Eviction { address, job } = eviction;
                match result {
                    Evicting::Evicted { bytes } => {
                        add(
                            &mut words,
                            format_args!(" {address} of {job}, {bytes} bytes;"),
                        );
                    }
                    refused => {
                        add(
                            &mut words,
                            format_args!(" not {address} of {job}, {refused:?};"),
                        );
                    }
                }
            }
        }
        Outcome::Registered | Outcome::LevelRaised => words.push_str(": done"),
        Outcome::Claimed(results) => {
            words.push(':');
            let weighed = match &entry.command {
                Command::Claim { .. } => [].as_slice(),
                Command::ClaimFrom { claims } | Command::ClaimTogether { claims, .. } => {
                    claims.as_slice()
                }
                _ => panic!("only a claim is answered by {outcome:?}"),
            };
            let mut weighed = weighed.iter();
            for (position, (claim, result)) in entry.command.claims().zip(results).enumerate() {
                let weighed = weighed.next();
                let why = match claim.rule {
                    ClaimRule::OnlyFit => "the only one fit",
                    ClaimRule::LeastLoaded => "least loaded",
                    ClaimRule::LeastRecentlyUsed => "least recently used",
                    ClaimRule::AtHome => "at home",
                    ClaimRule::WithOthers => "with others",
                };
                let (job, worker) = (claim.job, claim.worker);
                match result {
                    Ok(token) => add(
                        &mut words,
                        format_args!(" {job} to {worker} by {token:?}, {why}"),
                    ),
                    Err(refusal) => add(
                        &mut words,
                        format_args!(" {job} not to {worker}, {refusal:?}"),
                    ),
                }
                if let (Some(weighed), Ok(_)) = (weighed, result) {
                    told::add_weights(&mut words, weighed);
                    if let Some(first) = entry.command.first_of_run(position) {
                        add(&mut words, format_args!(", run with {first}"));
                    }
                }
                words.push(';');
            }
        }
        Outcome::Completed => words.push_str(": done"),
        Outcome::Failed(after) => add_after(&mut words, after),
        Outcome::NeedsPut(before) => add(&mut words, format_args!(": before it was {before}")),
        Outcome::OfferPut(before) => add(&mut words, format_args!(": before it was {before}")),
        Outcome::FailedTogether { jobs, after } => {
            add(&mut words, format_args!(": {jobs} jobs"));
            add_after(&mut words, after);
        }
        Outcome::Released => words.push_str(": done"),
        Outcome::Expired { count } => add(&mut words, format_args!(": {count} were held")),
        Outcome::Ticked { count } => add(&mut words, format_args!(": {count} moved")),
        Outcome::Cancelled(results) => {
            words.push(':');
            let (Command::Leave { jobs } | Command::Cancel { jobs }) = &entry.command else {
                panic!("only a leave or cancel is answered by {outcome:?}");
            };
            for (job, result) in jobs.iter().zip(results) {
                add(
                    &mut words,
                    format_args!(" {job} {};", words_of_cancellation(*result)),
                );
            }
        }
        Outcome::Redriven(redrive) => {
            words.push(':');
            let Command::Redrive { jobs, .. } = &entry.command else {
                panic!("only a redrive is answered by {outcome:?}");
            };
            for (job, result) in jobs.iter().zip(&redrive.jobs) {
                add(&mut words, format_args!(" {job} "));
                add_redriving(&mut words, result);
                words.push(';');
            }
            add(
                &mut words,
                format_args!(
                    " {} dependents, {} lacking",
                    redrive.dependents, redrive.lacking
                ),
            );
        }
        Outcome::Purged(results) => {
            words.push(':');
            let Command::Purge { jobs } = &entry.command else {
                panic!("only a purge is answered by {outcome:?}");
            };
            for (job, result) in jobs.iter().zip(results) {
                let result = match result {
                    Purging::Purged => "is purged",
                    Purging::NotKept => "was not kept",
                };
                add(&mut words, format_args!(" {job} {result};"));
            }
        }
        Outcome::Reprioritised(results) => {
            words.push(':');
            let Command::Reprioritise { jobs, .. } = &entry.command else {
                panic!("only a reprioritise is answered by {outcome:?}");
            };
            for (job, result) in jobs.iter().zip(results) {
                match result {
                    Reprioritisation::Now { class } => {
                        add(
                            &mut words,
                            format_args!(" {job} is {};", word_of_class(*class)),
                        );
                    }
                    Reprioritisation::Over => add(&mut words, format_args!(" {job} was over;")),
                    Reprioritisation::Unknown => {
                        add(&mut words, format_args!(" {job} is unknown;"));
                    }
                }
            }
        }
        Outcome::Paused { before } | Outcome::Resumed { before } => words.push_str(match before {
            true => ": was so before",
            false => ": done",
        }),
        Outcome::Expelled { known: false, .. } => words.push_str(": is not known"),
        Outcome::Expelled { known: true, jobs } => {
            add(&mut words, format_args!(": it ran {jobs} jobs"));
        }
        Outcome::LimitsPut { before } => {
            add(&mut words, format_args!(": before it was {before}"));
        }
        Outcome::RolesPut { before } => {
            add(&mut words, format_args!(": it had {before} grants"));
        }
        Outcome::DenialsNoted => {}
        Outcome::Annotated {
            revision,
            merge,
            conflicts,
        } => {
            add(&mut words, format_args!(": {revision}"));
            if *merge == Merge::Concurrent {
                words.push_str(", merged with what its author had not seen");
            }
            for conflict in conflicts {
                add(&mut words, format_args!(", conflict {conflict}"));
            }
        }
        Outcome::Resolved { revision } => add(&mut words, format_args!(": {revision}")),
        Outcome::Rejected(rejection) => {
            add(&mut words, format_args!(": rejected: {rejection}"));
        }
    }
    words
}

fn add_submitted(words: &mut String, item: &Submitted) {
    add(words, format_args!(" {} ", item.job));
    words.push_str(match item.how {
        Admission::FromCache => "FromCache",
        Admission::Attached => "Attached",
        Admission::Parked => "Parked",
        Admission::FailedBefore => "FailedBefore",
        Admission::Created => "Created",
    });
}

fn add_asked(words: &mut String, item: &Asked) {
    match item {
        Asked::Job(submitted) => add_submitted(words, submitted),
        Asked::Stale { cached, refresh } => {
            add(words, format_args!(" {} Stale", cached.by));
            add_submitted(words, refresh);
        }
        Asked::Cached(cached) => add(words, format_args!(" {} Cached", cached.by)),
        Asked::NotCached => words.push_str(" none NotCached"),
    }
}

fn words_of_cancellation(result: Cancellation) -> String {
    match result {
        Cancellation::Ended { stops: None } => "ended".to_owned(),
        Cancellation::Ended {
            stops: Some(worker),
        } => format!("ended, {worker} is to stop"),
        Cancellation::Left => "left".to_owned(),
        Cancellation::Over => "was over".to_owned(),
        Cancellation::NotWaitedFor => "was not waited for".to_owned(),
        Cancellation::Unknown => "is unknown".to_owned(),
        Cancellation::Further { job } => format!("is {job} by now"),
    }
}

fn add_redriving(words: &mut String, result: &Redriving) {
    match result {
        Redriving::Again { job, how } => {
            let how = match how {
                Admission::Attached => "live already",
                Admission::Parked => "behind an older input",
                Admission::Created | Admission::FromCache | Admission::FailedBefore => "new",
            };
            add(words, format_args!("again as {job}, {how}"));
        }
        Redriving::Before { job } => add(words, format_args!("was redriven as {job}")),
        Redriving::Published { by } => add(words, format_args!("was published by {by}")),
        Redriving::Outdated { by } => add(words, format_args!("is outdated by {by}")),
        Redriving::Needs { address } => add(words, format_args!("needs {address}")),
        Redriving::Later => words.push_str("has to wait"),
        Redriving::NotDead => words.push_str("is no dead letter"),
        Redriving::NotKept => words.push_str("is not kept"),
        Redriving::Unknown => words.push_str("is unknown"),
    }
}

/// What has a name that may be far too long.
fn word_of(named: &impl std::fmt::Display) -> String {
    let bytes_max = 2 * NAME_BYTES_MAX;
    let mut words = named.to_string();
    words.truncate(cut(&words, bytes_max).len());
    words
}

fn word_of_class(class: Class) -> &'static str {
    match class {
        Class::Urgent => "urgent",
        Class::Normal => "normal",
        Class::Background => "background",
        Class::Idle => "idle",
    }
}

fn add(words: &mut String, what: std::fmt::Arguments<'_>) {
    words.write_fmt(what).expect("a String takes any text");
}
