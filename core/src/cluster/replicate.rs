//! What a leader sends: to each follower what it lacks, as far as its windows
//! allow, and heartbeats. A batch that several lack is shared by their messages.

use super::leader::Leader;
use super::progress::{Flow, InFlight, Progress};
use crate::action::Action;
use crate::cx::Cx;
use crate::entries::Entries;
use crate::entry::LogEntry;
use crate::ids::{LogIndex, NodeId, ReadId, Term};
use crate::limits::APPEND_BYTES_MAX;
use crate::log::{TermAt, Window};
use crate::marks::Mark;
use crate::message::{Append, Body, LogPosition};

/// What every append of a turn says, whoever gets it.
#[derive(Clone, Copy)]
struct Word {
    term: Term,
    commit: LogIndex,
    held_by_all: LogIndex,
}

impl Leader {
    /// Sends each follower what it lacks, as far as its windows allow. What is
    /// in memory first: those that keep up never wait for those that do not.
    /// Old entries are read for a few of these at a time, each in its turn.
    pub(super) fn replicate(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let (last, round) = (cx.log.last().index, self.round);
        let is_due =
            |progress: &Progress| progress.round_sent < round || !progress.has_been_sent(last);
        // What most turns find: nothing to say to anybody.
        if let Some(first) = self.peers.places().find(|at| is_due(self.peers.at(*at))) {
            let word = self.word(term, commit, cx);
            let (mut behind, mut batch) = (Vec::new(), Entries::default());
            for place in first..self.peers.places().end {
                if !is_due(self.peers.at(place)) {
                    continue;
                }
                let lacks = self.replicate_to(place, &mut batch, word, cx);
                behind.extend(lacks.map(|to| (self.peers.at_mut(place).0, to)));
                // A round that reads wait for goes along with entries, or alone.
                if self.peers.at(place).round_sent < round {
                    self.send(place, Entries::default(), word, cx);
                }
            }
            if !behind.is_empty() {
                self.read_for_some(behind, cx);
            }
        }
        self.advance_hand_over(term, cx);
    }

    fn word(&self, term: Term, commit: LogIndex, cx: &Cx<'_>) -> Word {
        Word {
            term,
            commit,
            held_by_all: self.held_by_all(cx),
        }
    }

    /// A heartbeat to every follower.
    pub(super) fn send_to_all(&mut self, term: Term, commit: LogIndex, cx: &mut Cx<'_>) {
        let word = self.word(term, commit, cx);
        for place in self.peers.places() {
            self.send(place, Entries::default(), word, cx);
        }
    }

    /// Lets old entries be read for as many followers as may be at a time.
    fn read_for_some(&mut self, mut behind: Vec<(NodeId, LogIndex)>, cx: &mut Cx<'_>) {
        let reads = |(_, progress): &(NodeId, &Progress)| {
            matches!(
                progress.flow,
                Flow::Stream {
                    reading: Some(_),
                    ..
                }
            )
        };
        let busy = self.peers.iter().filter(reads).count() as u64;
        let free = cx.config.knobs.catch_up_reads_max.saturating_sub(busy);
        behind.sort_by_key(|(peer, _)| (*peer <= self.read_for, *peer));
        if behind.len() as u64 > free {
            cx.mark(Mark::CatchUpWaits);
        }
        for (peer, to) in behind.into_iter().zip(0..free).map(|(due, _)| due) {
            self.read_for(peer, to, cx);
        }
    }

    /// Sends one follower what is in memory. Says up to where old entries must
    /// be read for it, if they must. `batch` is what was sent last, to whomever.
    fn replicate_to(
        &mut self,
        place: usize,
        batch: &mut Entries,
        word: Word,
        cx: &mut Cx<'_>,
    ) -> Option<LogIndex> {
        loop {
            let (peer, progress) = self.peers.at_mut(place);
            let is_compacted = cx.log.term_at(progress.next.prev()) == TermAt::Compacted;
            match &progress.flow {
                Flow::Snapshot { .. } if !is_compacted => {
                    progress.flow = Flow::Probe { asked: false };
                }
                Flow::Probe { .. } | Flow::Stream { .. } if is_compacted => {
                    progress.flow = Flow::Snapshot { offered: false };
                }
                Flow::Snapshot { .. } | Flow::Probe { .. } | Flow::Stream { .. } => {}
            }
            match &mut progress.flow {
                Flow::Snapshot { offered: true } | Flow::Probe { asked: true } => return None,
                Flow::Snapshot { offered } => {
                    *offered = true;
                    self.offer_snapshot(peer, word.term, cx);
                    return None;
                }
                Flow::Probe { asked } => {
                    *asked = true;
                    self.send(place, Entries::default(), word, cx);
                    return None;
                }
                Flow::Stream {
                    reading: Some(_), ..
                } => return None,
                Flow::Stream { in_flight, .. } => {
                    let is_sent = progress.next > cx.log.last().index;
                    if is_sent || !Progress::has_room(in_flight, &cx.config.knobs) {
                        return None;
                    }
                }
            }
            let next = progress.next;
            if batch.first().is_none_or(|first| first.index != next) {
                let count_max = cx.config.knobs.append_entries_max;
                match cx.log.entries(next, count_max, APPEND_BYTES_MAX) {
                    Window::Beyond => return None,
                    Window::Entries(entries) => *batch = entries,
                    Window::OnDisk { to } => return Some(to),
                }
            }
            self.send_entries(place, batch.clone(), word, cx);
        }
    }

