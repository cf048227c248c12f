//! What people say of contexts: notes, tags and summaries, edited by whoever is online
//! by revision, and by whoever is not by version vectors (QUEUE C5; decision 25). Knows
//! which edits have seen which, and nothing of what they say. Merged from
//! [`FeatureLevel::CONTEXTS_EDITED`] on.
//!
//! At each part of an address (a note, a tag, the summary) stand the values of those
//! edits that no later one had seen: an edit takes the place of what its author had
//! seen there, and of nothing else. More than one value at a note or a summary is a
//! conflict; of a tag it is the same word twice. Edits come in an order in which nobody
//! is before what it had seen, so the values do not depend on that order otherwise.

mod check;
mod reads;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::command::{Entry, Outcome, Rejection};
use crate::digest::Digest;
use crate::edit::{
    Author, Basis, Change, ConflictId, Content, Edit, Merge, Part, PastEdit, Resolution, Side,
};
use crate::feature::FeatureLevel;
use crate::ids::{ActorId, LogIndex, Revision};
use crate::version::{Dot, Relation, VersionVector};

use super::QueueManager;
use super::contexts::PlaceId;
use super::table::Table;

use self::check::{Totals, check_edit, check_vector};
pub(super) use self::words::{words_of_edit, words_of_resolution};

const PART_DOMAIN: &str = "precentor 2026 edited part";

/// Are edits and history kept in a state at a level, and part of its image?
pub(super) fn holds_edits(level: FeatureLevel) -> bool {
    level >= FeatureLevel::CONTEXTS_EDITED
}

/// An address of which somebody said something. Kept for good: else an edit that was
/// merged long ago could come again as a new one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct EditedRow {
    revision: Revision,
    /// All edits that are here.
    version: VersionVector,
    /// The last one, and its entry.
    last: Dot,
    index: LogIndex,
}

/// What stands at one part of an address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PartRow {
    part: Part,
    /// At least one, in the order in which they came.
    sides: Vec<Side>,
    /// More than one, and not of a tag.
    conflict: Option<ConflictId>,
}

impl PartRow {
    fn bytes(&self) -> u64 {
        let name = match &self.part {
            Part::Summary => 0,
            Part::Note(name) | Part::Tag(name) => name.len(),
        };
        let sides = self.sides.iter().map(|side| {
            let content = match &side.content {
                Content::Tag => 0,
                Content::Summary(text) => text.len(),
                Content::Note(note) => {
                    let symbol = note.anchor.as_ref().map_or(0, |anchor| anchor.symbol.len());
                    note.text.len() + symbol
                }
            };
            content + side.by.0.len()
        });
        (name + sides.sum::<usize>()) as u64
    }

    /// What is shown until somebody resolves it: a person's word before an agent's,
    /// else the later one in the log.
    fn chosen(&self) -> &Side {
        let rank = |side: &&Side| (side.author, side.index);
        let chosen = self.sides.iter().max_by_key(rank);
        chosen.expect("a part without values has no row")
    }
}

fn key_of(part: &Part) -> Digest {
    let of =
        |kind: &str, name: &str| Digest::of_parts(PART_DOMAIN, &[kind.as_bytes(), name.as_bytes()]);
    match part {
        Part::Summary => of("summary", ""),
        Part::Note(name) => of("note", name),
        Part::Tag(tag) => of("tag", tag),
    }
}

fn change_to(part: &Part, content: &Content) -> Change {
    match (part, content) {
        (_, Content::Summary(text)) => Change::PutSummary(text.clone()),
        (Part::Note(name), Content::Note(note)) => Change::PutNote {
            name: name.clone(),
            note: note.clone(),
        },
        (Part::Tag(tag), Content::Tag) => Change::AddTag(tag.clone()),
        _ => panic!("{content:?} stands at {part}"),
    }
}

/// What people say of contexts.
#[derive(Clone, Debug)]
pub(super) struct Edits {
    pub(super) rows: Table<PlaceId, EditedRow>,
    /// By the digest of the part: a name is too long for a key.
    pub(super) parts: Table<(PlaceId, Digest), PartRow>,
    /// Of all parts. Derived.
    bytes: u64,
    /// Derived.
    open: BTreeMap<ConflictId, (PlaceId, Digest)>,
}

impl Edits {
    pub(super) fn new(
        rows: Table<PlaceId, EditedRow>,
        parts: Table<(PlaceId, Digest), PartRow>,
    ) -> Edits {
        let bytes = parts.iter().map(|(_, row)| row.bytes());
        let open = parts
            .iter()
            .filter_map(|(key, row)| Some((row.conflict?, *key)));
        Edits {
            bytes: bytes.fold(0, u64::saturating_add),
            open: open.collect(),
            rows,
            parts,
        }
    }

