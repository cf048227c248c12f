//! The thread that owns a node's log on disk. Takes orders one after the other,
//! makes all writes that wait durable with one sync, and reports what is on
//! disk. After any failure it writes nothing more and says so.

use std::io;
use std::path::Path;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use precentor_core::action::Write;
use precentor_core::bytes::Bytes;
use precentor_core::driver::Recovered;
use precentor_core::entry::{HardState, LogEntry, WriteBatch};
use precentor_core::event::Event;
use precentor_core::ids::{LocalNumber, LogIndex, ReadId, Term, WriteId};
use precentor_core::snapshot::Snapshot;
use tokio::sync::watch;

use crate::disk::{FinishedSnapshot, OpenError, Store};
use crate::local_requests::LocalRequests;
use crate::pilot::{Mail, Mailbox, Switch};

/// Entries of one sync at most: a sync of more takes too long for the first of them.
const BATCH_ENTRIES_MAX: usize = 4_096;
/// Bytes of one sync, likewise.
const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Something to do with the log.
#[derive(Debug)]
pub enum LogOrder {
    /// Make it durable.
    Write(Write),
    /// Read entries.
    Read {
        /// Names the read.
        read: ReadId,
        /// The first.
        from: LogIndex,
        /// The last.
        to: LogIndex,
        /// How much.
        bytes_max: u64,
    },
    /// A snapshot is written, and its bodies are durable: from now on it counts.
    /// Or it could not be written.
    AdoptSnapshot(io::Result<FinishedSnapshot>),
    /// Likewise a leader's, in the place of this node's own.
    InstallSnapshot(io::Result<FinishedSnapshot>),
    /// Drop old entries.
    Compact {
        /// The last to drop.
        up_to: LogIndex,
    },
    /// Keep a client's request, beside the log.
    KeepRequest {
        /// Names it.
        number: LocalNumber,
        /// What.
        entry: Bytes,
    },
    /// A kept request is over.
    DropRequest {
        /// Which.
        number: LocalNumber,
    },
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct LogScribe {
    to: Sender<LogOrder>,
    saved: watch::Receiver<LogIndex>,
}

impl LogScribe {
    /// Starts the thread over an opened store.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(
        store: Store,
        requests: LocalRequests,
        mailbox: Mailbox,
        switch: Switch,
    ) -> io::Result<(LogScribe, JoinHandle<()>)> {
        let (to, orders) = unbounded();
        let name = format!("log-{}", mailbox.node());
        let (shown, saved) = watch::channel(store.newest_snapshot());
        let scribe = Scribe {
            store,
            saved: shown,
            requests,
            kept: Vec::new(),
            mailbox,
            switch,
            batch: Batch::default(),
            last: WriteId(0),
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || scribe.run(&orders))?;
        Ok((LogScribe { to, saved }, thread))
    }

    /// The last entry of the newest snapshot that counts; 0 if there is none.
    #[must_use]
    pub fn saved(&self) -> watch::Receiver<LogIndex> {
        self.saved.clone()
    }

    /// Gives an order. What it may queue up is bounded by the core, which
    /// limits what is not durable yet.
    pub fn order(&self, order: LogOrder) {
        // A scribe that ended has reported why, and the node is about to end too.
        let _ = self.to.send(order);
    }
}

/// Writes that share a sync.
#[derive(Debug, Default)]
struct Batch {
    last: Option<WriteId>,
    hard_state: Option<HardState>,
    truncate_from: Option<LogIndex>,
    reset: Option<(LogIndex, Term)>,
    entries: Vec<LogEntry>,
    bytes: u64,
}

impl Batch {
    /// Can this write join? Not if it removes entries: those of this batch might be among them.
    fn takes(&self, write: &Write) -> bool {
        write.truncate_from.is_none()
            && write.reset.is_none()
            && self.entries.len() + write.entries.len() <= BATCH_ENTRIES_MAX
            && self.bytes < BATCH_BYTES_MAX
    }

    fn add(&mut self, write: Write) {
        self.last = Some(write.id);
        self.hard_state = write.hard_state.or(self.hard_state);
        self.truncate_from = self.truncate_from.or(write.truncate_from);
        let reset = write.reset.map(|end| (end.index, end.term));
        self.reset = self.reset.or(reset);
        self.bytes += write
            .entries
            .iter()
            .map(|entry| entry.body.count())
            .sum::<u64>();
        self.entries.extend_from_slice(&write.entries);
    }
}

struct Scribe {
    store: Store,
    saved: watch::Sender<LogIndex>,
    requests: LocalRequests,
    /// Those that are written, and wait for a sync.
    kept: Vec<LocalNumber>,
    mailbox: Mailbox,
    switch: Switch,
    batch: Batch,
    /// The last write that was given.
    last: WriteId,
}

/// The log is of no more use to this node.
struct Broken;

