//! Is a snapshot what it says? Puts the parts together as a disk does, and
//! compares the state in them with what the replicas had at its index. A wrong
//! one would show only at a restart, when the log that it replaces is gone.

use precentor_core::action::{Action, BodyOf};
use precentor_core::digest::Digest;
use precentor_core::event::Event;
use precentor_core::queue::{BodyCursor, QueueManager};
use precentor_core::snapshot::{SnapshotMeta, SnapshotPart};
use precentor_core::view::View;

use super::queue::Queue;
use super::{Checker, Verdict, ensure};
use crate::disk::Disk;
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// What was seen of one node's snapshots.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The one that it is giving out, as far as it came.
    taking: Option<(SnapshotMeta, Vec<u8>)>,
    /// A leader's was put in force, and is judged when the turn is over.
    installed: bool,
}

/// The snapshots of all nodes.
#[derive(Clone, Debug)]
pub struct Snapshots(Vec<Seen>);

impl Snapshots {
    pub(super) fn new(count: usize) -> Snapshots {
        Snapshots(vec![Seen::default(); count])
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.0[place] = Seen::default();
    }

    pub(super) fn on_event(&mut self, place: Place, event: &Event) {
        self.0[place].installed |= matches!(event, Event::SnapshotInstalled { .. });
    }

    /// A node that stands on a leader's snapshot has all that it speaks of, and
    /// knows that it does: it offers what its disk holds. What the state speaks of
    /// since, for the log was faster, the same turn may put there.
    pub(super) fn on_installed(
        &mut self,
        place: Place,
        view: &View<'_>,
        actions: &[Action],
        disk: &Disk,
    ) -> Verdict {
        if !std::mem::take(&mut self.0[place].installed) {
            return Ok(());
        }
        let (known, held) = (view.snapshot(), disk.shelf.snapshot_index());
        ensure(known == held, Checker::SnapshotIsState, || {
            let node = view.node();
            format!("{node} takes {known} for its snapshot, and its disk holds {held}")
        })?;
        let mut after = None;
        loop {
            let (digests, next) = view.queue().bodies_after(after, 1_000);
            let of = match next.is_some_and(BodyCursor::is_at_source) {
                true => BodyOf::Source,
                false => BodyOf::Result,
            };
            let mut lacking = disk.shelf.lacking(digests, of);
            lacking.retain(|lacking| !actions.iter().any(|action| puts(action, *lacking, of)));
            ensure(lacking.is_empty(), Checker::SnapshotIsState, || {
                format!(
                    "{} stands on a snapshot and lacks {} bodies, {:?} among them",
                    view.node(),
                    lacking.len(),
                    lacking.first()
                )
            })?;
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    /// A host may perform a turn's actions in any order: two parts in one turn
    /// would have none.
    pub(super) fn on_turn(&self, actions: &[Action]) -> Verdict {
        let is_part = |action: &&Action| matches!(action, Action::SaveSnapshot(_));
        let count = actions.iter().filter(is_part).count();
        ensure(count <= 1, Checker::SnapshotIsState, || {
            format!("{count} parts of a snapshot in one turn")
        })
    }

    pub(super) fn on_part(
        &mut self,
        place: Place,
        part: &SnapshotPart,
        disk: &Disk,
        queue: &Queue,
        marks: &mut Marks,
    ) -> Verdict {
        let SnapshotPart { meta, offset, .. } = part;
        if *offset == 0 {
            self.0[place].taking = Some((meta.clone(), Vec::new()));
        }
        let (begun, mut image) = self.0[place].taking.take().unzip();
        let held = image.as_ref().map(|image| image.len() as u64);
        ensure(
            begun.as_ref() == Some(meta) && held == Some(*offset),
            Checker::SnapshotIsState,
            || format!("a part of {meta:?} at {offset} follows {held:?} bytes of {begun:?}"),
        )?;
        ensure(
            disk.holds_durably(meta.index, meta.term),
            Checker::DurableFirst,
            || format!("a snapshot of {meta:?}, which is not durable there"),
        )?;
        let mut image = image.take().unwrap_or_default();
        image.extend_from_slice(&part.bytes);
        if !part.last {
            if *offset == 0 {
                marks.hit(Mark::SnapshotInParts);
            }
            self.0[place].taking = Some((meta.clone(), image));
            return Ok(());
        }
        let held = QueueManager::from_image(&image).map(|queue| queue.state_hash());
        let known = queue.hash_at(meta.index);
        ensure(
            held.as_ref() == Ok(&meta.state) && known.is_none_or(|known| known == meta.state),
            Checker::SnapshotIsState,
            || format!("a snapshot of {meta:?} holds {held:?}; the replicas have {known:?} there"),
        )
    }
}

fn puts(action: &Action, body: Digest, sort: BodyOf) -> bool {
    matches!(action, Action::PutBlob { digest, of, .. } if (*digest, *of) == (body, sort))
}
