//! Is what people say of contexts merged as the rules are, and is nothing of it lost? The
//! judge keeps every edit that the log has and the audit calls taken, and merges them in
//! its own way: what stands at a part is what no later edit of it had seen, looked for
//! among all of them. Each log index is judged once, at the replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, Command};
use precentor_core::edit::{
    Author, Basis, Change, Conflict, ConflictId, Content, Edit, Part, Resolution,
};
use precentor_core::ids::{ActorId, LogIndex, RequestId, Revision};
use precentor_core::version::{Dot, VersionVector};
use precentor_core::view::View;

use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// Edits of one address that the history has.
const HISTORY: usize = 32;

/// An edit that was taken.
#[derive(Clone, Debug)]
struct Taken {
    dot: Dot,
    /// Up to which edit of whom its author had seen, itself included.
    seen: BTreeMap<ActorId, u64>,
    index: LogIndex,
    edit: Edit,
}

impl Taken {
    fn has_seen(&self, dot: Dot) -> bool {
        self.seen.get(&dot.actor).copied().unwrap_or(0) >= dot.counter
    }

    fn change_of(&self, part: &Part) -> Option<&Change> {
        let mut changes = self.edit.changes.iter();
        changes.find(|change| change.part() == *part)
    }
}

/// Everything that was said of one address.
#[derive(Clone, Debug, Default)]
struct Said {
    taken: Vec<Taken>,
    parts: BTreeSet<Part>,
    /// Since when there is more than one value.
    open: BTreeMap<Part, ConflictId>,
}

impl Said {
    fn known(&self, actor: ActorId) -> u64 {
        let own = self.taken.iter().filter(|taken| taken.dot.actor == actor);
        own.map(|taken| taken.dot.counter).max().unwrap_or(0)
    }

    fn revision(&self) -> Revision {
        Revision(self.taken.len() as u64)
    }

    /// What no later edit of the part had seen.
    fn standing(&self, part: &Part) -> Vec<(&Taken, Content)> {
        let mut standing: Vec<(&Taken, Content)> = Vec::new();
        for taken in &self.taken {
            let Some(change) = taken.change_of(part) else {
                continue;
            };
            standing.retain(|(before, _)| !taken.has_seen(before.dot));
            standing.extend(change.content().map(|content| (taken, content)));
        }
        standing
    }

    fn take(&mut self, taken: Taken, marks: &mut Marks) {
        let missed = |before: &Taken| !taken.has_seen(before.dot);
        if self.taken.iter().any(missed) {
            marks.hit(Mark::EditMerged);
        }
        let index = taken.index;
        let parts: Vec<Part> = taken.edit.changes.iter().map(Change::part).collect();
        self.taken.push(taken);
        for (position, part) in (0..).zip(parts) {
            let is_conflict = self.standing(&part).len() > 1 && !matches!(part, Part::Tag(_));
            if is_conflict {
                marks.hit(Mark::EditsContradict);
                let id = ConflictId { index, position };
                self.open.entry(part.clone()).or_insert(id);
            } else {
                self.open.remove(&part);
            }
            self.parts.insert(part);
        }
    }
}

