//! The rules of the queue as claims, one small world each. Here: the worlds.

mod access;
mod admission;
mod attempts;
mod batches;
mod breakers;
mod cache;
mod cancel;
mod dependencies;
mod edits;
mod eras;
mod eviction;
mod explain;
mod fitting;
mod held_back;
mod history;
mod known_failures;
mod limits;
mod listing;
mod merging;
mod operated;
#[cfg(feature = "planted-bugs")]
mod planted;
mod sessions;
mod sources;
mod state;

use std::sync::Arc;

use crate::address::Address;
use crate::bytes::Bytes;
use crate::command::*;
use crate::config::{Knobs, Rules};
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::*;
use crate::job::*;
use crate::principal::Principal;
use crate::time::Stamp;

use super::contexts::PlaceId;
use super::jobs::{FreshJob, Job, Origin, Phase};
use super::model::access::Guard;
use super::{Applied, QueueManager};

pub(in crate::queue) fn rules() -> Rules {
    Knobs::default().rules()
}

pub(in crate::queue) fn generator() -> Generator {
    Generator {
        engine: "outline".into(),
        version: 1,
        parameters: Digest::ZERO,
    }
}

pub(in crate::queue) fn a_job() -> Job {
    let mut job = Job::new(FreshJob {
        place: PlaceId(1),
        origin: Arc::new(Origin {
            generator: generator(),
            tenant: "t".into(),
            asked_by: Principal::cluster(),
        }),
        kind: ContextKind::File,
        class: Class::Normal,
        subject: Digest::ZERO,
        accepted: JobId(1),
        not_before: Stamp(0),
        open: 0,
        line: JobId(1),
    });
    job.set_phase(Phase::Ready);
    job.attempts = 1;
    job
}

pub(in crate::queue) fn address(name: &str) -> Address {
    format!("ucxl://p/{name}").parse().unwrap()
}

/// What a file says that is such an input.
pub(in crate::queue) fn text(input: u8) -> Bytes {
    vec![input].into()
}

pub(in crate::queue) fn subject(input: u8) -> Digest {
    Digest::of(&text(input))
}

