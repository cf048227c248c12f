//! Performs what a turn asked for: writes to the disk, messages to the wires,
//! answers to those who asked. May die between any two actions.

use precentor_core::action::Action;
use precentor_core::event::Event;
use precentor_core::ids::NodeId;
use precentor_core::message::Message;
use precentor_core::wire::hello::WireVersion;
use precentor_core::wire::message::{decode, encode};

use super::{Happening, Stage};
use crate::check::{Checker, Verdict, ensure};
use crate::chronicle::{Lane, Lasting, Sort};
use crate::disk::WriteEnd;
use crate::marks::Mark;
use crate::network::{Place, lane};
use crate::tape::Domain;

/// One message in so many goes through its bytes.
const ENCODED_ONE_IN: u64 = 16;

/// How long a read from the disk takes.
const READ_US: u64 = 200;

impl Stage {
    pub(super) fn perform(&mut self, place: Place, actions: &mut Vec<Action>) -> Verdict {
        let shuffle = self.scenario.shuffle_ppm;
        if actions.len() > 1
            && let Some(mut roll) = self
                .tape
                .fault(Domain::ActionsShuffled, place as u32, shuffle)
        {
            roll.shuffle(actions);
            // Writes keep their order among themselves. So do the parts of a
            // snapshot: a turn has one, which a judge has made sure of.
            let mut writes: Vec<Action> = Vec::new();
            actions.retain(|action| {
                let is_write = matches!(action, Action::Write(_));
                if is_write {
                    writes.push(action.clone());
                }
                !is_write
            });
            writes.sort_by_key(|action| match action {
                Action::Write(write) => write.id,
                _ => precentor_core::ids::WriteId(0),
            });
            let at = roll.below(actions.len() as u64 + 1) as usize;
            actions.splice(at..at, writes);
        }
        let mid_turn = self.scenario.nemesis.mid_turn_ppm;
        let mut stop_at = usize::MAX;
        if !actions.is_empty()
            && let Some(mut roll) = self
                .tape
                .fault(Domain::CrashMidTurn, place as u32, mid_turn)
        {
            stop_at = roll.below(actions.len() as u64) as usize;
        }
        for (nth, action) in actions.drain(..).enumerate() {
            if nth == stop_at {
                self.stop(place);
                return Ok(());
            }
            self.act(place, action)?;
        }
        Ok(())
    }