impl Scribe {
    fn run(mut self, orders: &Receiver<LogOrder>) {
        for first in orders {
            for order in std::iter::once(first).chain(orders.try_iter()) {
                if self.switch.is_killed() {
                    return;
                }
                if self.obey(order).is_err() {
                    return;
                }
            }
            if self.switch.is_killed() || self.flush().is_err() || self.sync_requests().is_err() {
                return;
            }
        }
        // The pilot has ended in order: the next start need not doubt the tail.
        if !self.switch.is_killed()
            && let Err(error) = self.store.close()
        {
            tracing::error!(node = %self.mailbox.node(), %error, "the log did not close in order");
        }
    }

    fn obey(&mut self, order: LogOrder) -> Result<(), Broken> {
        match order {
            LogOrder::Write(write) => {
                if self.batch.last.is_some() && !self.batch.takes(&write) {
                    self.flush()?;
                }
                self.last = write.id;
                self.batch.add(write);
                Ok(())
            }
            LogOrder::Read {
                read,
                from,
                to,
                bytes_max,
            } => {
                self.flush()?;
                let entries = match self.store.read(from, to.next(), bytes_max) {
                    Ok(entries) => entries,
                    Err(error) => {
                        tracing::warn!(node = %self.mailbox.node(), %from, %to, %error, "old entries cannot be read");
                        Vec::new()
                    }
                };
                self.report(Event::LogRead { read, entries });
                Ok(())
            }
            LogOrder::AdoptSnapshot(finished) => match self.adopt(finished)? {
                Ok(index) => {
                    self.report(Event::SnapshotSaved { index });
                    Ok(())
                }
                Err(error) => self.break_off("save a snapshot", &error),
            },
            LogOrder::InstallSnapshot(finished) => match self.adopt(finished)? {
                Ok(index) => {
                    self.report(Event::SnapshotInstalled { index });
                    Ok(())
                }
                Err(error) => self.break_off("take over a leader's snapshot", &error),
            },
            LogOrder::Compact { up_to } => {
                self.flush()?;
                match self.store.compact(up_to) {
                    Ok(()) => Ok(()),
                    Err(error) => self.break_off("drop old entries", &error),
                }
            }
            LogOrder::KeepRequest { number, entry } => match self.requests.keep(number, &entry) {
                Ok(()) => {
                    self.kept.push(number);
                    Ok(())
                }
                Err(error) => self.break_off("keep a client's request", &error),
            },
            LogOrder::DropRequest { number } => match self.requests.let_go(number) {
                Ok(()) => Ok(()),
                Err(error) => self.break_off("let a client's request go", &error),
            },
        }
    }

    fn adopt(
        &mut self,
        finished: io::Result<FinishedSnapshot>,
    ) -> Result<io::Result<LogIndex>, Broken> {
        self.flush()?;
        Ok(finished.and_then(|finished| {
            let index = finished.index();
            self.store.adopt_snapshot(finished)?;
            self.saved.send_replace(index);
            Ok(index)
        }))
    }

    fn sync_requests(&mut self) -> Result<(), Broken> {
        if self.kept.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.requests.sync() {
            return self.break_off("keep clients' requests", &error);
        }
        for number in std::mem::take(&mut self.kept) {
            self.report(Event::RequestKept { number });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        let Some(write) = self.batch.last else {
            return Ok(());
        };
        let batch = std::mem::take(&mut self.batch);
        match self.store.append(&WriteBatch {
            hard_state: batch.hard_state,
            truncate_from: batch.truncate_from,
            reset: batch.reset,
            entries: &batch.entries,
        }) {
            Ok(()) => {
                self.report(Event::Durable { write });
                Ok(())
            }
            Err(error) => self.break_off("write the log", &error),
        }
    }

    fn break_off(&self, what: &str, error: &io::Error) -> Result<(), Broken> {
        let node = self.mailbox.node();
        tracing::error!(%node, %error, "cannot {what}: this node stops, the others go on");
        // Whatever failed, nothing that comes after it will ever be durable:
        // the core must know, or it would go on and wait for ever.
        self.report(Event::WriteFailed { write: self.last });
        Err(Broken)
    }

    fn report(&self, event: Event) {
        self.mailbox.post(Mail::Event(event));
    }
}

/// What a store holds, as the driver wants it for its restart; of a transfer that
/// was cut short, and of clients' requests, it knows nothing (see [`Store::snapshot_files`]
/// and [`LocalRequests::all`]).
///
/// # Errors
/// If the snapshot or an entry cannot be read.
pub fn recovered(store: &mut Store, path: &Path) -> Result<Recovered, OpenError> {
    let snapshot = store.load_snapshot()?.map(|loaded| Snapshot {
        meta: loaded.header.meta,
        image: loaded.state.into(),
    });
    let last = store.log().last_index();
    // From the beginning, not from the snapshot: another voter may lack it.
    let mut from = store.log().base_index().next();
    let mut entries = Vec::new();
    while from <= last {
        let more = store
            .read(from, last.next(), BATCH_BYTES_MAX)
            .map_err(|error| OpenError::Io {
                path: path.to_path_buf(),
                error,
            })?;
        from = more.last().map_or(last, |entry| entry.index).next();
        entries.extend(more);
    }
    Ok(Recovered {
        hard_state: store.hard_state(),
        snapshot,
        entries,
        kept: None,
        local: Vec::new(),
    })
}
