//! Which entries took effect, as the replicas tell of them in their audits.

use std::collections::BTreeSet;

use precentor_core::command::{AuditRecord, Entry};
use precentor_core::ids::{LogIndex, RequestId};

use super::logs::Logs;

/// What one judge has read of the audits.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    last: LogIndex,
    /// Requests that were done: again they have no effect.
    done: BTreeSet<RequestId>,
}

impl Effects {
    /// The entry that a replica tells of, if none has told of it before and it took
    /// effect: it was not rejected, and its request was not done before.
    pub(super) fn next<'a>(&mut self, record: &AuditRecord, logs: &'a Logs) -> Option<&'a Entry> {
        if record.index <= self.last {
            return None;
        }
        self.last = record.index;
        let entry = logs.get(record.index)?.command.as_ref()?;
        // Of what was rejected some is done when it comes again.
        if logs.was_rejected(record.index) {
            return None;
        }
        let is_again = |request: RequestId| !self.done.insert(request);
        (!entry.request.is_some_and(is_again)).then_some(entry)
    }

    /// The last index that was read.
    pub(super) fn last(&self) -> LogIndex {
        self.last
    }
}