    fn read_for(&mut self, peer: NodeId, to: LogIndex, cx: &mut Cx<'_>) {
        let progress = self.peers.get_mut(peer).expect("it was just found");
        let Flow::Stream { reading, .. } = &mut progress.flow else {
            unreachable!("what a follower lacks is known when it streams");
        };
        cx.mark(Mark::ReadFromDisk);
        let read = self.next_read;
        self.next_read = read.next();
        self.read_for = peer;
        *reading = Some(read);
        let from = progress.next;
        let to = to.min(LogIndex(from.0 + cx.config.knobs.append_entries_max - 1));
        cx.outbox.act(Action::ReadLog {
            read,
            from,
            to,
            bytes_max: APPEND_BYTES_MAX,
        });
    }

    /// Old entries arrived from disk. They may have been asked for by an earlier
    /// leadership, or rewritten since: only what is still in the log is sent.
    pub(super) fn on_log_read(
        &mut self,
        read: ReadId,
        entries: Vec<LogEntry>,
        term: Term,
        commit: LogIndex,
        cx: &mut Cx<'_>,
    ) {
        let asked = self.peers.places().find_map(|place| {
            let (_, progress) = self.peers.at_mut(place);
            match &mut progress.flow {
                Flow::Stream { reading, .. } if *reading == Some(read) => {
                    *reading = None;
                    Some((place, progress.next))
                }
                Flow::Stream { .. } | Flow::Probe { .. } | Flow::Snapshot { .. } => None,
            }
        });
        let Some((place, next)) = asked else { return };
        let wanted: Vec<_> = entries
            .into_iter()
            .zip(next.0..)
            .take_while(|(entry, index)| {
                entry.index.0 == *index && cx.log.term_at(entry.index) == TermAt::Known(entry.term)
            })
            .map(|(entry, _)| entry)
            .take(usize::try_from(cx.config.knobs.append_entries_max).unwrap_or(usize::MAX))
            .collect();
        if wanted.is_empty() {
            // Asked again by the next heartbeat's answer, not at once: whatever
            // is wrong with the disk is still wrong.
            cx.mark(Mark::ReadFailed);
            self.peers.at_mut(place).1.flow = Flow::Probe { asked: true };
            return;
        }
        let word = self.word(term, commit, cx);
        self.send_entries(place, wanted.into(), word, cx);
    }

    fn send_entries(&mut self, place: usize, entries: Entries, word: Word, cx: &mut Cx<'_>) {
        let last = entries.last().expect("asked for at least one").index;
        let bytes = entries.iter().map(|entry| entry.body.count()).sum();
        self.send(place, entries, word, cx);
        let (_, progress) = self.peers.at_mut(place);
        progress.next = last.next();
        if let Flow::Stream { in_flight, .. } = &mut progress.flow {
            in_flight.push_back(InFlight { last, bytes });
        }
    }

    fn send(&mut self, place: usize, entries: Entries, word: Word, cx: &mut Cx<'_>) {
        let (peer, progress) = self.peers.at_mut(place);
        progress.round_sent = self.round;
        let index = progress.next.prev();
        // A follower that lacks what the log no longer holds gets heartbeats all
        // the same, so that it does not stand for election.
        let index = if entries.is_empty() {
            index.max(cx.log.first_known())
        } else {
            index
        };
        let TermAt::Known(previous_term) = cx.log.term_at(index) else {
            unreachable!("entries are sent only after one whose term is known: {index}");
        };
        let append = Append {
            previous: LogPosition {
                term: previous_term,
                index,
            },
            entries,
            commit: word.commit,
            held_by_all: word.held_by_all,
            round: self.round,
            state_hash: self.state_hash.clone(),
        };
        let message = cx.message(word.term, Body::Append(append));
        cx.outbox.say(peer, message);
    }

    fn offer_snapshot(&self, peer: NodeId, term: Term, cx: &mut Cx<'_>) {
        if let Some(offer) = self.sender.offer(cx.log.first_known()) {
            cx.mark(Mark::SnapshotOffered);
            let message = cx.message(term, Body::SnapshotOffer(offer.clone()));
            cx.outbox.say(peer, message);
        }
    }
}
