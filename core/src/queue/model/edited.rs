//! The model of what people say of contexts: every edit that was taken is kept, and what
//! stands at a part is looked for among all of them, anew each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::edit::*;
use crate::limits::HISTORY_EDITS_MAX;
use crate::version::{Dot, VersionVector};

use super::*;

/// An edit that was taken.
#[derive(Clone, Debug)]
pub(super) struct Said {
    index: u64,
    dot: (u64, u64),
    /// Up to which edit of whom its author had seen, itself included.
    seen: BTreeMap<u64, u64>,
    edit: Edit,
    reply: Outcome,
}

impl Said {
    fn has_seen(&self, dot: (u64, u64)) -> bool {
        self.seen.get(&dot.0).is_some_and(|count| *count >= dot.1)
    }

    fn change_of(&self, part: &Part) -> Option<(usize, &Change)> {
        let mut changes = self.edit.changes.iter().enumerate();
        changes.find(|(_, change)| change.part() == *part)
    }
}

/// How the author of a random edit came to it. Numbers are reduced to what exists.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// Online, so many revisions behind.
    Revision(u64),
    /// An actor who has its own edits, and read the address as it was after so many.
    Offline(u64, usize),
    /// An actor that forgot so many of its own edits.
    Forgot(u64, u64),
    /// An actor that skipped one of its own.
    Skipped(u64),
    /// The very edit that was sent before.
    Again(usize),
}

/// A random step.
#[derive(Clone, Debug)]
pub(super) enum EditStep {
    Annotate(usize, bool, Vec<Change>, Seen),
    /// Which conflict, how many revisions behind, by a person, and how.
    Resolve(usize, u64, bool, Ending),
}

/// How a random conflict ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Keep(usize),
    Dismiss,
    Merge(String),
    Withdraw,
}

pub(super) fn edit_steps() -> impl Strategy<Value = EditStep> {
    let text = || prop::sample::select(vec!["x", "y", "z"]).prop_map(str::to_owned);
    let name = || prop::sample::select(vec!["m", "n"]).prop_map(str::to_owned);
    let note = |(name, text)| Change::PutNote {
        name,
        note: Note { text, anchor: None },
    };
    let change = prop_oneof![
        3 => (name(), text()).prop_map(note),
        1 => name().prop_map(|name| Change::WithdrawNote { name }),
        3 => text().prop_map(Change::AddTag),
        2 => text().prop_map(Change::RemoveTag),
        1 => text().prop_map(Change::PutSummary),
        1 => Just(Change::WithdrawSummary),
    ];
    let changes = prop::collection::vec(change, 1..4).prop_map(|mut changes: Vec<Change>| {
        changes.sort_by_key(Change::part);
        changes.dedup_by_key(|change| change.part());
        changes
    });
    let seen = prop_oneof![
        3 => (0..3u64).prop_map(|behind| Seen::Revision(behind / 2)),
        8 => (1..4u64, any::<usize>()).prop_map(|(actor, at)| Seen::Offline(actor, at)),
        1 => (1..4u64, 1..3u64).prop_map(|(actor, count)| Seen::Forgot(actor, count)),
        1 => (1..4u64).prop_map(Seen::Skipped),
        1 => any::<usize>().prop_map(Seen::Again),
    ];
    let ending = prop_oneof![
        2 => any::<usize>().prop_map(Ending::Keep),
        1 => Just(Ending::Dismiss),
        1 => text().prop_map(Ending::Merge),
        1 => Just(Ending::Withdraw),
    ];
    prop_oneof![
        8 => (0..2usize, any::<bool>(), changes, seen)
            .prop_map(|(name, person, changes, seen)| EditStep::Annotate(name, person, changes, seen)),
        2 => (any::<usize>(), 0..3u64, any::<bool>(), ending)
            .prop_map(|(which, behind, person, ending)| EditStep::Resolve(which, behind / 2, person, ending)),
    ]
}

/// Values at a part, each with the edit that it came with.
type Standing<'a> = Vec<(&'a Said, Content)>;

/// The values at a part after these edits: those that no later edit of it had seen.
fn standing<'a>(said: &'a [Said], part: &Part) -> Standing<'a> {
    let mut standing = Vec::new();
    for (at, one) in said.iter().enumerate() {
        let content = one.change_of(part).and_then(|(_, change)| change.content());
        let gone = |later: &Said| later.change_of(part).is_some() && later.has_seen(one.dot);
        if let Some(content) = content
            && !said[at + 1..].iter().any(gone)
        {
            standing.push((one, content));
        }
    }
    standing
}