pub(in crate::queue) fn spec(name: &str, input: u8) -> JobSpec {
    JobSpec {
        address: address(name),
        kind: ContextKind::File,
        subject: subject(input),
        generator: generator(),
        class: Class::Normal,
        tenant: "team".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}

pub(in crate::queue) fn needs(mut spec: JobSpec, names: &[&str], policy: Policy) -> JobSpec {
    let edges = names.iter().map(|name| Dependency {
        address: address(name),
        policy,
    });
    spec.dependencies.extend(edges);
    spec
}

pub(in crate::queue) fn worker(id: u64, incarnation: u64, slots: u32) -> Command {
    Command::Register {
        worker: WorkerSpec {
            worker: WorkerId(id),
            incarnation: WorkerIncarnation(incarnation),
            slots,
            engines: vec!["outline".into()],
        },
    }
}

pub(in crate::queue) fn entry(t: u64, command: Command) -> Entry {
    Entry {
        t: Stamp(t),
        wall_ms: 0,
        principal: Principal("client".into()),
        request: None,
        acknowledged: Sequence(0),
        command,
    }
}

/// A queue, its log's next index, and its clock.
pub(in crate::queue) struct World {
    pub(in crate::queue) queue: QueueManager,
    pub(in crate::queue) index: u64,
    pub(in crate::queue) t: u64,
    /// Gets the same entries, and must stay equal.
    pub(in crate::queue) twin: Option<QueueManager>,
    /// Says who may not do what is entered, and has that tried.
    pub(in crate::queue) guard: Option<Box<Guard>>,
}

impl World {
    pub(in crate::queue) fn new() -> World {
        World::under(rules())
    }

    pub(in crate::queue) fn under(rules: Rules) -> World {
        let mut world = World {
            queue: QueueManager::new(rules),
            index: 0,
            t: 0,
            twin: None,
            guard: None,
        };
        assert_eq!(world.apply(worker(1, 1, 8)), Outcome::Registered);
        world
    }

    pub(in crate::queue) fn apply(&mut self, command: Command) -> Outcome {
        let entry = entry(self.t, command);
        self.enter(entry).outcome
    }

    pub(in crate::queue) fn enter(&mut self, mut entry: Entry) -> Applied {
        let tries = match &mut self.guard {
            Some(guard) => guard.tries(&mut entry, &self.queue),
            None => Vec::new(),
        };
        for (attempt, reason) in tries {
            let words = format!("{} {:?}", attempt.principal, attempt.command);
            let outcome = self.enter_one(attempt).outcome;
            let Outcome::Rejected(Rejection::Denied(denial)) = outcome else {
                panic!("{words} came to {outcome:?}");
            };
            assert_eq!(denial.reason(), reason, "{words}");
        }
        self.enter_one(entry)
    }

    fn enter_one(&mut self, entry: Entry) -> Applied {
        self.index += 1;
        let index = LogIndex(self.index);
        if let Some(twin) = &mut self.twin {
            let ours = self.queue.apply(index, Term(1), entry.clone());
            let theirs = twin.apply(index, Term(1), entry);
            assert_eq!(ours, theirs, "the twin does otherwise");
            assert_eq!(self.queue.state_hash(), twin.state_hash());
            twin.check();
            return ours;
        }
        let applied = self.queue.apply(index, Term(1), entry);
        self.queue.check();
        applied
    }

    pub(in crate::queue) fn ask(
        &mut self,
        session: u64,
        sequence: u64,
        acknowledged: u64,
        command: Command,
    ) -> Outcome {
        let mut entry = entry(self.t, command);
        entry.request = Some(RequestId {
            session: SessionId(session),
            sequence: Sequence(sequence),
        });
        entry.acknowledged = Sequence(acknowledged);
        self.enter(entry).outcome
    }

    pub(in crate::queue) fn submit(&mut self, items: Vec<JobSpec>) -> Vec<Submitted> {
        match self.apply(Command::Submit { items }) {
            Outcome::Submitted(items) => items,
            other => panic!("not submitted: {other:?}"),
        }
    }

    pub(in crate::queue) fn submit_one(&mut self, item: JobSpec) -> JobId {
        self.submit(vec![item])[0].job
    }

    pub(in crate::queue) fn refuse(&mut self, items: Vec<JobSpec>) -> Rejection {
        let before = self.queue.counts();
        match self.apply(Command::Submit { items }) {
            Outcome::Rejected(rejection) => {
                assert_eq!(self.queue.counts(), before, "a refusal changed something");
                rejection
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(in crate::queue) fn try_claim(
        &mut self,
        job: JobId,
        worker: u64,
    ) -> Result<Token, ClaimRefusal> {
        let claim = Claim {
            job,
            worker: WorkerId(worker),
            rule: ClaimRule::OnlyFit,
        };
        match self.apply(Command::Claim {
            claims: vec![claim],
        }) {
            Outcome::Claimed(results) => results[0],
            other => panic!("not claimed: {other:?}"),
        }
    }

    pub(in crate::queue) fn claim(&mut self, job: JobId) -> Token {
        self.try_claim(job, 1).unwrap()
    }

    pub(in crate::queue) fn complete(&mut self, job: JobId, token: Token, body: &str) -> Outcome {
        self.apply(Command::Complete {
            job,
            token,
            result: Digest::of(body.as_bytes()),
            body: Bytes::from(body.as_bytes()),
        })
    }

    pub(in crate::queue) fn run(&mut self, job: JobId) {
        let token = self.claim(job);
        assert_eq!(self.complete(job, token, "x"), Outcome::Completed);
    }

    pub(in crate::queue) fn fail(
        &mut self,
        job: JobId,
        token: Token,
        class: FailureClass,
    ) -> Outcome {
        self.apply(Command::Fail {
            job,
            token,
            class,
            message: "no".into(),
            retry_after_ms: None,
        })
    }

    pub(in crate::queue) fn expire(&mut self, job: JobId, token: Token) -> Outcome {
        self.apply(Command::Expire {
            leases: vec![ExpiredLease { job, token }],
        })
    }

    pub(in crate::queue) fn tick_to(&mut self, t: u64) -> Outcome {
        self.t = t;
        self.apply(Command::Tick)
    }

    pub(in crate::queue) fn state(&self, job: JobId) -> JobState {
        self.queue.job(job).unwrap().state
    }
}

impl World {
    pub(in crate::queue) fn fork(&self) -> World {
        World {
            queue: self.queue.clone(),
            index: self.index,
            t: self.t,
            twin: None,
            guard: None,
        }
    }
}

pub(in crate::queue) fn done(body: &str) -> JobState {
    JobState::Done {
        result: Digest::of(body.as_bytes()),
        from_cache: false,
    }
}