    fn act(&mut self, place: Place, action: Action) -> Verdict {
        let (now_us, life) = (self.now_us, self.machines[place].life);
        self.trace.fold(code(&action));
        let own = Lane::Node(place);
        self.trace
            .tell(now_us, own, Sort::Action, || format!("{action:?}"));
        match action {
            Action::Write(write) => {
                let id = write.id;
                let end = self.disks[place].write(write, now_us, &mut self.tape);
                if let Some(chronicle) = self.trace.chronicle() {
                    let (until_us, text) = match &end {
                        WriteEnd::Durable(at_us) => (*at_us, format!("{id:?}")),
                        WriteEnd::Failed(at_us) => (*at_us, format!("{id:?} fails")),
                    };
                    chronicle.lasts(own, Lasting::Write, now_us, Some(until_us), text);
                }
                match end {
                    WriteEnd::Durable(at_us) => {
                        self.agenda.put(at_us, Happening::Synced { place, life })
                    }
                    WriteEnd::Failed(at_us) => {
                        self.agenda.put(
                            at_us,
                            Happening::SyncFailed {
                                place,
                                life,
                                write: id,
                            },
                        );
                    }
                }
            }
            Action::Say { to, message } => return self.say(place, to, message),
            Action::Answer { ticket, reply } => {
                let lane = crate::desk::lane_of(ticket);
                let at_us = self.client_arrival(lane);
                if let Some(chronicle) = self.trace.chronicle() {
                    chronicle.sent((own, Lane::of_actor(lane)), now_us, at_us, &reply);
                }
                if let Some(at_us) = at_us {
                    self.agenda.put(at_us, Happening::Tell { ticket, reply });
                }
            }
            Action::ReadLog {
                read,
                from,
                to,
                bytes_max,
            } => {
                let entries = self.disks[place].read(from, to, bytes_max);
                self.report(place, Event::LogRead { read, entries });
            }
            Action::SaveSnapshot(part) => {
                let at_us = self.disks[place].save(part, now_us, &mut self.tape);
                if let Some(at_us) = at_us {
                    self.agenda.put(at_us, Happening::Saved { place, life });
                }
            }
            Action::CompactLog { up_to } => {
                self.marks.hit(Mark::LogCompacted);
                self.disks[place].compact(up_to);
            }
            Action::PutBlob { digest, body, of } => {
                self.disks[place].shelf.put(digest, body, of);
            }
            Action::DropSource { digest, index } => {
                self.disks[place].shelf.drop_source(digest, index);
            }
            Action::KeepPiece(part) => self.disks[place].shelf.keep_piece(part),
            Action::InstallSnapshot { index } => {
                let at_us = self.disks[place].install(index, now_us, &mut self.tape);
                self.agenda.put(at_us, Happening::Installed { place, life });
            }
            Action::ReadSnapshot {
                read,
                index,
                offset,
                bytes_max,
            } => {
                let bytes_max = bytes_max.min(self.scenario.piece_bytes_max);
                let piece = self.disks[place].shelf.read_image(index, offset, bytes_max);
                self.report(place, Event::SnapshotRead { read, piece });
            }
            Action::ReadBodies {
                read,
                digests,
                bytes_max,
            } => {
                let bytes_max = bytes_max.min(self.scenario.piece_bytes_max);
                let bodies = self.disks[place].shelf.read_bodies(&digests, bytes_max);
                self.report(place, Event::BodiesRead { read, bodies });
            }
            Action::FindLacking { digests, of } => {
                let digests = self.disks[place].shelf.lacking(digests, of);
                self.report(place, Event::BodiesLacking { digests });
            }
            Action::Work(work) => {
                let work_us = self.scenario.work_us_max;
                let mut roll = self.tape.roll(Domain::Work, place as u32);
                let at_us = now_us + READ_US + roll.below(work_us + 1);
                let event = Event::WorkDone(work.run());
                self.agenda
                    .put(at_us, Happening::Report { place, life, event });
            }
            Action::KeepRequest { number, entry } => {
                let kept = (number, entry);
                let at_us = self.disks[place].keep_request(kept, now_us, &mut self.tape);
                let event = Event::RequestKept { number };
                self.agenda
                    .put(at_us, Happening::Report { place, life, event });
            }
            Action::DropRequest { number } => self.disks[place].local.let_go(number),
            // Audit and halts were judged already.
            Action::Audit(_) | Action::Halt(_) => {}
        }
        Ok(())
    }

    /// A node's own snapshot is durable, unless it was stopped before.
    pub(super) fn saved(&mut self, place: Place, life: u32) {
        if self.machines[place].life == life
            && let Some(index) = self.disks[place].shelf.saved()
        {
            self.marks.hit(Mark::SnapshotTaken);
            self.deliver(place, Event::SnapshotSaved { index });
        }
    }

    /// A leader's snapshot is in force, unless the node was stopped before.
    pub(super) fn installed(&mut self, place: Place, life: u32) {
        if self.machines[place].life == life
            && let Some(index) = self.disks[place].shelf.installed()
        {
            self.mark_install(place);
            self.deliver(place, Event::SnapshotInstalled { index });
        }
    }

    /// What was asked of the disk is there.
    pub(super) fn reported(&mut self, place: Place, life: u32, event: Event) {
        if self.machines[place].life == life {
            match event {
                Event::LogRead { .. } => self.marks.hit(Mark::OldEntriesRead),
                Event::RequestKept { number } => self.disks[place].local.done(number),
                _ => {}
            }
            self.deliver(place, event);
        }
    }

    /// Something that was read from the disk comes a little later.
    fn report(&mut self, place: Place, event: Event) {
        let life = self.machines[place].life;
        let at_us = self.now_us + READ_US;
        self.agenda
            .put(at_us, Happening::Report { place, life, event });
    }