/// The conflict at a part after these edits: since when there has been more than one
/// value without a break.
fn conflict(said: &[Said], part: &Part) -> Option<ConflictId> {
    if matches!(part, Part::Tag(_)) {
        return None;
    }
    let mut open = None;
    for count in 1..=said.len() {
        let last = &said[count - 1];
        if standing(&said[..count], part).len() < 2 {
            open = None;
        } else if let Some((position, _)) = last.change_of(part) {
            open = open.or(Some(ConflictId {
                index: LogIndex(last.index),
                position: position as u32,
            }));
        }
    }
    open
}

fn chosen(standing: &[(&Said, Content)]) -> (Dot, Content) {
    let rank = |(said, _): &&(&Said, Content)| (said.edit.author == Author::Person, said.index);
    let (said, content) = standing.iter().max_by_key(rank).unwrap();
    (dot(said.dot), content.clone())
}

fn dot((actor, counter): (u64, u64)) -> Dot {
    Dot {
        actor: ActorId(actor),
        counter,
    }
}

fn vector(seen: &BTreeMap<u64, u64>) -> VersionVector {
    let dots = seen.iter().map(|(actor, counter)| dot((*actor, *counter)));
    dots.collect()
}

/// All that anybody of these had seen.
fn known(said: &[Said]) -> BTreeMap<u64, u64> {
    let mut known = BTreeMap::new();
    for (actor, count) in said.iter().flat_map(|said| &said.seen) {
        let most = known.entry(*actor).or_insert(0);
        *most = (*count).max(*most);
    }
    known
}

/// A command, what is to come of it, and what is to be noted if it is taken.
pub(super) struct Expected {
    pub(super) command: Command,
    pub(super) outcome: Outcome,
    taken: Option<(usize, Said)>,
}

impl Model {
    fn said(&self, name: usize) -> &[Said] {
        self.said.get(&name).map_or(&[], Vec::as_slice)
    }

    /// What a step asks for, and what the entry of this index is to come to.
    pub(super) fn expect_edit(&self, step: EditStep, index: u64) -> Option<Expected> {
        match step {
            EditStep::Annotate(name, person, changes, seen) => {
                let author = [Author::Agent, Author::Person][usize::from(person)];
                self.expect_annotate(name, Edit { author, changes }, seen, index)
            }
            EditStep::Resolve(which, behind, person, ending) => {
                self.expect_resolve(which, behind, person, ending, index)
            }
        }
    }

    fn expect_annotate(
        &self,
        name: usize,
        mut edit: Edit,
        how: Seen,
        index: u64,
    ) -> Option<Expected> {
        let said = self.said(name);
        let all = known(said);
        let own = |actor: u64| all.get(&actor).copied().unwrap_or(0);
        let mut seen = BTreeMap::new();
        let actor = match how {
            Seen::Revision(behind) => return Some(self.expect_online(name, edit, behind, index)),
            Seen::Again(at) => {
                let offline = said.iter().filter(|said| said.dot.0 > 0);
                let offline: Vec<&Said> = offline.collect();
                let again = offline.get(at % offline.len().max(1))?;
                seen.clone_from(&again.seen);
                edit = again.edit.clone();
                again.dot.0
            }
            Seen::Offline(actor, at) => {
                seen = known(&said[..at % (said.len() + 1)]);
                seen.insert(actor, own(actor) + 1);
                actor
            }
            Seen::Forgot(actor, count) => {
                seen.insert(actor, own(actor).saturating_sub(count - 1).max(1));
                actor
            }
            Seen::Skipped(actor) => {
                seen.insert(actor, own(actor) + 2);
                actor
            }
        };
        let counter = seen[&actor];
        let place = address(NAMES[name]);
        let command = Command::Annotate {
            address: place.clone(),
            edit: edit.clone(),
            basis: Basis::Version {
                actor: ActorId(actor),
                version: vector(&seen),
            },
        };
        let expected = |outcome| Expected {
            command: command.clone(),
            outcome,
            taken: None,
        };
        if counter > own(actor) + 1 {
            return Some(expected(Outcome::Rejected(Rejection::EditAhead {
                address: place,
                dot: dot((actor, counter)),
                actor: ActorId(actor),
                seen: counter - 1,
                known: own(actor),
            })));
        }
        if counter <= own(actor) {
            let kept = said.len().saturating_sub(HISTORY_EDITS_MAX as usize);
            let before = said[kept..]
                .iter()
                .find(|said| said.dot == (actor, counter));
            let same = before.filter(|before| before.seen == seen && before.edit == edit);
            return Some(expected(match same {
                Some(same) => same.reply.clone(),
                None => {
                    let winner = before.or(said.last()).unwrap();
                    Outcome::Rejected(Rejection::EditDominated {
                        address: place,
                        dot: dot((actor, counter)),
                        winner: dot(winner.dot),
                        index: LogIndex(winner.index),
                        version: Box::new(vector(&all)),
                    })
                }
            }));
        }
        let taken = self.take_in(name, edit, (actor, counter), seen, index);
        Some(Expected {
            command,
            outcome: taken.reply.clone(),
            taken: Some((name, taken)),
        })
    }