    fn parts_of(&self, place: PlaceId) -> impl Iterator<Item = &PartRow> {
        let all = (place, Digest([0; 32]))..=(place, Digest([u8::MAX; 32]));
        self.parts.range(all).map(|(_, row)| row)
    }

    /// The one way to change a part.
    fn put(&mut self, key: (PlaceId, Digest), row: Option<PartRow>) {
        if let Some(row) = &row {
            self.bytes += row.bytes();
            self.open.extend(row.conflict.map(|id| (id, key)));
        }
        let conflict = row.as_ref().and_then(|row| row.conflict);
        let old = match row {
            Some(row) => self.parts.insert(key, row),
            None => self.parts.remove(&key),
        };
        let Some(old) = old else { return };
        self.bytes -= old.bytes();
        if let Some(id) = old.conflict.filter(|id| Some(*id) != conflict) {
            self.open.remove(&id);
        }
    }

    /// Is every row within its bounds, and every index right?
    pub(super) fn is_sound(&self) -> bool {
        let anew = Edits::new(self.rows.clone(), self.parts.clone());
        let mut rows = self.rows.iter();
        let mut parts = self.parts.iter();
        anew.bytes == self.bytes
            && anew.open == self.open
            && rows.all(|(_, row)| row.revision > Revision(0) && row.version.covers(row.last))
            && parts.all(|((place, key), row)| {
                let known = self.rows.get(place).map(|known| &known.version);
                let is_known = |side: &Side| known.is_some_and(|known| known.covers(side.dot));
                let of_one = |side: &Side| {
                    let same = |other: &&Side| other.dot.actor == side.dot.actor;
                    row.sides.iter().filter(same).count() == 1
                };
                let is_tag = matches!(row.part, Part::Tag(_));
                *key == key_of(&row.part)
                    && row.conflict.is_some() == (row.sides.len() > 1 && !is_tag)
                    && !row.sides.is_empty()
                    && row.sides.is_sorted_by_key(|side| side.index)
                    && row.sides.iter().all(|side| is_known(side) && of_one(side))
                    && row.sides.iter().all(|side| side.content.is_of(&row.part))
            })
    }

    /// The addresses with rows.
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.rows.iter().map(|(place, _)| *place)
    }
}

/// An edit of which it is known what its author had seen.
struct Signed<'a> {
    edit: &'a Edit,
    dot: Dot,
    version: VersionVector,
    merge: Merge,
    entry: &'a Entry,
    /// Whose words these are, if not the sender's.
    words_of: Option<&'a Side>,
}

/// What an edit does to the parts of an address.
struct Plan {
    parts: Vec<(Digest, Option<PartRow>)>,
    conflicts: Vec<ConflictId>,
    resolved: Vec<ConflictId>,
}

impl QueueManager {
    /// Somebody says something of a context.
    pub(super) fn annotate(
        &mut self,
        address: &Address,
        edit: &Edit,
        basis: &Basis,
        entry: &Entry,
    ) -> Result<Outcome, Rejection> {
        check_edit(edit)?;
        let row = self.edited_row(address);
        let (dot, version) = match basis {
            Basis::Revision(expected) => self.next_of_log(address, *expected)?,
            Basis::Version { actor, version } => {
                check_vector(*actor, version)?;
                let counter = version.get(*actor);
                let dot = Dot {
                    actor: *actor,
                    counter,
                };
                if let Some(outcome) = self.look_at_vector(address, edit, dot, version)? {
                    return Ok(outcome);
                }
                (dot, version.clone())
            }
        };
        let merge = match row {
            Some(row) if version.relation(&row.version) == Relation::Concurrent => {
                Merge::Concurrent
            }
            _ => Merge::After,
        };
        self.merge(
            address,
            Signed {
                edit,
                dot,
                version,
                merge,
                entry,
                words_of: None,
            },
        )
    }

