//! Lets a candidate whose log is behind catch up from the voters that refuse
//! it for that. Raft's leader must have the longest log of a majority; where
//! the only node that reaches a majority lacks entries that its neighbours
//! have, nobody can be elected until the network changes (the "constrained
//! election" of Omni-Paxos, EuroSys 2023). So a refusal for a short log brings
//! what the log lacks, and the candidate asks again.
//!
//! A loan is to the borrower what appends of the leader of its last entry's
//! term would be: up to there the lender's log is that leader's. It is taken
//! only if the borrower's log is ahead afterwards of what it was, so logs never
//! go back; and when entries must make room, only in a new term, so that no
//! leader still counts on what was acknowledged to it.
//!
//! Only what is in memory is lent. A candidate that lacks what voters have on
//! disk or in snapshots alone stays behind until the network changes.

use super::{ClusterCoordinator, Next, Role};
use crate::cx::Cx;
use crate::entry::{EntryKind, LogEntry};
use crate::ids::{NodeId, Term};
use crate::limits::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX};
use crate::log::{TermAt, Window};
use crate::marks::Mark;
use crate::message::{Body, Loan, LogPosition};
use crate::wire;

impl ClusterCoordinator {
    /// Lends what follows the last entry that may be common, if it is in memory.
    pub(super) fn lend(&self, to: NodeId, theirs: LogPosition, cx: &mut Cx<'_>) {
        let previous = match cx.log.term_at(theirs.index) {
            TermAt::Known(term) if term == theirs.term => theirs,
            TermAt::Known(_) | TermAt::Compacted | TermAt::Beyond => cx.log.conflict_hint(theirs),
        };
        // Beyond the borrower's end: what it lacks is in a snapshot here.
        if previous.index > theirs.index {
            return;
        }
        let first = previous.index.next();
        cx.seal();
        let window = cx.log.entries(first, APPEND_ENTRIES_MAX, APPEND_BYTES_MAX);
        let Window::Entries(entries) = window else {
            return;
        };
        cx.mark(Mark::EntriesLent);
        let term = self.hard_state.term;
        let message = cx.message(term, Body::Lend(Loan { previous, entries }));
        cx.outbox.say_durable(to, message);
    }

    /// A voter's loan. Where it does not fit, that voter is asked once more, as
    /// if this log ended where the two may agree: an understatement harms nobody.
    pub(super) fn on_lend(
        &mut self,
        from: NodeId,
        term: Term,
        loan: Loan,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Loan { previous, entries } = loan;
        let mine = cx.log.last();
        let end = entries.last().map_or(previous, |last| LogPosition {
            term: last.term,
            index: last.index,
        });
        // Who trusts a leader, or asks for votes already, borrows nothing; and
        // what came late may be no news.
        let wanted = matches!(self.role, Role::PreCandidate(_)) && mine.is_behind(end);
        if !wanted || end.term > term || term > self.hard_state.term {
            return Next::Stay;
        }
        if cx.log.term_at(previous.index) != TermAt::Known(previous.term) {
            cx.mark(Mark::LoanRefused);
            let last = cx.log.conflict_hint(previous);
            if previous.index <= mine.index && last.index < previous.index {
                let term = self.term_to_stand_in();
                let message = cx.message(term, Body::PreVote { last });
                cx.outbox.say_durable(from, message);
            }
            return Next::Stay;
        }
        let known = |at: LogPosition| cx.log.term_at(at.index) == TermAt::Known(at.term);
        let news = entries.iter().position(|entry| {
            !known(LogPosition {
                term: entry.term,
                index: entry.index,
            })
        });
        let Some(first) = news
            .and_then(|nth| entries.get(nth))
            .map(|entry| entry.index)
        else {
            return Next::Stay;
        };
        // What follows must be what was written behind this log, and be readable.
        let new = entries.iter().skip_while(|entry| entry.index < first);
        let mut chain = cx.log.chain_before(first);
        let follows = new.clone().all(|entry| {
            let before = chain.replace(entry.chain_after());
            before == Some(entry.chain)
        });
        if !follows || !new.clone().all(is_readable) {
            cx.mark(Mark::LoanRefused);
            return Next::Stay;
        }
        if first <= mine.index {
            // Committed here, and the lender has another: it is behind in truth.
            if first <= self.commit {
                cx.mark(Mark::LoanRefused);
                return Next::Stay;
            }
            cx.mark(Mark::TailTruncated);
            let term = self.hard_state.term.next();
            #[cfg(feature = "planted-bugs")]
            let term = match cx.config.planted(crate::planted::Bug::LoanInSameTerm) {
                true => self.hard_state.term,
                false => term,
            };
            self.perform(Next::Follow { term, leader: None }, cx);
            cx.truncate(first);
        }
        let known = entries.partition_point(|entry| entry.index < first);
        let new = entries.behind(known);
        let taken = cx.extend(&new);
        assert_eq!(taken, new.len(), "each was found to be linked");
        cx.mark(Mark::EntriesBorrowed);
        let now = cx.log.last();
        assert!(
            mine.is_behind(now),
            "a loan takes a log forward: {now:?} after {mine:?}"
        );
        assert!(
            now.term <= self.hard_state.term,
            "no entry is of a term to come: {now:?} in {}",
            self.hard_state.term
        );
        // What was borrowed may say that this node has no vote.
        match self.may_campaign(cx) {
            true => Next::PreCampaign,
            false => Next::Follow {
                term: self.hard_state.term,
                leader: None,
            },
        }
    }
}

/// May it be taken into a log?
fn is_readable(entry: &LogEntry) -> bool {
    entry.kind == EntryKind::Command || wire::membership::decode(&entry.body).is_ok()
}