fn chosen<'a>(standing: &'a [(&'a Taken, Content)]) -> &'a (&'a Taken, Content) {
    let is_person = |taken: &Taken| taken.edit.author == Author::Person;
    let chosen = standing
        .iter()
        .max_by_key(|(taken, _)| (is_person(taken), taken.index));
    chosen.expect("something stands")
}

fn put(part: &Part, content: Content) -> Option<Change> {
    match (part, content) {
        (Part::Note(name), Content::Note(note)) => Some(Change::PutNote {
            name: name.clone(),
            note,
        }),
        (Part::Summary, Content::Summary(text)) => Some(Change::PutSummary(text)),
        _ => None,
    }
}

/// What is to become of an edit.
enum Expected {
    Taken(Taken),
    /// It is here: it has no effect.
    Known,
    /// It has no effect, and is refused, for this reason.
    Refused(Mark),
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// The last index of which the audit was read.
    read: LogIndex,
    /// Requests that came already: again they have no effect.
    asked: BTreeSet<RequestId>,
    said: BTreeMap<Address, Said>,
    /// Addresses that are to be looked at.
    touched: BTreeSet<Address>,
}

impl Edits {
    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        if record.index <= self.read {
            return Ok(());
        }
        self.read = record.index;
        let committed = logs.get(record.index);
        let Some(entry) = committed.and_then(|committed| committed.command.as_ref()) else {
            return Ok(());
        };
        let (Command::Annotate { address, .. } | Command::Resolve { address, .. }) = &entry.command
        else {
            return Ok(());
        };
        let refused = record.text.split_once(": rejected: ").map(|(_, why)| why);
        // It may come again, and count.
        let is_open = |why: &str| why.starts_with("proposed in ") || why.starts_with("denied: ");
        if refused.is_some_and(is_open) {
            return Ok(());
        }
        let is_again = |request: RequestId| !self.asked.insert(request);
        if entry.request.is_some_and(is_again) {
            return Ok(());
        }
        let said = self.said.entry(address.clone()).or_default();
        let expected = said.expect(&entry.command, record.index);
        self.touched.insert(address.clone());
        match (expected, refused) {
            (Expected::Taken(taken), None) => {
                if matches!(entry.command, Command::Resolve { .. }) {
                    marks.hit(Mark::ConflictResolved);
                }
                said.take(taken, marks);
                Ok(())
            }
            // Of a bound, of a level, or of who asks it knows nothing; nor of what its client
            // was denied before, and which a node sends that had kept it.
            (Expected::Taken(_), Some(why)) => ensure(
                [
                    "the limit is",
                    "the command needs",
                    "session",
                    "no longer kept",
                ]
                .iter()
                .any(|known| why.contains(known)),
                Checker::MergedEdits,
                || format!("{} was to be merged: {}", record.index, record.text),
            ),
            // What the history has forgotten is refused.
            (Expected::Known, _) => {
                marks.hit(Mark::EditKnown);
                Ok(())
            }
            (Expected::Refused(mark), Some(_)) => {
                marks.hit(mark);
                Ok(())
            }
            (Expected::Refused(_), None) => ensure(false, Checker::MergedEdits, || {
                format!("{} was to change nothing: {}", record.index, record.text)
            }),
        }
    }

    /// The turn is over: what is shown is what the judge has.
    pub(super) fn on_turn(&mut self, view: &View<'_>) -> Verdict {
        if self.touched.is_empty() || view.applied() != self.read {
            return Ok(());
        }
        for address in std::mem::take(&mut self.touched) {
            let said = &self.said[&address];
            if !said.taken.is_empty() {
                said.compare(&address, view)?;
                said.compare_conflicts(&address, view)?;
            }
        }
        Ok(())
    }
}

impl Said {
    fn expect(&self, command: &Command, index: LogIndex) -> Expected {
        match command {
            Command::Annotate { edit, basis, .. } => self.expect_edit(edit, basis, index),
            Command::Resolve {
                conflict,
                revision,
                author,
                resolution,
                ..
            } => self.expect_end(*conflict, *revision, *author, resolution, index),
            other => panic!("{other:?} edits nothing"),
        }
    }

    fn expect_edit(&self, edit: &Edit, basis: &Basis, index: LogIndex) -> Expected {
        let (actor, version) = match basis {
            Basis::Revision(revision) => return self.of_log(edit.clone(), *revision, index),
            Basis::Version { actor, version } => (*actor, version),
        };
        let seen: BTreeMap<ActorId, u64> =
            version.dots().map(|dot| (dot.actor, dot.counter)).collect();
        let counter = version.get(actor);
        let dot = Dot { actor, counter };
        let is_ahead = seen.iter().any(|(other, count)| {
            let own = u64::from(*other == actor);
            *count - own > self.known(*other)
        });
        if is_ahead {
            return Expected::Refused(Mark::EditAhead);
        }
        if counter > self.known(actor) {
            return Expected::Taken(Taken {
                dot,
                seen,
                index,
                edit: edit.clone(),
            });
        }
        let same = |taken: &Taken| taken.dot == dot && taken.seen == seen && taken.edit == *edit;
        match self.taken.iter().any(same) {
            true => Expected::Known,
            false => Expected::Refused(Mark::EditDominated),
        }
    }

    /// An edit of one who has seen everything.
    fn of_log(&self, edit: Edit, revision: Revision, index: LogIndex) -> Expected {
        if revision != self.revision() {
            return Expected::Refused(Mark::RevisionMoved);
        }
        let actors: BTreeSet<ActorId> = self.taken.iter().map(|taken| taken.dot.actor).collect();
        let mut seen: BTreeMap<ActorId, u64> = actors
            .into_iter()
            .map(|actor| (actor, self.known(actor)))
            .collect();
        let (actor, counter) = (ActorId::LOG, self.known(ActorId::LOG) + 1);
        seen.insert(actor, counter);
        Expected::Taken(Taken {
            dot: Dot { actor, counter },
            seen,
            index,
            edit,
        })
    }

    fn expect_end(
        &self,
        id: ConflictId,
        revision: Revision,
        author: Author,
        resolution: &Resolution,
        index: LogIndex,
    ) -> Expected {
        let part = self.open.iter().find(|(_, open)| **open == id);
        let Some((part, _)) = part else {
            return Expected::Refused(Mark::RevisionMoved);
        };
        let standing = self.standing(part);
        let kept = match resolution {
            Resolution::Keep { side } => {
                let kept = standing.iter().find(|(taken, _)| taken.dot == *side);
                match kept {
                    Some(kept) => Some(kept),
                    None => return Expected::Refused(Mark::RevisionMoved),
                }
            }
            Resolution::Dismiss => Some(chosen(&standing)),
            Resolution::Merge(_) => None,
        };
        let (change, author) = match (kept, resolution) {
            (Some((taken, content)), _) => {
                (put(part, content.clone()), taken.edit.author.max(author))
            }
            (None, Resolution::Merge(change)) => (Some(change.clone()), author),
            (None, _) => (None, author),
        };
        let changes = change.into_iter().collect();
        self.of_log(Edit { author, changes }, revision, index)
    }

    /// Notes, tags and summary are the merged ones, and the history has the last edits.
    fn compare(&self, address: &Address, view: &View<'_>) -> Verdict {
        let shown = view.queue().edited(address);
        let wrong = |what: &str, found: String, expected: String| {
            ensure(found == expected, Checker::MergedEdits, || {
                format!("{what} of {address} are {found}, and merged they are {expected}")
            })
        };
        let Some(shown) = shown else {
            return wrong(
                "edits",
                "not there".into(),
                format!("{:?}", self.revision()),
            );
        };
        let (mut notes, mut tags, mut summary) = (BTreeMap::new(), Vec::new(), None);
        for part in &self.parts {
            let standing = self.standing(part);
            if standing.is_empty() {
                continue;
            }
            match (part, chosen(&standing)) {
                (Part::Tag(tag), _) => tags.push(tag.clone()),
                (Part::Note(name), (_, content)) => {
                    notes.insert(name.clone(), content.clone());
                }
                (Part::Summary, (_, content)) => summary = Some(content.clone()),
            }
        }
        let found = shown.notes.iter();
        let found = found.map(|note| (note.name.clone(), Content::Note(note.note.clone())));
        let found: BTreeMap<String, Content> = found.collect();
        wrong("notes", format!("{found:?}"), format!("{notes:?}"))?;
        wrong("tags", format!("{:?}", shown.tags), format!("{tags:?}"))?;
        let found = shown.summary.map(|found| Content::Summary(found.text));
        wrong("summaries", format!("{found:?}"), format!("{summary:?}"))?;
        let known: VersionVector = self
            .taken
            .iter()
            .fold(VersionVector::new(), |mut all, one| {
                all.see(one.dot);
                all
            });
        let (found, expected) = ((shown.revision, shown.version), (self.revision(), known));
        wrong("revisions", format!("{found:?}"), format!("{expected:?}"))?;
        let (_, history) = view.queue().history(address);
        let history: Vec<Dot> = history.iter().map(|past| past.dot).collect();
        let first = self.taken.len().saturating_sub(HISTORY);
        let last: Vec<Dot> = self.taken[first..].iter().map(|taken| taken.dot).collect();
        wrong("past edits", format!("{history:?}"), format!("{last:?}"))
    }

    /// What contradicts each other is there, all sides of it, until somebody looks.
    fn compare_conflicts(&self, address: &Address, view: &View<'_>) -> Verdict {
        let (open, _) = view.queue().conflicts(ConflictId::default(), u32::MAX);
        let own = |conflict: &&Conflict| conflict.address == *address;
        let mut found: Vec<(ConflictId, Vec<(Dot, Content)>)> = open
            .iter()
            .filter(own)
            .map(|conflict| {
                let sides = conflict.sides.iter();
                let sides = sides.map(|side| (side.dot, side.content.clone()));
                (conflict.id, sides.collect())
            })
            .collect();
        let mut expected: Vec<(ConflictId, Vec<(Dot, Content)>)> = self
            .open
            .iter()
            .map(|(part, id)| {
                let sides = self.standing(part).into_iter();
                (
                    *id,
                    sides.map(|(taken, content)| (taken.dot, content)).collect(),
                )
            })
            .collect();
        found.sort_by_key(|(id, _)| *id);
        expected.sort_by_key(|(id, _)| *id);
        ensure(found == expected, Checker::KeptConflicts, || {
            format!("{address} has the conflicts {found:?}, and is to have {expected:?}")
        })
    }
}
