//! The verbs of those who say something of contexts.

use anyhow::{Context, Result, bail};
use precentor_core::command::Command;
use precentor_core::edit::{Author, Basis, Change, ConflictId, Edit, Note, Resolution};
use precentor_core::ids::{ActorId, Revision};
use precentor_core::request::Query;
use precentor_core::version::{Dot, VersionVector};

use crate::words::{Words, address, token};

/// `PATH person at rev0 + note NAME TEXT + …`, or `PATH agent by a1 a1:1 a2:3 + …`.
pub(super) fn annotate(words: &mut Words<'_>) -> Result<Command> {
    let line = words.rest();
    let mut parts = line.split(" + ");
    let mut head = Words::new(parts.next().unwrap_or_default());
    let address = address(head.need("an address")?)?;
    let author = author(&mut head)?;
    let basis = match head.need("at or by")? {
        "at" => Basis::Revision(Revision(head.number("rev")?)),
        "by" => {
            let actor = ActorId(head.number("a")?);
            let mut version = VersionVector::new();
            while let Some(word) = head.take() {
                version.see(dot(word)?);
            }
            Basis::Version { actor, version }
        }
        other => bail!("{other:?} is neither at nor by"),
    };
    head.end()?;
    let changes = parts.map(|part| change(&mut Words::new(part)));
    let changes = changes.collect::<Result<_>>()?;
    let edit = Edit { author, changes };
    Ok(Command::Annotate {
        address,
        edit,
        basis,
    })
}

/// `PATH c7.0 rev2 person keep a1:1`, or `dismiss`, or `merge note NAME TEXT`.
pub(super) fn resolve(words: &mut Words<'_>) -> Result<Command> {
    Ok(Command::Resolve {
        address: address(words.need("an address")?)?,
        conflict: conflict(words.need("a conflict")?)?,
        revision: Revision(words.number("rev")?),
        author: author(words)?,
        resolution: Box::new(match words.need("keep, dismiss or merge")? {
            "keep" => Resolution::Keep {
                side: dot(words.need("a side such as a1:1")?)?,
            },
            "dismiss" => Resolution::Dismiss,
            "merge" => Resolution::Merge(change(words)?),
            other => bail!("{other:?} is no resolution"),
        }),
    })
}

/// What is asked of what people say.
pub(super) fn edited(question: &str, words: &mut Words<'_>) -> Result<Query> {
    if question == "conflicts" {
        let word = words.need("a count, or a conflict and a count")?;
        let (after, count) = match word.starts_with('c') {
            true => (conflict(word)?, words.need("a count")?),
            false => (ConflictId::default(), word),
        };
        let count_max = count.parse()?;
        return Ok(Query::Conflicts { after, count_max });
    }
    let address = address(words.need("an address")?)?;
    Ok(match question {
        "edited" => Query::Edited(address),
        _ => Query::History(address),
    })
}

fn author(words: &mut Words<'_>) -> Result<Author> {
    match words.need("person or agent")? {
        "person" => Ok(Author::Person),
        "agent" => Ok(Author::Agent),
        other => bail!("{other:?} is neither a person nor an agent"),
    }
}

fn change(words: &mut Words<'_>) -> Result<Change> {
    let removes = words.has("no");
    let kind = words.need("note, tag or summary")?;
    let change = match (kind, removes) {
        ("note", false) => Change::PutNote {
            name: words.need("a note's name")?.to_owned(),
            note: Note {
                text: words.rest(),
                anchor: None,
            },
        },
        ("note", true) => Change::WithdrawNote {
            name: words.need("a note's name")?.to_owned(),
        },
        ("tag", false) => Change::AddTag(words.rest()),
        ("tag", true) => Change::RemoveTag(words.rest()),
        ("summary", false) => Change::PutSummary(words.rest()),
        ("summary", true) => Change::WithdrawSummary,
        (other, _) => bail!("{other:?} cannot be changed"),
    };
    words.end()?;
    Ok(change)
}

fn dot(word: &str) -> Result<Dot> {
    let parts = word.strip_prefix('a').and_then(|word| word.split_once(':'));
    let parsed = parts.and_then(|(actor, counter)| {
        Some(Dot {
            actor: ActorId(actor.parse().ok()?),
            counter: counter.parse().ok()?,
        })
    });
    parsed.with_context(|| format!("{word:?} is no edit such as a1:1"))
}

fn conflict(word: &str) -> Result<ConflictId> {
    let word = word.strip_prefix('c').context("a conflict is c7.0 or so")?;
    let token = token(word)?;
    Ok(ConflictId {
        index: token.index,
        position: token.position,
    })
}