    fn expect_online(&self, name: usize, edit: Edit, behind: u64, index: u64) -> Expected {
        let current = self.said(name).len() as u64;
        let revision = Revision(current.wrapping_sub(behind));
        let command = Command::Annotate {
            address: address(NAMES[name]),
            edit: edit.clone(),
            basis: Basis::Revision(revision),
        };
        match self.stale(name, revision) {
            Some(outcome) => Expected {
                command,
                outcome,
                taken: None,
            },
            None => {
                let (dot, seen) = self.next_of_log(name);
                let taken = self.take_in(name, edit, dot, seen, index);
                Expected {
                    command,
                    outcome: taken.reply.clone(),
                    taken: Some((name, taken)),
                }
            }
        }
    }

    fn stale(&self, name: usize, expected: Revision) -> Option<Outcome> {
        let current = Revision(self.said(name).len() as u64);
        (expected != current).then(|| {
            Outcome::Rejected(Rejection::RevisionMoved {
                address: address(NAMES[name]),
                expected,
                current,
            })
        })
    }

    fn next_of_log(&self, name: usize) -> ((u64, u64), BTreeMap<u64, u64>) {
        let mut seen = known(self.said(name));
        let counter = seen.get(&0).copied().unwrap_or(0) + 1;
        seen.insert(0, counter);
        ((0, counter), seen)
    }

    /// An edit that is taken, with its reply.
    fn take_in(
        &self,
        name: usize,
        edit: Edit,
        dot: (u64, u64),
        seen: BTreeMap<u64, u64>,
        index: u64,
    ) -> Said {
        let mut all = self.said(name).to_vec();
        let missed = all.iter().any(|before| {
            let count = seen.get(&before.dot.0);
            count.is_none_or(|count| *count < before.dot.1)
        });
        let reply = Outcome::Completed;
        all.push(Said {
            index,
            dot,
            seen,
            edit,
            reply,
        });
        let last = all.last().unwrap();
        let puts = last.edit.changes.iter();
        let puts = puts.filter(|change| change.content().is_some());
        let conflicts = puts.filter_map(|change| conflict(&all, &change.part()));
        let reply = Outcome::Annotated {
            revision: Revision(all.len() as u64),
            merge: if missed {
                Merge::Concurrent
            } else {
                Merge::After
            },
            conflicts: conflicts.collect(),
        };
        let last = all.pop().unwrap();
        Said { reply, ..last }
    }

    /// The open conflicts: where, of what, and its sides.
    fn open(&self) -> BTreeMap<ConflictId, (usize, Part, Standing<'_>)> {
        let mut open = BTreeMap::new();
        for (name, said) in &self.said {
            for part in parts(said) {
                if let Some(id) = conflict(said, &part) {
                    let sides = standing(said, &part);
                    open.insert(id, (*name, part, sides));
                }
            }
        }
        open
    }

