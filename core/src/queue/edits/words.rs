//! Edits in the words of the audit trail: what was said is there, for what loses is
//! nowhere else once it made way.

use std::fmt::Write;

use crate::address::Address;
use crate::edit::{Basis, Change, Edit, Resolution};
use crate::limits::{MESSAGE_BYTES_MAX, NOTE_BYTES_MAX};

use super::super::attempts::cut;

/// What is written of one edit, in bytes, and of one text that it holds besides.
const WORDS_BYTES_MAX: usize = 4_096;

pub(in crate::queue) fn words_of_edit(address: &Address, edit: &Edit, basis: &Basis) -> String {
    let mut words = format!("annotate {address} as {:?}", edit.author);
    let done = match basis {
        Basis::Revision(revision) => write!(words, " at {revision}:"),
        Basis::Version { actor, version } => {
            // The longest that may be taken fits; a longer one is refused.
            let seen = version.to_string();
            write!(words, " by {actor} {}:", cut(&seen, MESSAGE_BYTES_MAX * 2))
        }
    };
    done.expect("a String takes any text");
    let bytes_max = words.len() + WORDS_BYTES_MAX;
    for (number, change) in edit.changes.iter().enumerate() {
        if words.len() > bytes_max {
            let more = edit.changes.len() - number;
            write!(words, " and {more} more").expect("a String takes any text");
            break;
        }
        words.push(' ');
        words.push_str(&words_of_change(change));
        words.push(';');
    }
    words
}

pub(in crate::queue) fn words_of_resolution(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Keep { side } => format!("keep {side}"),
        Resolution::Dismiss => "dismiss".to_owned(),
        Resolution::Merge(change) => words_of_change(change),
    }
}

fn words_of_change(change: &Change) -> String {
    let short = |text: &String| cut(text, NOTE_BYTES_MAX).to_owned();
    match change {
        Change::PutSummary(text) => format!("put the summary {:?}", short(text)),
        Change::WithdrawSummary => "withdraw the summary".to_owned(),
        Change::PutNote { name, note } => {
            let anchor = note.anchor.as_ref();
            let anchor = anchor.map_or(String::new(), |anchor| {
                let symbol = cut(&anchor.symbol, MESSAGE_BYTES_MAX);
                format!(" on {symbol} {}", anchor.digest)
            });
            let (name, text) = (cut(name, MESSAGE_BYTES_MAX), short(&note.text));
            format!("put note {name}{anchor} {text:?}")
        }
        Change::WithdrawNote { name } => {
            format!("withdraw note {}", cut(name, MESSAGE_BYTES_MAX))
        }
        Change::AddTag(tag) => format!("add tag {}", cut(tag, MESSAGE_BYTES_MAX)),
        Change::RemoveTag(tag) => format!("remove tag {}", cut(tag, MESSAGE_BYTES_MAX)),
    }
}
