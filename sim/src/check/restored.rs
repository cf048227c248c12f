//! Can a cluster be founded with what a node has on its disk? Takes the newest snapshot of a
//! world that has ended for a backup, founds a cluster of one with it, and looks whether
//! that leads, knows what the old one knew, and gives nothing a name that the old one may
//! have given away since.

use precentor_core::action::Action;
use precentor_core::address::Address;
use precentor_core::command::{Command, Outcome};
use precentor_core::config::{Config, Knobs};
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::event::{Event, Now};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{
    ClusterId, JobId, LogIndex, NodeId, RequestId, Sequence, SessionId, Ticket,
};
use precentor_core::job::{Class, Generator, JobSpec};
use precentor_core::principal::Principal;
use precentor_core::queue::QueueManager;
use precentor_core::request::{Reply, Request};
use precentor_core::restore::{Backup, Restored, look_into, restore_state};
use precentor_core::snapshot::Snapshot;
use precentor_core::status::PhaseName;
use precentor_core::time::Span;

use super::{Checker, Failure, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::wires::CLUSTER;

/// The restored cluster, and its only node.
const RESTORED: ClusterId = ClusterId([8; 16]);
const FOUNDER: NodeId = NodeId(1);
/// So many numbers the old cluster may have given since: ten million entries a second for
/// an hour.
const GIVEN_SINCE: u64 = 36_000_000_000;
/// How long one voter alone may take to lead, and to do something, in longest election
/// timeouts.
const PATIENCE: u64 = 4;
/// How often it is looked at.
const TICK: Span = Span(5_000);

fn wrong(text: String) -> Failure {
    Failure {
        checker: Checker::Restored,
        text,
    }
}

/// Judges what the world leaves behind, with a state in which a bug may be planted.
///
/// # Errors
/// If no cluster can begin with it.
pub fn judge(
    snapshot: &Snapshot,
    knobs: &Knobs,
    marks: &mut Marks,
    plant: impl Fn(&mut QueueManager),
) -> Verdict {
    let backup = Backup {
        of: CLUSTER,
        wall_ms: 0,
        snapshot,
    };
    let read = || look_into(snapshot, FeatureLevel::LATEST);
    let old = read().map_err(|error| wrong(error.to_string()))?;
    let begin = || {
        let mut state = read()?;
        plant(&mut state);
        restore_state(&backup, state, RESTORED, [FOUNDER])
    };
    let restored = begin().map_err(|error| wrong(error.to_string()))?;
    ensure(begin().as_ref() == Ok(&restored), Checker::Restored, || {
        "two founders begin with other states".to_owned()
    })?;
    marks.hit(Mark::BackupRestored);
    if old.leases().next().is_some() {
        marks.hit(Mark::RestoredWithLeases);
    }
    let mut founder = Founder::start(restored, knobs)?;
    founder.knows(&old)?;
    founder.lead()?;
    founder.gives_new_numbers(snapshot.meta.index, &old, marks)
}

/// The only node of the restored cluster, whose disk does all at once.
struct Founder {
    driver: Driver,
    now: Now,
    patience: u64,
    back: Vec<Event>,
    answer: Option<Reply>,
}

#[derive(Default)]
struct Acts(Vec<Action>);

impl Host for Acts {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

impl Founder {
    fn start(restored: Restored, knobs: &Knobs) -> Result<Founder, Failure> {
        let mut config = Config::new(RESTORED, FOUNDER, vec![FOUNDER], 1);
        config.knobs = *knobs;
        let recovered = Recovered {
            hard_state: restored.hard_state,
            snapshot: Some(restored.snapshot),
            ..Recovered::default()
        };
        let now = Now::default();
        let driver = Driver::recover(config, recovered, now)
            .map_err(|error| wrong(format!("the founder cannot start: {error}")))?;
        Ok(Founder {
            driver,
            now,
            patience: PATIENCE * knobs.election_timeout_ms_max * 1_000 / TICK.0,
            back: vec![Event::Wake],
            answer: None,
        })
    }

    fn turn(&mut self) {
        self.now.time = self.now.time + TICK;
        let mut acts = Acts::default();
        self.driver
            .turn(self.now, std::mem::take(&mut self.back), &mut acts);
        for action in acts.0 {
            match action {
                Action::Write(write) => self.back.push(Event::Durable { write: write.id }),
                Action::Answer { reply, .. } => self.answer = Some(reply),
                _ => {}
            }
        }
    }

    fn lead(&mut self) -> Verdict {
        let leads = |founder: &Founder| founder.driver.view().phase() == PhaseName::Serving;
        for _ in 0..self.patience {
            if leads(self) {
                return Ok(());
            }
            self.turn();
        }
        let at = self.driver.view().applied();
        Err(wrong(format!("the founder does not lead; it is at {at}")))
    }

    fn ask(&mut self, request: Option<RequestId>, command: Command) -> Result<Reply, Failure> {
        self.back.push(Event::Client {
            ticket: Ticket(1),
            principal: Principal("client0".into()),
            request: Request::Propose {
                request,
                acknowledged: Sequence(0),
                command,
            },
        });
        for _ in 0..self.patience {
            self.turn();
            if let Some(answer) = self.answer.take() {
                return Ok(answer);
            }
        }
        Err(wrong("the founder does not answer".to_owned()))
    }

    /// All that was asked for is there, as it was.
    fn knows(&self, old: &QueueManager) -> Verdict {
        let view = self.driver.view();
        let new = view.queue();
        for job in old.unfinished() {
            ensure(new.job(job.job).is_some(), Checker::Restored, || {
                format!("{} was asked for, and is not known any more", job.job)
            })?;
        }
        let is_same = new.contexts(None).eq(old.contexts(None));
        ensure(is_same, Checker::Restored, || {
            "the contexts are others".to_owned()
        })
    }

    fn gives_new_numbers(
        &mut self,
        last: LogIndex,
        old: &QueueManager,
        marks: &mut Marks,
    ) -> Verdict {
        let reply = self.ask(None, Command::OpenSession)?;
        // There may be as many as there may be, or only some may have one.
        let Reply::Applied {
            outcome: Outcome::SessionOpened(session),
            index,
        } = reply
        else {
            return Ok(());
        };
        let is_new = |number: u64, old: u64| number > old + GIVEN_SINCE;
        ensure(
            is_new(index.0, last.0) && is_new(session.0, last.0),
            Checker::Restored,
            || format!("{session} is opened at {index}, and the backup is of {last}"),
        )?;
        let Some(job) = self.job(session)? else {
            return Ok(());
        };
        marks.hit(Mark::RestoredGoesOn);
        ensure(is_new(job.0, old.last_job().0), Checker::Restored, || {
            format!("{job} is accepted, and the last was {}", old.last_job())
        })
    }

    /// A job that is asked for, if it is taken.
    fn job(&mut self, session: SessionId) -> Result<Option<JobId>, Failure> {
        let address: Address = "ucxl://restored/a".parse().expect("an address");
        let spec = JobSpec {
            address,
            kind: ContextKind::File,
            subject: Digest::ZERO,
            generator: Generator {
                engine: "outline".into(),
                version: 1,
                parameters: Digest::ZERO,
            },
            class: Class::Normal,
            tenant: "restored".into(),
            dependencies: Vec::new(),
            delay_ms: 0,
        };
        let sequence = Sequence(1);
        let request = RequestId { session, sequence };
        let items = vec![spec];
        let reply = self.ask(Some(request), Command::Submit { items })?;
        Ok(match reply {
            Reply::Applied {
                outcome: Outcome::Submitted(items),
                ..
            } => items.first().map(|item| item.job),
            _ => None,
        })
    }
}
