//! Does a session live as long as it is said to? One that was used within its time is
//! known, and one that was once called unknown stays so: nothing takes effect in it any
//! more. Each entry is judged once, by the audit of the replica that applies it first.

use std::collections::BTreeMap;

use precentor_core::access::Denial;
use precentor_core::command::{AuditRecord, Command, Rejection};
use precentor_core::config::Knobs;
use precentor_core::ids::{LogIndex, SessionId};
use precentor_core::time::Stamp;

use super::logs::Logs;
use super::{Checker, Verdict, ensure};
use crate::marks::{Mark, Marks};

/// The judge.
#[derive(Clone, Debug)]
pub struct Sessions {
    ttl_ms: u64,
    /// The last index of which the audit was read.
    read: LogIndex,
    /// When each was used last; none once it was called unknown.
    used: BTreeMap<SessionId, Option<Stamp>>,
}

impl Sessions {
    pub(super) fn new(knobs: &Knobs) -> Sessions {
        Sessions {
            ttl_ms: knobs.session_ttl_ms,
            read: LogIndex(0),
            used: BTreeMap::new(),
        }
    }

    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        if record.index <= self.read {
            return Ok(());
        }
        // Entries of which no audit was seen may have used any session.
        if record.index.0 != self.read.0 + 1 {
            self.used.retain(|_, used| used.is_none());
        }
        self.read = record.index;
        let committed = logs.get(record.index);
        let Some(entry) = committed.and_then(|committed| committed.command.as_ref()) else {
            return Ok(());
        };
        let Some(request) = entry.request else {
            if entry.command == Command::OpenSession && !logs.was_rejected(record.index) {
                let session = SessionId(record.index.0);
                self.used.insert(session, Some(record.t));
            }
            return Ok(());
        };
        let session = request.session;
        // Another's session stays as it was.
        let foreign = Denial::ForeignSession { session }.to_string();
        if record.text.contains(&foreign) {
            return Ok(());
        }
        let used = self.used.get(&session).copied();
        let unknown = Rejection::UnknownSession { session }.to_string();
        if !record.text.contains(&unknown) {
            self.used.insert(session, Some(record.t));
            // A leader that is not one any more has its entries refused before all else.
            let is_refused = logs.was_rejected(record.index);
            return ensure(
                used != Some(None) || is_refused,
                Checker::SessionLives,
                || {
                    format!(
                        "{session} was unknown, and {} was done in it: {}",
                        record.index, record.text
                    )
                },
            );
        }
        self.used.insert(session, None);
        if let Some(Some(used)) = used {
            marks.hit(Mark::SessionExpired);
            let until = used.plus_ms(self.ttl_ms);
            return ensure(record.t >= until, Checker::SessionLives, || {
                format!(
                    "{session} was used at {used:?} and is unknown to {} at {:?}; it was to live until {until:?}",
                    record.index, record.t
                )
            });
        }
        Ok(())
    }
}
