//! What people say of contexts, as it is shown.

use crate::address::Address;
use crate::edit::{Conflict, ConflictId, Content, EditedView, NoteView, Part, SummaryView};
use crate::ids::Revision;

use super::super::QueueManager;

impl QueueManager {
    /// What is published at an address, and what people say of it.
    #[must_use]
    pub fn edited(&self, address: &Address) -> Option<EditedView> {
        let place = self.places.find(address)?;
        let row = self.edits.rows.get(&place);
        let context = self.places.view(place);
        if row.is_none() && context.is_none() {
            return None;
        }
        let mut view = EditedView {
            address: address.clone(),
            context,
            revision: row.map_or(Revision(0), |row| row.revision),
            version: row.map(|row| row.version.clone()).unwrap_or_default(),
            summary: None,
            notes: Vec::new(),
            tags: Vec::new(),
            conflicts: Vec::new(),
        };
        for row in self.edits.parts_of(place) {
            let (side, conflict) = (row.chosen(), row.conflict);
            let (by, author) = (side.by.clone(), side.author);
            match (&row.part, &side.content) {
                (Part::Tag(tag), _) => view.tags.push(tag.clone()),
                (Part::Note(name), Content::Note(note)) => view.notes.push(NoteView {
                    name: name.clone(),
                    note: note.clone(),
                    by,
                    author,
                    wall_ms: side.wall_ms,
                    conflict,
                }),
                (_, Content::Summary(text)) => {
                    let text = text.clone();
                    view.summary = Some(SummaryView {
                        text,
                        by,
                        author,
                        conflict,
                    });
                }
                (part, content) => panic!("{content:?} stands at {part}"),
            }
            view.conflicts.extend(conflict);
        }
        // A person's word first.
        view.notes
            .sort_by(|a, b| (b.author, &a.name).cmp(&(a.author, &b.name)));
        view.tags.sort();
        view.conflicts.sort();
        Some(view)
    }

    /// Some open conflicts, the oldest first, from after one on; and after which the
    /// next ones come, if there may be more.
    #[must_use]
    pub fn conflicts(
        &self,
        after: ConflictId,
        count_max: u32,
    ) -> (Vec<Conflict>, Option<ConflictId>) {
        use std::ops::Bound;
        let mut conflicts = Vec::new();
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        for (id, key) in self.edits.open.range(rest) {
            let row = self.edits.parts.get(key).expect("the index is of rows");
            conflicts.push(Conflict {
                id: *id,
                address: self.places.address(key.0).clone(),
                part: row.part.clone(),
                revision: self
                    .edits
                    .rows
                    .get(&key.0)
                    .map_or(Revision(0), |row| row.revision),
                sides: row.sides.clone(),
                chosen: row.chosen().dot,
            });
            if conflicts.len() as u64 == u64::from(count_max) {
                return (conflicts, Some(*id));
            }
        }
        (conflicts, None)
    }

    /// How many conflicts are open.
    #[must_use]
    pub fn conflicts_count(&self) -> u64 {
        self.edits.open.len() as u64
    }
}