    fn expect_resolve(
        &self,
        which: usize,
        behind: u64,
        person: bool,
        ending: Ending,
        index: u64,
    ) -> Option<Expected> {
        let open = self.open();
        let (id, (name, part, sides)) = open.iter().nth(which % open.len().max(1))?;
        let revision = Revision((self.said(*name).len() as u64).wrapping_sub(behind));
        let author = [Author::Agent, Author::Person][usize::from(person)];
        let put = |content: &Content| match (part, content) {
            (Part::Note(name), Content::Note(note)) => Change::PutNote {
                name: name.clone(),
                note: note.clone(),
            },
            (_, Content::Summary(text)) => Change::PutSummary(text.clone()),
            other => panic!("{other:?} is in conflict"),
        };
        let author_of = |kept: Dot| {
            let kept = sides.iter().find(|(said, _)| dot(said.dot) == kept);
            kept.unwrap().0.edit.author
        };
        let (resolution, change, author_then) = match ending {
            Ending::Keep(at) => {
                let (said, content) = &sides[at % sides.len()];
                let side = dot(said.dot);
                (Resolution::Keep { side }, put(content), author_of(side))
            }
            Ending::Dismiss => {
                let (side, content) = chosen(sides);
                (Resolution::Dismiss, put(&content), author_of(side))
            }
            Ending::Merge(text) => {
                let change = match part {
                    Part::Note(name) => Change::PutNote {
                        name: name.clone(),
                        note: Note { text, anchor: None },
                    },
                    _ => Change::PutSummary(text),
                };
                (Resolution::Merge(change.clone()), change, author)
            }
            Ending::Withdraw => {
                let change = match part {
                    Part::Note(name) => Change::WithdrawNote { name: name.clone() },
                    _ => Change::WithdrawSummary,
                };
                (Resolution::Merge(change.clone()), change, author)
            }
        };
        let command = Command::Resolve {
            address: address(NAMES[*name]),
            conflict: *id,
            revision,
            author,
            resolution: Box::new(resolution),
        };
        if let Some(outcome) = self.stale(*name, revision) {
            return Some(Expected {
                command,
                outcome,
                taken: None,
            });
        }
        let edit = Edit {
            author: if author_then == Author::Person {
                author_then
            } else {
                author
            },
            changes: vec![change],
        };
        let (dot, seen) = self.next_of_log(*name);
        let taken = self.take_in(*name, edit, dot, seen, index);
        Some(Expected {
            command,
            outcome: Outcome::Resolved {
                revision: Revision(self.said(*name).len() as u64 + 1),
            },
            taken: Some((*name, taken)),
        })
    }

    pub(super) fn note_said(&mut self, expected: Expected) {
        if let Some((name, said)) = expected.taken {
            self.said.entry(name).or_default().push(said);
        }
    }

    /// Does the queue show what the model says?
    pub(super) fn compare_edits(&self, queue: &QueueManager) {
        for (name, said) in &self.said {
            let view = queue.edited(&address(NAMES[*name])).unwrap();
            assert_eq!(view.revision, Revision(said.len() as u64));
            assert_eq!(view.version, vector(&known(said)));
            let mut notes = BTreeMap::new();
            let mut tags = Vec::new();
            let mut summary = None;
            for part in parts(said) {
                let sides = standing(said, &part);
                if sides.is_empty() {
                    continue;
                }
                match (&part, chosen(&sides).1) {
                    (Part::Tag(tag), _) => tags.push(tag.clone()),
                    (Part::Note(name), content) => drop(notes.insert(name.clone(), content)),
                    (Part::Summary, content) => summary = Some(content),
                }
            }
            assert_eq!(view.tags, tags, "tags of {name} after {said:?}");
            let shown = view.summary.map(|summary| Content::Summary(summary.text));
            assert_eq!(shown, summary, "the summary of {name} after {said:?}");
            let shown = view.notes.into_iter();
            let shown = shown.map(|note| (note.name, Content::Note(note.note)));
            assert_eq!(shown.collect::<BTreeMap<_, _>>(), notes);
            let (_, edits) = queue.history(&address(NAMES[*name]));
            let kept = said.len().saturating_sub(HISTORY_EDITS_MAX as usize);
            let dots = said[kept..].iter().map(|said| dot(said.dot));
            assert!(
                edits.iter().map(|edit| edit.dot).eq(dots),
                "the history of {name}"
            );
        }
        let (conflicts, next) = queue.conflicts(ConflictId::default(), u32::MAX);
        assert_eq!(next, None);
        let shown = conflicts.into_iter().map(|conflict| {
            let sides = conflict.sides.into_iter();
            let sides: Vec<(Dot, Content)> = sides.map(|side| (side.dot, side.content)).collect();
            (conflict.id, conflict.part, sides)
        });
        let open = self.open().into_iter().map(|(id, (_, part, sides))| {
            let sides = sides.into_iter();
            let sides: Vec<(Dot, Content)> = sides
                .map(|(said, content)| (dot(said.dot), content))
                .collect();
            (id, part, sides)
        });
        assert_eq!(shown.collect::<Vec<_>>(), open.collect::<Vec<_>>());
    }
}

/// All parts that these edits are about, in order.
fn parts(said: &[Said]) -> BTreeSet<Part> {
    let changes = said.iter().flat_map(|said| &said.edit.changes);
    changes.map(Change::part).collect()
}
