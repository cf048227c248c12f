//! Did everybody get what it may from the cache, and does nothing go that is needed?
//! What was published when, by an attempt of when, and what was invalidated is read from
//! the log and the audit, entry by entry, and every answer is held against that. Each
//! log index is judged once, at the replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, CacheMode, Command, Entry};
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, LogIndex, Token};
use precentor_core::job::{Generator, JobSpec, Reach};
use precentor_core::time::Stamp;
use precentor_core::view::View;

use super::effects::Effects;
use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// After so many entries more, a state says little of an entry.
const SEEN_WITHIN: u64 = 16;

/// What a job was made for.
#[derive(Clone, Debug)]
struct Asked {
    generator: Generator,
    needs: Vec<Address>,
}

/// A result that was taken.
#[derive(Clone, Debug)]
struct Made {
    address: Address,
    subject: Digest,
    /// None of a job that was redriven with what it needed: that is not told by name.
    generator: Option<Generator>,
    /// When its attempt was given out.
    began: LogIndex,
    at: Stamp,
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Cached {
    effects: Effects,
    /// What each job was made for that a request or a redrive made.
    jobs: BTreeMap<JobId, Asked>,
    made: BTreeMap<JobId, Made>,
    /// Which jobs' results were taken at an address.
    by_address: BTreeMap<Address, Vec<JobId>>,
    /// Jobs that may depend on an address, and are not known to be over.
    dependents: BTreeMap<Address, BTreeSet<JobId>>,
    invalidations: Vec<(LogIndex, Reach)>,
    /// Where all that is shown was looked at last.
    seen: LogIndex,
}

impl Cached {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        match self.effects.next(record, logs) {
            Some(entry) => self.on_entry(record, entry, view, marks),
            None => Ok(()),
        }
    }

    fn on_entry(
        &mut self,
        record: &AuditRecord,
        entry: &Entry,
        view: &View<'_>,
        marks: &mut Marks,
    ) -> Verdict {
        match &entry.command {
            Command::Submit { items } => {
                return self.on_items(items, CacheMode::Fresh, record, marks);
            }
            Command::Ask { items, mode } => return self.on_items(items, *mode, record, marks),
            Command::Complete { job, token, .. } => self.on_made(*job, *token, record.t, view),
            Command::Invalidate { reach } => {
                self.invalidations.push((record.index, reach.clone()));
                marks.hit(Mark::Invalidated);
            }
            Command::Redrive { .. } => self.on_redrive(record),
            Command::Evict { .. } => return self.on_evict(record, view, marks),
            _ => {}
        }
        Ok(())
    }

    fn on_made(&mut self, job: JobId, token: Token, at: Stamp, view: &View<'_>) {
        if self.made.contains_key(&job) {
            return;
        }
        // Simulated states purge nothing.
        let Some(known) = view.queue().job(job) else {
            return;
        };
        let of_it = self.by_address.entry(known.address.clone()).or_default();
        of_it.push(job);
        let made = Made {
            address: known.address,
            subject: known.subject,
            generator: self.jobs.get(&job).map(|asked| asked.generator.clone()),
            began: token.index,
            at,
        };
        self.made.insert(job, made);
    }

    /// `again as j12, new;` after the dead letter's own number.
    fn on_redrive(&mut self, record: &AuditRecord) {
        let (_, results) = record.text.split_once(": ").unwrap_or_default();
        for result in results.split(';') {
            let words: Vec<&str> = result.split_whitespace().collect();
            let [letter, "again", "as", job, ..] = words[..] else {
                continue;
            };
            let letter = number(letter).and_then(|letter| self.jobs.get(&letter).cloned());
            if let (Some(asked), Some(job)) = (letter, number(job.trim_end_matches(','))) {
                self.note_job(job, asked);
            }
        }
    }

    fn note_job(&mut self, job: JobId, asked: Asked) {
        for needed in &asked.needs {
            let dependents = self.dependents.entry(needed.clone()).or_default();
            dependents.insert(job);
        }
        self.jobs.entry(job).or_insert(asked);
    }

    fn on_items(
        &mut self,
        items: &[JobSpec],
        mode: CacheMode,
        record: &AuditRecord,
        marks: &mut Marks,
    ) -> Verdict {
        let (_, answers) = record.text.rsplit_once(": ").unwrap_or_default();
        let mut words = answers.split(' ');
        let mut next = move || Some((number(words.next()?), words.next()?));
        let mut fresh: Vec<(JobId, &JobSpec)> = Vec::new();
        for item in items {
            let Some((job, how)) = next() else { break };
            match how {
                "Cached" | "FromCache" => {
                    marks.hit(Mark::CacheAnswered);
                    ensure(mode != CacheMode::Refresh, Checker::CacheAsAsked, || {
                        format!(
                            "{} was asked for anew at {}, and came from the cache",
                            item.address, record.index
                        )
                    })?;
                    self.check_hit(item, job.filter(|_| how == "Cached"), record)?;
                }
                "NotCached" => marks.hit(Mark::NotCached),
                "Stale" => {
                    marks.hit(Mark::StaleServed);
                    self.check_stale(item, mode, job, record)?;
                    if let Some((Some(job), "Created" | "Parked")) = next() {
                        fresh.push((job, item));
                    }
                }
                "Attached" => {
                    // One that is over is never joined.
                    ensure(
                        job.is_none_or(|job| !self.made.contains_key(&job)),
                        Checker::CacheAsAsked,
                        || {
                            let address = &item.address;
                            format!("{address} was joined to {job:?}, which is done")
                        },
                    )?;
                }
                "FailedBefore" => {
                    ensure(mode != CacheMode::Refresh, Checker::CacheAsAsked, || {
                        let address = &item.address;
                        format!("{address} was asked for anew, and answered by a failure")
                    })?;
                }
                _ => {}
            }
            let is_made = matches!(how, "Created" | "Parked");
            ensure(
                mode != CacheMode::CachedOnly || matches!(how, "Cached" | "NotCached"),
                Checker::CacheAsAsked,
                || format!("{} makes a job: {}", record.index, record.text),
            )?;
            if let (true, Some(job)) = (is_made, job) {
                fresh.push((job, item));
            }
        }
        if mode == CacheMode::Refresh {
            marks.hit(Mark::Refreshed);
        }
        for (job, item) in fresh {
            let needs = item.dependencies.iter();
            let asked = Asked {
                generator: item.generator.clone(),
                needs: needs.map(|needed| needed.address.clone()).collect(),
            };
            self.note_job(job, asked);
        }
        Ok(())
    }

