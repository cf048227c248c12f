//! Is a request that a client left with a node on its disk before the client is told so,
//! and does the node send what it keeps in order, and let go of nothing before a leader
//! has done it, or has refused it for good?

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::action::Action;
use precentor_core::command::Entry;
use precentor_core::event::Event;
use precentor_core::ids::{LocalNumber, LogIndex, RequestId, Ticket};
use precentor_core::message::{Body, ForwardEnd};
use precentor_core::request::{Reply, Request};
use precentor_core::view::View;
use precentor_core::wire::command::decode;

use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// A request at a node.
#[derive(Clone, Copy, Debug)]
struct Kept {
    id: RequestId,
    durable: bool,
    /// Its client was told.
    promised: bool,
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Local {
    asked: BTreeMap<(Place, Ticket), RequestId>,
    kept: BTreeMap<(Place, LocalNumber), Kept>,
    /// What each node kept under an id last.
    entries: BTreeMap<(Place, RequestId), Entry>,
    /// Where a request stands in the log.
    stands: BTreeMap<RequestId, Vec<LogIndex>>,
    /// What a node heard that it will never be done.
    refused: BTreeSet<(Place, RequestId)>,
    /// What the node that takes a turn would have denied at its beginning.
    deniable: BTreeSet<(Place, RequestId)>,
}

fn claim(holds: bool, text: impl FnOnce() -> String) -> Verdict {
    ensure(holds, Checker::LocalQueue, text)
}

impl Local {
    /// A node comes back: whatever was on its disk it must find there.
    ///
    /// # Errors
    /// If it does not.
    pub fn on_recovered(&mut self, place: Place, view: &View<'_>, marks: &mut Marks) -> Verdict {
        let found: BTreeMap<LocalNumber, RequestId> = view
            .queued_locally()
            .map(|(number, id, _)| (number, id))
            .collect();
        let before = self.take(place);
        for (number, kept) in before.iter().filter(|(_, kept)| kept.durable) {
            let is_there = found.get(number) == Some(&kept.id);
            claim(is_there, || {
                let node = view.node();
                format!(
                    "{node} kept {:?} as {number}, and comes back with {found:?}",
                    kept.id
                )
            })?;
            if kept.promised {
                marks.hit(Mark::KeptThroughRestart);
            }
        }
        for (number, id) in found {
            let promised = before.get(&number).is_some_and(|kept| kept.promised);
            let kept = Kept {
                id,
                durable: true,
                promised,
            };
            self.kept.insert((place, number), kept);
        }
        Ok(())
    }

    /// Its disk is another one.
    pub(super) fn on_disk_lost(&mut self, place: Place) {
        self.take(place);
    }

    fn take(&mut self, place: Place) -> BTreeMap<LocalNumber, Kept> {
        self.asked.retain(|(at, _), _| *at != place);
        let mut taken = BTreeMap::new();
        self.kept.retain(|(at, number), kept| {
            if *at == place {
                taken.insert(*number, *kept);
            }
            *at != place
        });
        taken
    }

    /// A turn is over, in which it may have changed who may do what.
    pub(super) fn end_turn(&mut self) {
        self.deniable.clear();
    }

