//! An unfinished job as it stands in an image and in the hash of the state: all
//! that it has, in an order that never changes. How it is kept in memory may.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::{JobId, Token, WorkerId};
use crate::job::Class;
use crate::time::Stamp;

use super::super::contexts::PlaceId;
use super::{FreshJob, Job, NO_HISTORY, Origin, Phase};

/// The bytes of a job.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Job")]
pub(super) struct WireJob<'a> {
    place: PlaceId,
    origin: Cow<'a, Arc<Origin>>,
    kind: ContextKind,
    class: Class,
    subject: Digest,
    accepted: JobId,
    not_before: Stamp,
    open: u32,
    waiters: u32,
    attempts: u32,
    failures: u32,
    crashes: u32,
    last_token: Option<Token>,
    last_worker: Option<WorkerId>,
    last_error: Cow<'a, Option<Box<str>>>,
    line: JobId,
    more_lines: Cow<'a, [JobId]>,
    phase: Phase,
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = WireJob {
            place: self.place,
            origin: Cow::Borrowed(&self.origin),
            kind: self.kind,
            class: self.class,
            subject: self.subject,
            accepted: self.accepted,
            not_before: self.not_before,
            open: self.open,
            waiters: self.waiters,
            attempts: self.attempts,
            failures: self.failures,
            crashes: self.crashes,
            last_token: self.last_token,
            last_worker: self.last_worker,
            last_error: Cow::Borrowed(&self.last_error),
            line: self.line,
            more_lines: Cow::Borrowed(&self.more_lines),
            phase: self.phase(),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Job, D::Error> {
        let wire = WireJob::deserialize(deserializer)?;
        let mut job = Job::new(FreshJob {
            place: wire.place,
            origin: wire.origin.into_owned(),
            kind: wire.kind,
            class: wire.class,
            subject: wire.subject,
            accepted: wire.accepted,
            not_before: wire.not_before,
            open: 0,
            line: wire.line,
        });
        job.waiters = wire.waiters;
        let mut history = NO_HISTORY.clone();
        history.open = wire.open;
        history.attempts = wire.attempts;
        history.failures = wire.failures;
        history.crashes = wire.crashes;
        history.last_token = wire.last_token;
        history.last_worker = wire.last_worker;
        history.last_error = wire.last_error.into_owned();
        history.more_lines = wire.more_lines.into_owned();
        if history != NO_HISTORY {
            job.history = Some(Box::new(history));
        }
        job.set_phase(wire.phase);
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::a_job;
    use super::*;
    use crate::ids::{LogIndex, WorkerIncarnation};
    use crate::job::Lease;

    fn again(job: &Job) -> Job {
        let bytes = postcard::to_allocvec(job).unwrap();
        let back: Job = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(postcard::to_allocvec(&back).unwrap(), bytes);
        back
    }

    #[test]
    fn a_job_without_history_takes_none_from_its_bytes() {
        let mut job = a_job();
        job.history = None;
        for phase in [Phase::Parked, Phase::Waiting, Phase::Ready] {
            job.set_phase(phase);
            let back = again(&job);
            assert!(back.history.is_none());
            assert_eq!(back.phase(), phase);
        }
    }

    #[test]
    fn what_happened_to_a_job_is_in_its_bytes() {
        let mut job = a_job();
        job.set_phase(Phase::Delayed { until: Stamp(7) });
        assert_eq!(again(&job).phase(), job.phase());
        let token = Token {
            index: LogIndex(3),
            position: 1,
        };
        let lease = Lease {
            worker: WorkerId(2),
            incarnation: WorkerIncarnation(1),
            token,
        };
        job.set_phase(Phase::Running(lease));
        job.open = 4;
        job.attempts = 3;
        job.failures = 2;
        job.crashes = 1;
        job.last_token = Some(token);
        job.last_worker = Some(WorkerId(2));
        job.last_error = Some("it broke".into());
        job.more_lines.push(JobId(9));
        let back = again(&job);
        assert_eq!(*back, *job);
        assert_eq!(back.phase(), Phase::Running(lease));
        job.set_phase(Phase::Ready);
        assert_eq!(*again(&job), *job, "nothing of the lease is left");
    }
}
