//! `precentor audit`: what audit files say, and whether they are whole.

use std::collections::VecDeque;
use std::path::Path;

use precentor_core::command::AuditRecord;
use serde::Serialize;

use super::{CommandError, Exit, print, print_json};
use crate::audit::{self, AuditError, Verdict, compare, verify};
use crate::options::{Audit, AuditVerb};

impl From<AuditError> for CommandError {
    fn from(error: AuditError) -> CommandError {
        CommandError::new(Exit::Data, error)
    }
}

pub(super) fn run(verb: &Audit) -> Result<Exit, CommandError> {
    match &verb.what {
        AuditVerb::Verify { files, json } => {
            let verdicts = judged(files.iter().map(AsRef::as_ref))?;
            for verdict in &verdicts {
                match json {
                    true => print_json(verdict)?,
                    false => print(&text(verdict)),
                }
            }
            let whole = verdicts.iter().all(|verdict| verdict.flaws.is_empty());
            return Ok(if whole { Exit::Done } else { Exit::Incomplete });
        }
        AuditVerb::Tail { file, lines, json } => {
            let mut last = VecDeque::new();
            for record in records(file)? {
                last.push_back(record?);
                if last.len() > *lines as usize {
                    last.pop_front();
                }
            }
            last.iter().try_for_each(|record| show(record, *json))?;
        }
        AuditVerb::Export {
            file,
            from,
            to,
            json,
        } => {
            for record in records(file)? {
                let record = record?;
                if (*from..=*to).contains(&record.index.0) {
                    show(&record, *json)?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// Each file by itself, then held to the first, then with the gaps that others fill.
fn judged<'f>(files: impl Iterator<Item = &'f Path>) -> Result<Vec<Verdict>, CommandError> {
    let mut verdicts = files.map(verify).collect::<Result<Vec<_>, _>>()?;
    if let Some((first, others)) = verdicts.split_first_mut() {
        for other in others {
            other.flaws.extend(compare(&first.file, &other.file)?);
        }
    }
    let seen = verdicts.clone();
    verdicts
        .iter_mut()
        .for_each(|verdict| verdict.forgive(&seen));
    Ok(verdicts)
}

fn text(verdict: &Verdict) -> String {
    let Verdict {
        file,
        records,
        entries,
        flaws,
        head,
    } = verdict;
    let file = file.display();
    let from_to = match entries {
        Some((first, last)) => format!(" of i{first} to i{last}"),
        None => String::new(),
    };
    if flaws.is_empty() {
        let head = head
            .map(|head| format!(", up to {head}"))
            .unwrap_or_default();
        return format!("{file}: {records} records{from_to} are as they were written{head}");
    }
    let flaws: String = flaws.iter().map(|flaw| format!("\n  {flaw}")).collect();
    format!("{file}: {records} records{from_to} are NOT as they were written{flaws}")
}

/// All records; a line that is none ends it.
fn records(
    file: &Path,
) -> Result<impl Iterator<Item = Result<AuditRecord, CommandError>>, CommandError> {
    let named = file.display().to_string();
    Ok(audit::open(file)?.map(move |line| {
        let (number, record) = line?;
        record.map_err(|reason| {
            let message = format!("{named}: line {number} is no record: {reason}");
            CommandError::new(Exit::Data, message)
        })
    }))
}

/// For programs: digests as people write them. The field names are the words of `--json`.
#[derive(Serialize)]
struct Words<'r> {
    index: u64,
    term: u64,
    /// Cluster time, in milliseconds.
    t: u64,
    /// In milliseconds since 1970.
    wall_ms: u64,
    principal: &'r str,
    text: &'r str,
    digest: String,
}

fn show(record: &AuditRecord, json: bool) -> Result<(), CommandError> {
    let AuditRecord {
        index,
        term,
        t,
        wall_ms,
        principal,
        text,
        previous: _,
        digest,
    } = record;
    if json {
        return print_json(&Words {
            index: index.0,
            term: term.0,
            t: t.0,
            wall_ms: *wall_ms,
            principal: &principal.0,
            text,
            digest: digest.to_string(),
        });
    }
    print(&format!("{index} {term} {wall_ms} {principal}: {text}"));
    Ok(())
}