    pub(super) fn on_event(&mut self, place: Place, event: &Event, view: &View<'_>) {
        let own = self.of(place).next().map(|(_, kept)| (place, kept.id));
        let sent = match event {
            Event::Peer { from, message } => match &message.body {
                Body::Forward { entry, .. } => id_of(entry).map(|id| (from.0 as usize - 1, id)),
                _ => None,
            },
            _ => None,
        };
        for key in own.into_iter().chain(sent) {
            if is_denied(self.entries.get(&key), view) {
                self.deniable.insert(key);
            }
        }
        match event {
            Event::Client {
                ticket,
                request: Request::QueueLocally { request, .. },
                ..
            } => {
                self.asked.insert((place, *ticket), *request);
            }
            Event::RequestKept { number } => {
                if let Some(kept) = self.kept.get_mut(&(place, *number)) {
                    kept.durable = true;
                }
            }
            Event::Peer { message, .. } => {
                if let Body::Forwarded {
                    request,
                    end: ForwardEnd::Refused { .. },
                    ..
                } = &message.body
                {
                    self.refused.insert((place, *request));
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_committed(&mut self, index: LogIndex, logs: &Logs) {
        let entry = logs.get(index).and_then(|it| it.command.as_ref());
        if let Some(request) = entry.and_then(|entry| entry.request) {
            self.stands.entry(request).or_default().push(index);
        }
    }

    pub(super) fn on_action(
        &mut self,
        place: Place,
        action: &Action,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        match action {
            Action::KeepRequest { number, entry } => self.on_keep(place, *number, entry, view),
            Action::DropRequest { number } => self.on_drop(place, *number, view),
            Action::Answer { ticket, reply } => self.on_answer(place, *ticket, reply, view, marks),
            Action::Say { to, message } => match &message.body {
                Body::Forward { entry, .. } => self.on_forward(place, entry, view),
                Body::Forwarded { request, end, .. } => {
                    let to = to.0 as usize - 1;
                    self.on_forwarded(to, *request, end, view, logs, marks)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn on_keep(
        &mut self,
        place: Place,
        number: LocalNumber,
        entry: &[u8],
        view: &View<'_>,
    ) -> Verdict {
        let node = view.node();
        let last = self.of(place).next_back().map(|(number, _)| number);
        claim(last.is_none_or(|last| last < number), || {
            format!("{node} keeps a request as {number} after {last:?}")
        })?;
        let entry = decode(entry);
        let id = entry.as_ref().ok().and_then(|entry| entry.request);
        let (Ok(entry), Some(id)) = (entry, id) else {
            return claim(false, || {
                format!("{node} keeps as {number} what is no request")
            });
        };
        let is_new = self.of(place).all(|(_, kept)| kept.id != id);
        claim(is_new, || format!("{node} keeps {id:?} twice"))?;
        self.entries.insert((place, id), entry);
        self.refused.remove(&(place, id));
        let kept = Kept {
            id,
            durable: false,
            promised: false,
        };
        self.kept.insert((place, number), kept);
        Ok(())
    }

    fn of(&self, place: Place) -> impl DoubleEndedIterator<Item = (LocalNumber, &Kept)> {
        let all = (place, LocalNumber(0))..=(place, LocalNumber(u64::MAX));
        let all = self.kept.range(all);
        all.map(|((_, number), kept)| (*number, kept))
    }

    fn on_answer(
        &mut self,
        place: Place,
        ticket: Ticket,
        reply: &Reply,
        view: &View<'_>,
        marks: &mut Marks,
    ) -> Verdict {
        let asked = self.asked.remove(&(place, ticket));
        match reply {
            Reply::QueuedLocally => {}
            Reply::Refused {
                reason: precentor_core::request::Refusal::LocalQueueFull,
                ..
            } => {
                marks.hit(Mark::LocalQueueFull);
                return Ok(());
            }
            _ => return Ok(()),
        }
        marks.hit(Mark::QueuedLocally);
        let all = (place, LocalNumber(0))..=(place, LocalNumber(u64::MAX));
        let mut all = self.kept.range_mut(all);
        let kept = all.find(|(_, kept)| Some(kept.id) == asked);
        let Some((_, kept)) = kept.filter(|(_, kept)| kept.durable) else {
            let node = view.node();
            return claim(false, || {
                format!("{node} says that it keeps {asked:?}, and its disk does not")
            });
        };
        kept.promised = true;
        Ok(())
    }

    fn on_forward(&self, place: Place, entry: &[u8], view: &View<'_>) -> Verdict {
        let id = id_of(entry);
        let first = self.of(place).next();
        let is_first = first.is_some_and(|(_, kept)| Some(kept.id) == id && kept.durable);
        claim(is_first, || {
            let node = view.node();
            format!("{node} sends {id:?}, and the first that it keeps is {first:?}")
        })
    }

    /// What a leader says of what `to` sent it.
    fn on_forwarded(
        &self,
        to: Place,
        request: RequestId,
        end: &ForwardEnd,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        let stands = self.stands.get(&request).map_or(&[][..], Vec::as_slice);
        let holds = match end {
            ForwardEnd::Again { .. } => true,
            ForwardEnd::Settled { index } => {
                marks.hit(Mark::LocalSettled);
                stands.iter().any(|at| at <= index)
            }
            ForwardEnd::Refused { .. } => {
                marks.hit(Mark::LocalRefused);
                stands.iter().any(|at| logs.was_rejected(*at)) || self.denies((to, request), view)
            }
        };
        claim(holds, || {
            let node = view.node();
            format!("{node} says of {request:?}, which stands at {stands:?}: {end:?}")
        })
    }

    fn on_drop(&mut self, place: Place, number: LocalNumber, view: &View<'_>) -> Verdict {
        let kept = self.kept.remove(&(place, number));
        let node = view.node();
        let Some(kept) = kept else {
            return claim(false, || {
                format!("{node} lets {number} go, which it does not keep")
            });
        };
        let key = (place, kept.id);
        let is_over = self.stands.contains_key(&kept.id)
            || self.refused.contains(&key)
            || self.denies(key, view);
        claim(is_over, || {
            format!("{node} lets go of {kept:?}, which nobody has done or refused")
        })
    }

    /// Might the node that takes a turn deny it, at the turn's beginning or at its end?
    fn denies(&self, key: (Place, RequestId), view: &View<'_>) -> bool {
        self.deniable.contains(&key) || is_denied(self.entries.get(&key), view)
    }

    /// What a node still keeps, in words.
    #[must_use]
    pub fn left(&self, place: Place) -> Option<String> {
        let left: Vec<_> = self.of(place).collect();
        (!left.is_empty()).then(|| format!("n{} still keeps {left:?}", place + 1))
    }
}

/// Which request an encoded entry is.
fn id_of(entry: &[u8]) -> Option<RequestId> {
    decode(entry).ok().and_then(|entry| entry.request)
}

/// May its principal not have it done, by what a node has applied?
fn is_denied(entry: Option<&Entry>, view: &View<'_>) -> bool {
    entry.is_some_and(|entry| {
        let (who, queue) = (&entry.principal, view.queue());
        queue.session_denial(who, entry.request).is_some()
            || queue.command_denial(who, &entry.command).is_some()
    })
}
