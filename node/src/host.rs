//! Performs what the core wants done: hands writes to the disk, messages to
//! the sockets and answers to their callers. Never waits for any of them,
//! except when the shelf of bodies is too far behind.

use std::collections::HashMap;

use precentor_core::action::Action;
use precentor_core::driver::Host;
use precentor_core::ids::{NodeId, Ticket};
use precentor_core::request::Reply;

use crate::fetcher::{Fetch, Fetcher};
use crate::net::{Net, Peers};
use crate::pilot::ReplyTo;
use crate::scribe::{LogOrder, LogScribe};
use crate::shelf::Shelf;

/// The hands of one node.
#[derive(Debug)]
pub struct NodeHost {
    node: NodeId,
    peers: Peers,
    // Here so that the sockets close in the moment in which the pilot ends.
    _net: Net,
    scribe: LogScribe,
    shelf: Shelf,
    fetcher: Fetcher,
    open: HashMap<Ticket, ReplyTo>,
    next_ticket: Ticket,
    answers: Vec<(Ticket, Reply)>,
}

impl NodeHost {
    /// Hands for `node`.
    #[must_use]
    pub fn new(
        node: NodeId,
        net: Net,
        scribe: LogScribe,
        shelf: Shelf,
        fetcher: Fetcher,
    ) -> NodeHost {
        NodeHost {
            node,
            peers: net.peers(),
            _net: net,
            scribe,
            shelf,
            fetcher,
            open: HashMap::new(),
            next_ticket: Ticket(1),
            answers: Vec::new(),
        }
    }

    /// Whose hands.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Remembers where an answer goes.
    pub fn open_ticket(&mut self, reply: ReplyTo) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.next();
        self.open.insert(ticket, reply);
        ticket
    }

    /// Lets the answers of a turn go. Not before its bodies are on the shelf:
    /// whoever is told of a result may ask for it at once.
    pub fn end_turn(&mut self) {
        for (ticket, reply) in self.answers.drain(..) {
            if let Some(to) = self.open.remove(&ticket) {
                to.answer(reply);
            }
        }
        self.shelf.wait_for_room();
    }
}

impl Host for NodeHost {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => self.scribe.order(LogOrder::Write(write)),
            Action::Say { to, message } => self.peers.say(to, message),
            Action::Answer { ticket, reply } => self.answers.push((ticket, reply)),
            Action::ReadLog {
                read,
                from,
                to,
                bytes_max,
            } => {
                self.scribe.order(LogOrder::Read {
                    read,
                    from,
                    to,
                    bytes_max,
                });
            }
            Action::CompactLog { up_to } => self.scribe.order(LogOrder::Compact { up_to }),
            Action::PutBlob { digest, body, of } => self.shelf.put(of, digest, body),
            Action::DropSource { digest, index } => self.shelf.drop_source(digest, index),
            Action::SaveSnapshot(part) => self.shelf.save_snapshot(part),
            Action::KeepPiece(part) => self.shelf.keep_piece(part),
            Action::InstallSnapshot { index } => self.shelf.install_snapshot(index),
            Action::ReadSnapshot {
                read,
                index,
                offset,
                bytes_max,
            } => {
                self.fetcher.fetch(Fetch::Piece {
                    read,
                    index,
                    offset,
                    bytes_max,
                });
            }
            Action::ReadBodies {
                read,
                digests,
                bytes_max,
            } => {
                self.fetcher.fetch(Fetch::Bodies {
                    read,
                    digests,
                    bytes_max,
                });
            }
            Action::FindLacking { digests, of } => {
                self.fetcher.fetch(Fetch::Lacking { digests, of });
            }
            Action::Work(work) => self.fetcher.work(work),
            Action::KeepRequest { number, entry } => {
                self.scribe.order(LogOrder::KeepRequest { number, entry });
            }
            Action::DropRequest { number } => self.scribe.order(LogOrder::DropRequest { number }),
            Action::Audit(record) => self.shelf.audit(*record),
            // The driver keeps the violation, and the pilot ends with it.
            Action::Halt(violation) => tracing::error!(node = %self.node, %violation, "halted"),
        }
    }
}
