//! What an edit may hold, and an address: looked at before anything is changed.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::command::Rejection;
use crate::edit::{Change, Edit, Part};
use crate::ids::ActorId;
use crate::limits::{
    CONFLICTS_MAX, EDIT_BYTES_MAX, EDIT_CHANGES_MAX, EDITED_ADDRESSES_MAX, EDITED_BYTES_MAX,
    EDITED_BYTES_PER_ADDRESS_MAX, NAME_BYTES_MAX, NOTE_BYTES_MAX, NOTES_PER_ADDRESS_MAX, SIDES_MAX,
    SYMBOL_BYTES_MAX, TAG_BYTES_MAX, TAGS_PER_ADDRESS_MAX, VERSION_ACTORS_MAX, VERSION_COUNTER_MAX,
};
use crate::version::VersionVector;

use super::super::attempts::check_range;
use super::PartRow;

/// Is it well made, wherever it is for?
pub(super) fn check_edit(edit: &Edit) -> Result<(), Rejection> {
    let count = edit.changes.len() as u64;
    check_range("the changes of an edit", count, 1, EDIT_CHANGES_MAX)?;
    let mut parts = BTreeSet::new();
    for change in &edit.changes {
        check_change(change)?;
        let part = change.part();
        if parts.contains(&part) {
            return Err(Rejection::ChangedTwice { part });
        }
        parts.insert(part);
    }
    check_range("the bytes of an edit", edit.bytes(), 0, EDIT_BYTES_MAX)
}

fn check_change(change: &Change) -> Result<(), Rejection> {
    let check = |what: &str, text: &str, max: u64| check_range(what, text.len() as u64, 1, max);
    match change {
        Change::WithdrawSummary => Ok(()),
        Change::PutSummary(text) => check("the bytes of a summary", text, NOTE_BYTES_MAX),
        Change::AddTag(tag) | Change::RemoveTag(tag) => {
            check("the bytes of a tag", tag, TAG_BYTES_MAX)
        }
        Change::WithdrawNote { name } => check("the bytes of a note's name", name, NAME_BYTES_MAX),
        Change::PutNote { name, note } => {
            check("the bytes of a note's name", name, NAME_BYTES_MAX)?;
            check("the bytes of a note", &note.text, NOTE_BYTES_MAX)?;
            let Some(anchor) = &note.anchor else {
                return Ok(());
            };
            check(
                "the bytes of a symbol's name",
                &anchor.symbol,
                SYMBOL_BYTES_MAX,
            )
        }
    }
}

/// Is it a vector of an edit of this actor?
pub(super) fn check_vector(actor: ActorId, version: &VersionVector) -> Result<(), Rejection> {
    if actor == ActorId::LOG {
        return Err(Rejection::ReservedActor { actor });
    }
    let what = "the actors of a version vector";
    check_range(what, version.len(), 1, VERSION_ACTORS_MAX)?;
    let what = "a counter of a version vector";
    for dot in version.dots() {
        check_range(what, dot.counter, 1, VERSION_COUNTER_MAX)?;
    }
    // Its own is there, too.
    check_range(what, version.get(actor), 1, VERSION_COUNTER_MAX)
}

/// What there would be.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) notes: u64,
    pub(super) tags: u64,
    /// Of the part with the most of those that are changed.
    pub(super) sides: u64,
    pub(super) bytes: u64,
    pub(super) addresses: u64,
    /// Besides the log.
    pub(super) actors: u64,
    pub(super) open: u64,
    pub(super) open_before: u64,
}

impl Totals {
    pub(super) fn add(&mut self, row: &PartRow) {
        self.bytes += row.bytes();
        match row.part {
            Part::Summary => {}
            Part::Note(_) => self.notes += 1,
            Part::Tag(_) => self.tags += 1,
        }
    }

    pub(super) fn take(&mut self, row: &PartRow) {
        self.bytes -= row.bytes();
        match row.part {
            Part::Summary => {}
            Part::Note(_) => self.notes -= 1,
            Part::Tag(_) => self.tags -= 1,
        }
    }

    /// `bytes` are those of the address; its own are those of all.
    pub(super) fn check(&self, address: &Address, bytes: u64) -> Result<(), Rejection> {
        let check = |what: &str, found: u64, limit: u64, advice: &str| {
            if found <= limit {
                return Ok(());
            }
            Err(Rejection::EditedFull {
                address: address.clone(),
                what: what.into(),
                found,
                limit,
                advice: advice.into(),
            })
        };
        let first = "withdraw what is not needed any more first";
        check(
            "notes (notes_per_address_max)",
            self.notes,
            NOTES_PER_ADDRESS_MAX,
            first,
        )?;
        check(
            "tags (tags_per_address_max)",
            self.tags,
            TAGS_PER_ADDRESS_MAX,
            first,
        )?;
        check(
            "bytes of edits (edited_bytes_per_address_max)",
            bytes,
            EDITED_BYTES_PER_ADDRESS_MAX,
            first,
        )?;
        check(
            "bytes of edits with all others (edited_bytes_max)",
            self.bytes,
            EDITED_BYTES_MAX,
            first,
        )?;
        check(
            "sides of one conflict (sides_max)",
            self.sides,
            SIDES_MAX,
            "resolve it first, and send this edit again",
        )?;
        check(
            "actors in its version vector (version_actors_max)",
            self.actors,
            // One is the log's.
            VERSION_ACTORS_MAX - 1,
            "edit it online, by revision, or as an actor that is known there",
        )?;
        check(
            "edited addresses with it (edited_addresses_max)",
            self.addresses,
            EDITED_ADDRESSES_MAX,
            "say it of an address that is edited already",
        )?;
        // Whoever ends one may always do so.
        if self.open > CONFLICTS_MAX && self.open > self.open_before {
            return Err(Rejection::TooManyConflicts {
                found: self.open,
                limit: CONFLICTS_MAX,
            });
        }
        Ok(())
    }
}
