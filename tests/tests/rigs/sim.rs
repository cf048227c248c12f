//! The simulator's disk, with the actions performed as its stage does.

use std::collections::VecDeque;

use precentor_core::action::{Action, Write};
use precentor_core::driver::Recovered;
use precentor_core::entries::Entries;
use precentor_core::event::Event;
use precentor_core::ids::{LocalNumber, LogIndex, WriteId};
use precentor_sim::disk::{Disk, WriteEnd};
use precentor_sim::scenario::DiskOptions;
use precentor_sim::tape::Tape;
use precentor_tests::contract::Rig;

/// What will happen, and when.
#[derive(Debug)]
enum Due {
    Complete(u64),
    Failed(WriteId),
    Saved,
    /// A leader's snapshot is in force.
    Installed,
    /// A client's request is durable.
    Kept(u64, LocalNumber),
    Now(Event),
}

#[derive(Debug)]
pub(crate) struct SimRig {
    disk: Disk,
    tape: Tape,
    now_us: u64,
    due: VecDeque<Due>,
    broken: bool,
}

impl SimRig {
    pub(crate) fn new() -> SimRig {
        // Every write fails and every crash keeps some of what is not synced,
        // as far as the tape's luck is asked at all.
        let options = DiskOptions {
            fail_ppm: 1_000_000,
            keep_ppm: 500_000,
            ..DiskOptions::default()
        };
        SimRig {
            disk: Disk::new(options, 0),
            tape: calm(1),
            now_us: 0,
            due: VecDeque::new(),
            broken: false,
        }
    }
}

/// A tape without faults.
fn calm(seed: u64) -> Tape {
    let mut tape = Tape::of_seed(seed);
    tape.calm_down();
    tape
}

impl Rig for SimRig {
    fn perform(&mut self, action: Action) {
        // The core has halted: nothing more is performed.
        if self.broken {
            return;
        }
        match action {
            Action::Write(write) => {
                let id = write.id;
                self.due
                    .push_back(match self.disk.write(write, self.now_us, &mut self.tape) {
                        WriteEnd::Durable(at_us) => Due::Complete(at_us),
                        WriteEnd::Failed(_) => {
                            self.broken = true;
                            Due::Failed(id)
                        }
                    });
            }
            Action::ReadLog {
                read,
                from,
                to,
                bytes_max,
            } => {
                let entries = self.disk.read(from, to, bytes_max);
                self.due
                    .push_back(Due::Now(Event::LogRead { read, entries }));
            }
            Action::SaveSnapshot(part) => {
                let saved = self.disk.save(part, self.now_us, &mut self.tape);
                if saved.is_some() {
                    self.due.push_back(Due::Saved);
                }
            }
            Action::CompactLog { up_to } => self.disk.compact(up_to),
            Action::PutBlob { digest, body, of } => self.disk.shelf.put(digest, body, of),
            Action::DropSource { digest, index } => self.disk.shelf.drop_source(digest, index),
            Action::KeepPiece(part) => self.disk.shelf.keep_piece(part),
            Action::InstallSnapshot { index } => {
                self.disk.install(index, self.now_us, &mut self.tape);
                self.due.push_back(Due::Installed);
            }
            Action::ReadSnapshot {
                read,
                index,
                offset,
                bytes_max,
            } => {
                let piece = self.disk.shelf.read_image(index, offset, bytes_max);
                self.due
                    .push_back(Due::Now(Event::SnapshotRead { read, piece }));
            }
            Action::ReadBodies {
                read,
                digests,
                bytes_max,
            } => {
                let bodies = self.disk.shelf.read_bodies(&digests, bytes_max);
                self.due
                    .push_back(Due::Now(Event::BodiesRead { read, bodies }));
            }
            Action::FindLacking { digests, of } => {
                let digests = self.disk.shelf.lacking(digests, of);
                self.due
                    .push_back(Due::Now(Event::BodiesLacking { digests }));
            }
            Action::Work(work) => {
                let event = Event::WorkDone(work.run());
                self.due.push_back(Due::Now(event));
            }
            Action::KeepRequest { number, entry } => {
                let kept = (number, entry);
                let at_us = self.disk.keep_request(kept, self.now_us, &mut self.tape);
                self.due.push_back(Due::Kept(at_us, number));
            }
            Action::DropRequest { number } => self.disk.local.let_go(number),
            Action::Say { .. } | Action::Answer { .. } | Action::Audit(_) | Action::Halt(_) => {}
        }
    }

    fn report(&mut self) -> Event {
        loop {
            match self.due.pop_front().expect("the host owes a report") {
                Due::Now(event) => return event,
                Due::Failed(write) => return Event::WriteFailed { write },
                Due::Kept(at_us, number) => {
                    self.now_us = self.now_us.max(at_us);
                    self.disk.local.done(number);
                    return Event::RequestKept { number };
                }
                Due::Saved => {
                    let index = self.disk.shelf.saved().expect("one is being saved");
                    return Event::SnapshotSaved { index };
                }
                Due::Installed => {
                    let index = self.disk.shelf.installed();
                    let index = index.expect("one is being put in force");
                    return Event::SnapshotInstalled { index };
                }
                Due::Complete(at_us) => {
                    self.now_us = self.now_us.max(at_us);
                    if let Some(write) = self.disk.complete(self.now_us) {
                        return Event::Durable { write };
                    }
                }
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.due.is_empty()
    }

    fn crash(&mut self) -> Recovered {
        self.due.clear();
        self.broken = false;
        // Not calm: some of what was not synced survives.
        let mut luck = Tape::of_seed(self.now_us);
        self.disk.crash(false, &mut luck);
        self.disk.recover()
    }

    fn failing_write(&mut self, id: WriteId, _after: LogIndex) -> Write {
        self.tape = Tape::of_seed(2);
        Write {
            id,
            hard_state: None,
            truncate_from: None,
            reset: None,
            entries: Entries::default(),
        }
    }
}