    /// Somebody has looked at a conflict. That is an edit whose author has seen all.
    pub(super) fn resolve_conflict(
        &mut self,
        address: &Address,
        id: ConflictId,
        expected: Revision,
        (author, resolution): (Author, &Resolution),
        entry: &Entry,
    ) -> Result<Outcome, Rejection> {
        let key = self.edits.open.get(&id).copied();
        let key = key.filter(|(place, _)| self.places.find(address) == Some(*place));
        let row = key.and_then(|key| self.edits.parts.get(&key)).cloned();
        let row = row.ok_or_else(|| Rejection::NoConflict {
            address: address.clone(),
            conflict: id,
        })?;
        let no_side = |found: String| Rejection::NoSide {
            conflict: id,
            part: row.part.clone(),
            found: found.into(),
        };
        let (change, kept) = match resolution {
            Resolution::Keep { side } => {
                let kept = row.sides.iter().find(|other| other.dot == *side);
                let kept = kept.ok_or_else(|| no_side(format!("edit {side}")))?;
                (change_to(&row.part, &kept.content), Some(kept))
            }
            Resolution::Dismiss => {
                let kept = row.chosen();
                (change_to(&row.part, &kept.content), Some(kept))
            }
            Resolution::Merge(change) if change.part() != row.part => {
                return Err(no_side(format!("a change of {}", change.part())));
            }
            Resolution::Merge(change) => (change.clone(), None),
        };
        let edit = Edit {
            author: kept.map_or(author, |kept| kept.author.max(author)),
            changes: vec![change],
        };
        check_edit(&edit)?;
        let (dot, version) = self.next_of_log(address, expected)?;
        let signed = Signed {
            edit: &edit,
            dot,
            version,
            merge: Merge::After,
            entry,
            words_of: kept,
        };
        match self.merge(address, signed)? {
            Outcome::Annotated { revision, .. } => Ok(Outcome::Resolved { revision }),
            other => panic!("a resolution came to {other:?}"),
        }
    }

    fn edited_row(&self, address: &Address) -> Option<&EditedRow> {
        self.edits.rows.get(&self.places.find(address)?)
    }

    /// The number of an edit of a revision, and what its author had seen.
    fn next_of_log(
        &self,
        address: &Address,
        expected: Revision,
    ) -> Result<(Dot, VersionVector), Rejection> {
        let row = self.edited_row(address);
        let current = row.map_or(Revision(0), |row| row.revision);
        #[cfg(feature = "planted-bugs")]
        let expected = match self.is_planted(crate::planted::Bug::RevisionIgnored) {
            true => current,
            false => expected,
        };
        if current != expected {
            return Err(Rejection::RevisionMoved {
                address: address.clone(),
                expected,
                current,
            });
        }
        let mut version = row.map(|row| row.version.clone()).unwrap_or_default();
        let dot = version.advance(ActorId::LOG);
        Ok((dot, version))
    }

