//! The thread that reads what a snapshot's transfer needs: pieces of the saved
//! one, and bodies. Beside the log's and the shelf's, so that a follower that
//! catches up costs those who write nothing. Knows nothing of transfers.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use precentor_core::action::BodyOf;
use precentor_core::bytes::Bytes;
use precentor_core::digest::Digest;
use precentor_core::event::Event;
use precentor_core::ids::{LogIndex, ReadId};
use precentor_core::work::Work;

use crate::disk::SnapshotReader;
use crate::pilot::{Mail, Mailbox, Switch};
use crate::shelf::ShelfReader;

#[cfg(test)]
mod tests;

/// Something to read.
#[derive(Debug)]
pub(crate) enum Fetch {
    /// Bytes of a saved snapshot's image.
    Piece {
        read: ReadId,
        index: LogIndex,
        offset: u64,
        bytes_max: u64,
    },
    /// Bodies, as many as fit, but one at least.
    Bodies {
        read: ReadId,
        digests: Vec<Digest>,
        bytes_max: u64,
    },
    /// Which of these bodies are not here.
    Lacking { digests: Vec<Digest>, of: BodyOf },
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Fetcher {
    to: Sender<Fetch>,
    mailbox: Mailbox,
}

impl Fetcher {
    /// Starts the thread; what it reads goes to `mailbox`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(
        snapshots: SnapshotReader,
        bodies: ShelfReader,
        mailbox: Mailbox,
        switch: Switch,
    ) -> io::Result<(Fetcher, JoinHandle<()>)> {
        // Each member asks for one thing at a time: few ever wait.
        let (to, fetches) = unbounded();
        let name = format!("fetch-{}", mailbox.node());
        let mut desk = Desk {
            snapshots,
            bodies,
            mailbox: mailbox.clone(),
        };
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || desk.run(&fetches, &switch))?;
        Ok((Fetcher { to, mailbox }, thread))
    }

    pub(crate) fn fetch(&self, fetch: Fetch) {
        // Only a node that ends has no reader any more.
        let _ = self.to.send(fetch);
    }

    /// Does the core's own work, on a thread of its own: it may take a minute. A node that
    /// ends does not wait for it.
    pub(crate) fn work(&self, work: Work) {
        let (to, from) = bounded(1);
        let mailbox = self.mailbox.clone();
        let name = format!("work-{}", mailbox.node());
        let spawned = thread::Builder::new().name(name).spawn(move || {
            for work in from {
                do_work(work, &mailbox);
            }
        });
        match spawned {
            // Not by the closure: what is large must go with the thread that did it.
            Ok(_) => drop(to.send(work)),
            Err(error) => {
                let node = self.mailbox.node();
                tracing::warn!(%node, %error, "no thread for long work: the node stands still for it");
                do_work(work, &self.mailbox);
            }
        }
    }
}

fn do_work(work: Work, mailbox: &Mailbox) {
    mailbox.post(Mail::Event(Event::WorkDone(work.run())));
}

struct Desk {
    snapshots: SnapshotReader,
    bodies: ShelfReader,
    mailbox: Mailbox,
}

impl Desk {
    fn run(&mut self, fetches: &Receiver<Fetch>, switch: &Switch) {
        for fetch in fetches {
            if switch.is_killed() {
                return;
            }
            let event = self.read(fetch);
            self.mailbox.post(Mail::Event(event));
        }
    }

    fn read(&mut self, fetch: Fetch) -> Event {
        match fetch {
            Fetch::Piece {
                read,
                index,
                offset,
                bytes_max,
            } => {
                let piece = self.snapshots.read(index, offset, bytes_max);
                if let Err(error) = &piece {
                    let node = self.mailbox.node();
                    tracing::warn!(%node, %index, offset, %error, "a snapshot cannot be handed out");
                }
                let piece = piece.ok();
                Event::SnapshotRead { read, piece }
            }
            Fetch::Bodies {
                read,
                digests,
                bytes_max,
            } => {
                let bodies = self.some(&digests, bytes_max);
                Event::BodiesRead { read, bodies }
            }
            Fetch::Lacking { mut digests, of } => {
                digests.retain(|digest| !self.has(of, digest));
                Event::BodiesLacking { digests }
            }
        }
    }

    fn some(&self, digests: &[Digest], bytes_max: u64) -> Vec<Bytes> {
        let mut bodies: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for body in digests.iter().filter_map(|digest| self.body(digest)) {
            bytes += body.count();
            if bytes > bytes_max && !bodies.is_empty() {
                break;
            }
            bodies.push(body);
        }
        bodies
    }

    fn has(&self, of: BodyOf, digest: &Digest) -> bool {
        self.bodies.has(of, digest).unwrap_or_else(|error| {
            let node = self.mailbox.node();
            tracing::warn!(%node, %error, "a body cannot be read");
            false
        })
    }

    /// A body, if it is here and good: a damaged one is as good as none, and is
    /// replaced by the one that a peer gives.
    fn body(&self, digest: &Digest) -> Option<Bytes> {
        self.bodies.get(digest).unwrap_or_else(|error| {
            let node = self.mailbox.node();
            tracing::warn!(%node, %error, "a body cannot be read");
            None
        })
    }
}