    fn say(&mut self, from: Place, to: NodeId, message: Message) -> Verdict {
        let to = to.0 as usize - 1;
        self.messages += 1;
        if self.messages.is_multiple_of(ENCODED_ONE_IN) {
            let version = match self.messages.is_multiple_of(2 * ENCODED_ONE_IN) {
                true => WireVersion::FIRST,
                false => WireVersion::SECOND,
            };
            let decoded = decode(&encode(&message, version), version);
            ensure(
                decoded.as_ref().is_ok_and(|d| *d == message),
                Checker::Wire,
                || format!("{message:?} came back from its bytes as {decoded:?}"),
            )?;
        }
        if !self.network.is_open(from, to) {
            return Ok(());
        }
        if self.scenario.upgrade.is_some() {
            self.write_letter(from, to, message);
            return Ok(());
        }
        let generation = self.network.generation(from, to);
        let arrivals = self.network.send(from, to, self.now_us, &mut self.tape);
        self.chronicle_message(from, to, &arrivals, &message);
        if let Some(at_us) = arrivals.second_us {
            let message = message.clone();
            self.agenda.put(
                at_us,
                Happening::Arrive {
                    from,
                    to,
                    generation,
                    message,
                },
            );
        }
        if let Some(at_us) = arrivals.first_us {
            self.agenda.put(
                at_us,
                Happening::Arrive {
                    from,
                    to,
                    generation,
                    message,
                },
            );
        }
        Ok(())
    }

    /// Is that connection still the open one?
    pub(super) fn is_current(&self, from: Place, to: Place, generation: u32) -> bool {
        self.network.is_open(from, to) && self.network.generation(from, to) == generation
    }

    /// Does what was sent over a connection arrive? After it was closed rarely.
    pub(super) fn gets_through(&mut self, from: Place, to: Place, generation: u32) -> bool {
        let stale_ppm = self.scenario.network.stale_ppm;
        let link = lane(from, to);
        self.is_current(from, to, generation)
            || self
                .tape
                .fault(Domain::StaleDelivery, link, stale_ppm)
                .is_some()
    }

    pub(super) fn arrive(
        &mut self,
        from: Place,
        to: Place,
        generation: u32,
        message: Message,
    ) -> Verdict {
        if !self.gets_through(from, to, generation) {
            return Ok(());
        }
        let from = NodeId(from as u64 + 1);
        self.deliver(to, Event::Peer { from, message });
        Ok(())
    }
}

/// What the hash of a run remembers of an action.
fn code(action: &Action) -> u64 {
    match action {
        Action::Write(write) => write.id.0 << 8 | write.entries.len() as u64,
        Action::Say { to, message } => 1 << 60 | to.0 << 40 | message.term.0,
        Action::Answer { ticket, .. } => 2 << 60 ^ ticket.0,
        Action::ReadLog { from, .. } => 3 << 60 | from.0,
        Action::PutBlob { .. } => 4 << 60,
        Action::DropSource { index, .. } => 16 << 56 | index.0,
        Action::KeepPiece(part) => 9 << 60 ^ part.offset << 40 ^ part.meta.index.0,
        Action::InstallSnapshot { index } => 10 << 60 | index.0,
        Action::ReadSnapshot { index, offset, .. } => 11 << 60 ^ offset << 40 ^ index.0,
        Action::ReadBodies { digests, .. } => 12 << 60 | digests.len() as u64,
        Action::FindLacking { digests, .. } => 13 << 60 | digests.len() as u64,
        Action::SaveSnapshot(part) => 5 << 60 ^ part.offset << 40 ^ part.meta.index.0,
        Action::CompactLog { up_to } => 6 << 60 | up_to.0,
        Action::Audit(record) => 7 << 60 ^ u64::from(record.digest.0[0]) << 32 ^ record.index.0,
        Action::Work(_) => 1,
        Action::KeepRequest { number, .. } => 14 << 60 | number.0,
        Action::DropRequest { number } => 15 << 60 | number.0,
        Action::Halt(_) => 8 << 60,
    }
}