    /// None where it is not known what made it.
    fn is_valid(&self, made: &Made) -> Option<bool> {
        let later = self.invalidations.iter();
        let mut later = later.filter(|(index, _)| *index > made.began);
        let generator = made.generator.as_ref()?;
        Some(!later.any(|(_, reach)| reach.covers(&made.address, generator)))
    }

    /// Something valid was made of this very input, and by the job that is named.
    fn check_hit(&self, item: &JobSpec, by: Option<JobId>, record: &AuditRecord) -> Verdict {
        let made = self.by_address.get(&item.address).into_iter().flatten();
        let is_it = |job: &&JobId| {
            let made = &self.made[job];
            let by_it = |generator: &Generator| *generator == item.generator;
            by.is_none_or(|by| by == **job)
                && made.subject == item.subject
                && made.generator.as_ref().is_none_or(by_it)
                && self.is_valid(made) != Some(false)
        };
        let found = made.clone().find(is_it);
        ensure(found.is_some(), Checker::CacheAsAsked, || {
            format!(
                "{} with input {} came from the cache at {}; made there by {:?}, and none of it answers",
                item.address,
                item.subject,
                record.index,
                made.collect::<Vec<_>>()
            )
        })
    }

    fn check_stale(
        &self,
        item: &JobSpec,
        mode: CacheMode,
        by: Option<JobId>,
        record: &AuditRecord,
    ) -> Verdict {
        let made = by.and_then(|by| Some((by, self.made.get(&by)?)));
        let may = match (mode, made) {
            (CacheMode::StaleOk { max_age_ms }, Some((by, made))) => {
                let of_it = self.by_address.get(&item.address);
                of_it.is_some_and(|jobs| jobs.contains(&by))
                    && record.t.0 - made.at.0 <= max_age_ms
                    && self.is_valid(made) != Some(false)
            }
            _ => false,
        };
        ensure(may, Checker::CacheAsAsked, || {
            format!(
                "{} was asked for {mode} at {} and {:?}, and {by:?} answered, made {made:?}",
                item.address, record.index, record.t
            )
        })
    }

    /// ` ucxl://p/a of j3, 32 bytes;` is gone, what begins with `not` is not.
    fn on_evict(&mut self, record: &AuditRecord, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let (_, results) = record.text.split_once(": ").unwrap_or_default();
        for result in results.split(';') {
            let words: Vec<&str> = result.split_whitespace().collect();
            let [address, "of", _, _, "bytes"] = words[..] else {
                if result.contains("Needed") {
                    marks.hit(Mark::EvictionRefused);
                }
                continue;
            };
            marks.hit(Mark::Evicted);
            let Ok(address) = address.parse::<Address>() else {
                continue;
            };
            let Some(dependents) = self.dependents.get_mut(&address) else {
                continue;
            };
            // Who is not over later was not over then.
            let is_open = |job: &JobId| view.queue().unfinished_job(*job).is_some();
            dependents.retain(is_open);
            let needed = dependents.first().copied();
            ensure(needed.is_none(), Checker::Evictions, || {
                format!(
                    "{address} was evicted at {}, and {needed:?} depends on it",
                    record.index
                )
            })?;
        }
        Ok(())
    }

    /// What is shown as valid is, as far as the state is one that was just judged.
    pub(super) fn on_turn(&mut self, view: &View<'_>) -> Verdict {
        let applied = view.applied();
        let is_due = applied.0.is_multiple_of(SEEN_WITHIN) && applied > self.seen;
        if applied != self.effects.last() || !is_due {
            return Ok(());
        }
        // Every replica has the same state there: once is enough.
        self.seen = applied;
        for address in self.by_address.keys() {
            let Some(shown) = view.queue().cached_view(address) else {
                continue;
            };
            let Some(made) = self.made.get(&shown.context.job) else {
                continue;
            };
            let Some(valid) = self.is_valid(made) else {
                continue;
            };
            ensure(shown.invalid != valid, Checker::CacheAsAsked, || {
                format!(
                    "{address} is shown at {applied} as invalid: {}; {made:?} says otherwise",
                    shown.invalid
                )
            })?;
        }
        Ok(())
    }
}

fn number(word: &str) -> Option<JobId> {
    word.trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .ok()
        .map(JobId)
}