    /// Is an edit the next one of its author, and is all here that the author had seen?
    /// Some, with its reply, if it is here already.
    fn look_at_vector(
        &self,
        address: &Address,
        edit: &Edit,
        dot: Dot,
        version: &VersionVector,
    ) -> Result<Option<Outcome>, Rejection> {
        let row = self.edited_row(address);
        let known = |actor: ActorId| row.map_or(0, |row| row.version.get(actor));
        for seen in version.dots() {
            let own = u64::from(seen.actor == dot.actor);
            let (seen, actor) = (seen.counter - own, seen.actor);
            if seen > known(actor) {
                return Err(Rejection::EditAhead {
                    address: address.clone(),
                    dot,
                    actor,
                    seen,
                    known: known(actor),
                });
            }
        }
        let Some(row) = row.filter(|row| row.version.covers(dot)) else {
            return Ok(None);
        };
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::DominatedEditApplied) {
            return Ok(None);
        }
        let place = self.places.find(address);
        let past = place.and_then(|place| self.history.edit(place, dot));
        if let Some(past) = past.filter(|past| past.version == *version && past.edit == *edit) {
            return Ok(Some(Outcome::Annotated {
                revision: past.revision,
                merge: past.merge,
                conflicts: past.conflicts.clone(),
            }));
        }
        let (winner, index) = past.map_or((row.last, row.index), |past| (past.dot, past.index));
        Err(Rejection::EditDominated {
            address: address.clone(),
            dot,
            winner,
            index,
            version: Box::new(row.version.clone()),
        })
    }

    /// What an edit makes of the parts that it is about.
    fn plan(&self, place: Option<PlaceId>, signed: &Signed<'_>) -> Plan {
        let mut plan = Plan {
            parts: Vec::new(),
            conflicts: Vec::new(),
            resolved: Vec::new(),
        };
        for (position, change) in (0..).zip(&signed.edit.changes) {
            let part = change.part();
            let key = key_of(&part);
            let old = place.and_then(|place| self.edits.parts.get(&(place, key)));
            let mut sides = old.map(|old| old.sides.clone()).unwrap_or_default();
            sides.retain(|side| !self.has_seen(signed, side));
            let content = change.content();
            let is_put = content.is_some();
            sides.extend(content.map(|content| Side {
                dot: signed.dot,
                index: self.head.applied,
                at: self.head.now,
                wall_ms: signed.entry.wall_ms,
                by: match signed.words_of {
                    Some(side) => side.by.clone(),
                    None => signed.entry.principal.clone(),
                },
                author: signed.edit.author,
                content,
            }));
            let before = old.and_then(|old| old.conflict);
            let is_conflict = sides.len() > 1 && !matches!(part, Part::Tag(_));
            let conflict = is_conflict.then(|| {
                let index = self.head.applied;
                before.unwrap_or(ConflictId { index, position })
            });
            match conflict {
                None => plan.resolved.extend(before),
                Some(id) if is_put => plan.conflicts.push(id),
                Some(_) => {}
            }
            let mut row = PartRow {
                part,
                sides,
                conflict,
            };
            self.forget_conflict(&mut row);
            plan.parts
                .push((key, (!row.sides.is_empty()).then_some(row)));
        }
        plan
    }

    fn has_seen(&self, signed: &Signed<'_>, side: &Side) -> bool {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::UnseenTagRemoved) && side.content == Content::Tag {
            return true;
        }
        signed.version.covers(side.dot)
    }

    /// Planted: the rule has chosen, and nobody needs to look.
    fn forget_conflict(&self, row: &mut PartRow) {
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::ConflictForgotten) && row.conflict.is_some() {
            let chosen = row.chosen().clone();
            (row.sides, row.conflict) = (vec![chosen], None);
        }
        let _ = row;
    }

    /// Planted: what was written without a leader comes too late.
    fn drops_concurrent(&self, merge: Merge) -> bool {
        #[cfg(feature = "planted-bugs")]
        return merge == Merge::Concurrent
            && self.is_planted(crate::planted::Bug::ConcurrentEditDropped);
        #[cfg(not(feature = "planted-bugs"))]
        {
            let _ = merge;
            false
        }
    }

    /// Merges an edit with what is there, or changes nothing.
    fn merge(&mut self, address: &Address, signed: Signed<'_>) -> Result<Outcome, Rejection> {
        let found = self.places.find(address);
        let mut plan = self.plan(found, &signed);
        let row = found.and_then(|place| self.edits.rows.get(&place));
        let mut version = row.map(|row| row.version.clone()).unwrap_or_default();
        version.join(&signed.version);
        let revision = row.map_or(Revision(0), |row| row.revision).next();
        self.check_bounds(address, found, &plan, &version)?;
        if self.drops_concurrent(signed.merge) {
            plan.parts.clear();
        }

        let place = self.place_of(address);
        let row = EditedRow {
            revision,
            version,
            last: signed.dot,
            index: self.head.applied,
        };
        if self.edits.rows.insert(place, row).is_none() {
            self.places.hold(place);
        }
        for (key, row) in plan.parts {
            self.edits.put((place, key), row);
        }
        let past = PastEdit {
            dot: signed.dot,
            version: signed.version,
            edit: signed.edit.clone(),
            merge: signed.merge,
            revision,
            conflicts: plan.conflicts.clone(),
            resolved: plan.resolved,
            index: self.head.applied,
            by: signed.entry.principal.clone(),
            at: self.head.now,
            wall_ms: signed.entry.wall_ms,
        };
        self.note_edit(place, past);
        Ok(Outcome::Annotated {
            revision,
            merge: signed.merge,
            conflicts: plan.conflicts,
        })
    }

    /// Would anything be more than it may?
    fn check_bounds(
        &self,
        address: &Address,
        place: Option<PlaceId>,
        plan: &Plan,
        version: &VersionVector,
    ) -> Result<(), Rejection> {
        let mut own = Totals::default();
        let mut open = self.edits.open.len() as u64;
        if let Some(place) = place {
            self.edits.parts_of(place).for_each(|row| own.add(row));
        }
        let own_before = own.bytes;
        for (key, row) in &plan.parts {
            if let Some(old) = place.and_then(|place| self.edits.parts.get(&(place, *key))) {
                own.take(old);
                open -= u64::from(old.conflict.is_some());
            }
            if let Some(row) = row {
                own.add(row);
                open += u64::from(row.conflict.is_some());
                own.sides = own.sides.max(match row.part {
                    Part::Tag(_) => 0,
                    Part::Summary | Part::Note(_) => row.sides.len() as u64,
                });
            }
        }
        let is_new = place.is_none_or(|place| !self.edits.rows.contains(&place));
        let all = Totals {
            bytes: self.edits.bytes - own_before + own.bytes,
            addresses: self.edits.rows.len() + u64::from(is_new),
            actors: version.len() - u64::from(version.get(ActorId::LOG) > 0),
            open,
            open_before: self.edits.open.len() as u64,
            ..own
        };
        all.check(address, own.bytes)
    }
}
