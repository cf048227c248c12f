//! One line per action that matters, in words that stay the same from run to
//! run. Heartbeats that say nothing new are left out unless asked for.

mod answers;
mod caching;
mod edits;
mod messages;
mod outcomes;

use std::collections::BTreeMap;

use precentor_core::action::{Action, BodyOf, Violation, Write};
use precentor_core::command::Command;
use precentor_core::driver::Driver;
use precentor_core::entry::{EntryKind, LogEntry};
use precentor_core::ids::{JobId, LogIndex, NodeId, Term, Ticket};
use precentor_core::job::{JobState, JobView};
use precentor_core::message::{AppendResult, Body, LogPosition, Message};
use precentor_core::queue::ERA_NUMBERS;
use precentor_core::request::{Ending, Freshness, Reply, Work};
use precentor_core::status::{Health, PhaseName, RoleName};
use precentor_core::wire;

use self::answers::words_of_answer;
pub use self::messages::words_of_message;
use self::outcomes::{words_of_grants, words_of_outcome};

/// What is left out unless a script asks for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show {
    /// Heartbeats and answers that say nothing new.
    pub heartbeats: bool,
    /// The audit chain's words.
    pub audit: bool,
    /// Neither messages nor writes nor commits: a story of the queue alone.
    pub answers_only: bool,
}

/// What an observer last saw of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    role: RoleName,
    phase: PhaseName,
    term: Term,
    leader: Option<NodeId>,
    commit: LogIndex,
}

impl Seen {
    /// A node as it is now.
    #[must_use]
    pub fn of(driver: &Driver) -> Seen {
        let view = driver.view();
        Seen {
            role: view.role(),
            phase: view.phase(),
            term: view.term(),
            leader: view.leader(),
            commit: view.commit(),
        }
    }
}

/// Takes down what happens.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The lines since they were taken last.
    pub lines: Vec<String>,
    /// What is shown.
    pub show: Show,
    /// What each open ticket asked.
    pub asked: BTreeMap<Ticket, String>,
    appended: BTreeMap<(NodeId, NodeId), (Term, LogPosition, LogIndex)>,
    answered: BTreeMap<(NodeId, NodeId), (Term, AppendResult, Health)>,
}

impl Trace {
    /// Adds a line.
    pub fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// What became of a node.
    pub fn node(&mut self, node: NodeId, before: Option<Seen>, now: Seen) {
        let role = |seen: &Seen| (seen.role, seen.term, seen.leader);
        if before.as_ref().map(role) != Some(role(&now)) {
            let term = now.term;
            self.line(match (now.role, now.leader) {
                (RoleName::Follower, Some(leader)) => format!("{node} follows {leader} in {term}"),
                (RoleName::Follower, None) => format!("{node} follows nobody in {term}"),
                (RoleName::PreCandidate, _) => format!("{node} is pre-candidate in {term}"),
                (RoleName::Candidate, _) => format!("{node} is candidate in {term}"),
                (RoleName::Leader, _) => format!("{node} leads {term}"),
            });
        }
        let committed = before.is_some_and(|before| before.commit != now.commit);
        if committed && !self.show.answers_only {
            self.line(format!("{node} knows {} as committed", now.commit));
        }
        let phase = |seen: Seen| seen.phase;
        if before.map_or(PhaseName::Following, phase) != now.phase {
            self.line(match now.phase {
                PhaseName::Following => format!("{node} no longer leads"),
                PhaseName::Barrier => format!("{node} waits for its barrier"),
                PhaseName::Reclaiming => format!("{node} takes requests, and waits for workers"),
                PhaseName::Serving => format!("{node} serves"),
                PhaseName::Yielding => format!("{node} hands over"),
            });
        }
    }

    /// What a node does; `suffix` says what becomes of a message.
    pub fn action(&mut self, node: NodeId, action: &Action, suffix: &str) {
        let detail = matches!(
            action,
            Action::Write(_)
                | Action::Say { .. }
                | Action::PutBlob { .. }
                | Action::DropSource { .. }
        );
        if detail && self.show.answers_only {
            return;
        }
        match action {
            Action::Write(write) => self.line(format!("{node} {}", words_of_write(write))),
            Action::Say { to, message } => {
                if self.is_news(node, *to, message) {
                    let words = words_of_message(message);
                    self.line(format!("{node}->{to} {words}{suffix}"));
                }
            }
            Action::Answer { ticket, reply } => {
                let asked = self.asked.remove(ticket);
                let asked = asked.expect("each ticket is answered once");
                self.line(format!(
                    "{node} answers `{asked}`: {}",
                    words_of_reply(reply)
                ));
            }
            Action::ReadLog { from, to, .. } => {
                self.line(format!("{node} reads {from} to {to} from disk"));
            }
            Action::PutBlob {
                digest,
                body,
                of: BodyOf::Result,
            } => {
                self.line(format!("{node} keeps body {digest:?}, {body:?}"));
            }
            Action::PutBlob {
                digest,
                body,
                of: BodyOf::Source,
            } => {
                self.line(format!("{node} keeps source {digest:?}, {body:?}"));
            }
            Action::DropSource { digest, index } => {
                self.line(format!("{node} lets source {digest:?} go as of {index}"));
            }
            Action::SaveSnapshot(part) => {
                let index = part.meta.index;
                self.line(match (part.offset, part.last) {
                    (0, true) => format!("{node} saves a snapshot of {index}"),
                    (0, false) => format!("{node} begins to save a snapshot of {index}"),
                    // How many there are changes with every new field of the state.
                    (_, false) => return,
                    (_, true) => format!("{node} saves the last of a snapshot of {index}"),
                });
            }
            Action::KeepPiece(part) => {
                let (from, index) = (part.offset, part.meta.index);
                let to = from + part.bytes.count();
                self.line(format!(
                    "{node} keeps bytes {from} to {to} of snapshot {index}"
                ));
            }
            Action::InstallSnapshot { index } => {
                self.line(format!("{node} puts the snapshot of {index} in force"));
            }
            Action::ReadSnapshot { index, offset, .. } => {
                self.line(format!(
                    "{node} reads snapshot {index} from byte {offset} on"
                ));
            }
            Action::ReadBodies { digests, .. } => {
                self.line(format!("{node} reads {} bodies", digests.len()));
            }
            Action::FindLacking { digests, .. } => {
                self.line(format!("{node} looks for {} bodies", digests.len()));
            }
            Action::CompactLog { up_to } => {
                self.line(format!("{node} drops its log up to {up_to}"));
            }
            Action::Work(work) => self.line(format!("{node} {work:?}")),
            Action::KeepRequest { number, .. } => {
                self.line(format!("{node} keeps request {}", number.0));
            }
            Action::DropRequest { number } => {
                self.line(format!("{node} lets request {} go", number.0));
            }
            Action::Audit(record) if self.show.audit => {
                self.line(format!("{node} audit {}: {}", record.index, record.text));
            }
            Action::Audit(_) => {}
            // Without the hashes: they change with every new field of the state.
            Action::Halt(Violation::StateDiverged { ours, .. }) => {
                self.line(format!("{node} halts: state diverged at {}", ours.index));
            }
            Action::Halt(violation) => self.line(format!("{node} halts: {violation}")),
        }
    }

    fn is_news(&mut self, from: NodeId, to: NodeId, message: &Message) -> bool {
        let link = (from, to);
        match &message.body {
            Body::Append(append) => {
                let end = append
                    .entries
                    .last()
                    .map_or(append.previous, |last| LogPosition {
                        term: last.term,
                        index: last.index,
                    });
                let now = (message.term, end, append.commit);
                let old = self.appended.insert(link, now) == Some(now);
                self.show.heartbeats || !old || !append.entries.is_empty()
            }
            Body::AppendReply(reply) => {
                let now = (message.term, reply.result, reply.health);
                let old = self.answered.insert(link, now) == Some(now);
                self.show.heartbeats || !old
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::Vote { .. }
            | Body::VoteReply { .. }
            | Body::TimeoutNow
            | Body::Removed { .. }
            | Body::Lend(_)
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forward { .. }
            | Body::Forwarded { .. }
            | Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. } => true,
        }
    }
}

/// An entry's command, in few words.
#[must_use]
pub fn words_of_body(entry: &LogEntry) -> String {
    if entry.kind == EntryKind::Membership {
        return match wire::membership::decode(&entry.body) {
            Ok(decoded) => format!("members {}: {}", decoded.membership, decoded.why),
            Err(error) => format!("no membership: {error}"),
        };
    }
    match wire::command::decode(&entry.body) {
        Ok(decoded) => words_of_command(&decoded.command),
        Err(_) => format!("{} bytes", entry.body.count()),
    }
}

/// A command in few words.
fn words_of_command(command: &Command) -> String {
    let list = |jobs: Vec<String>| jobs.join(" ");
    match command {
        Command::TakeOver { node, .. } => format!("take-over by {node}"),
        Command::OpenSession => "open session".into(),
        Command::Submit { items } => {
            let names = items.iter().map(|item| item.address.path().to_owned());
            format!("submit {}", list(names.collect()))
        }
        Command::Register { worker } => format!("register {}", worker.worker),
        command @ (Command::Claim { .. }
        | Command::ClaimFrom { .. }
        | Command::ClaimTogether { .. }) => {
            let claims = command.claims().enumerate();
            let claims = claims.map(|(position, c)| match command.first_of_run(position) {
                None => format!("{} for {}", c.job, c.worker),
                Some(first) => format!("{} with {first}", c.job),
            });
            format!("claim {}", list(claims.collect()))
        }
        Command::Complete { job, token, .. } => format!("complete {job} by {token}"),
        Command::Fail { job, token, .. } => format!("fail {job} by {token}"),
        Command::FailTogether { job, token, .. } => format!("fail all with {job} by {token}"),
        Command::Release { job, token } => format!("release {job} by {token}"),
        Command::Expire { leases } => {
            let leases = leases.iter().map(|l| format!("{} by {}", l.job, l.token));
            format!("expire {}", list(leases.collect()))
        }
        Command::Tick => "tick".into(),
        Command::RaiseLevel { to } => format!("raise to {to}"),
        Command::Leave { jobs } => format!("leave {}", words_of_jobs(jobs)),
        Command::Cancel { jobs } => format!("cancel {}", words_of_jobs(jobs)),
        Command::Redrive { jobs, .. } => format!("redrive {}", words_of_jobs(jobs)),
        Command::Purge { jobs } => format!("purge {}", words_of_jobs(jobs)),
        Command::Reprioritise { jobs, class } => {
            format!("make {} {class:?}", words_of_jobs(jobs)).to_lowercase()
        }
        Command::Pause { scope, .. } => format!("pause {scope}"),
        Command::Resume { scope } => format!("resume {scope}"),
        Command::Expel { worker } => format!("expel {worker}"),
        Command::PutLimits { account, limits } => format!("limit {account} to {limits}"),
        Command::PutNeeds { engine, needs } => format!("engine {engine} needs {needs}"),
        Command::PutOffer { worker, offer, .. } => format!("{worker} has {offer}"),
        Command::KeepSources { sources } => format!("keep {} sources", sources.len()),
        Command::PutSourceBudget { bytes_max } => format!("room for {bytes_max} bytes"),
        order @ (Command::Ask { .. }
        | Command::Invalidate { .. }
        | Command::PutBudget { .. }
        | Command::Evict { .. }) => caching::words_of_order(order),
        Command::PutRoles { principal, grants } => {
            format!("let {principal} be {}", words_of_grants(grants))
        }
        Command::NoteDenials { denied, .. } => format!("note denials of {}", denied.len()),
        Command::Annotate { address, edit, .. } => {
            let count = edit.changes.len();
            format!("annotate {} with {count} changes", address.path())
        }
        Command::Resolve {
            address, conflict, ..
        } => format!("resolve {conflict} of {}", address.path()),
    }
}

fn words_of_write(write: &Write) -> String {
    let mut words = format!("{}:", write.id);
    if let Some(hard_state) = write.hard_state {
        let vote = hard_state
            .vote
            .map_or("none".into(), |vote| vote.to_string());
        words += &format!(" term {} vote {vote}", hard_state.term);
        if hard_state.commit > LogIndex(0) {
            words += &format!(" commit {}", hard_state.commit);
        }
    }
    if let Some(from) = write.truncate_from {
        words += &format!(" cut from {from}");
    }
    if let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) {
        words += &match first.index == last.index {
            true => format!(" append {}@{}", first.index, first.term),
            false => format!(" append {} to {}@{}", first.index, last.index, last.term),
        };
    }
    words
}

/// A reply in words.
#[must_use]
pub fn words_of_reply(reply: &Reply) -> String {
    match reply {
        Reply::Applied { index, outcome } => format!("{index}, {}", words_of_outcome(outcome)),
        Reply::NotLeader { leader: Some(n) } => format!("ask {n}, it leads"),
        Reply::NotLeader { leader: None } => "not done, this node does not lead".into(),
        Reply::Refused {
            reason,
            retry_after_ms,
        } => format!("not done, {reason}; again in {retry_after_ms} ms"),
        Reply::Unknown => "outcome unknown, send it again".into(),
        Reply::Invalid { message } => format!("invalid, {message}"),
        Reply::Work(work) => words_of_work(work),
        Reply::Finished { jobs, applied } => {
            let jobs: Vec<_> = jobs
                .iter()
                .map(|job| format!("{} {} {}", job.number, job.job, words_of_state(&job.state)))
                .collect();
            format!("finished [{}] as of {applied}", jobs.join(", "))
        }
        Reply::Read {
            answer,
            applied,
            freshness,
        } => {
            let age = match freshness {
                Freshness::Linearizable => "as of",
                Freshness::Stale { age_ms: Some(ms) } => &format!("{ms} ms old,"),
                Freshness::Stale { age_ms: None } => "of unknown age,",
            };
            format!("{} ({age} {applied})", words_of_answer(answer))
        }
        Reply::Membership { index, membership } => format!("{index}, members {membership}"),
        Reply::ChangeRefused(error) => format!("not done, {error}"),
        Reply::HandedOver { to, term } => format!("{to} leads {term}"),
        Reply::HandOverFailed(error) => format!("not handed over, {error}"),
        Reply::Recovered(report) => {
            let given_up: Vec<String> = report.given_up.iter().map(NodeId::to_string).collect();
            format!(
                "{} in {}, without {}: all up to {} is kept, {}",
                report.index,
                report.term,
                given_up.join(" "),
                report.kept,
                report.loss
            )
        }
        Reply::RecoveryFailed(error) => format!("not recovered, {error}"),
        Reply::Denied(denial) => format!("denied: {denial}"),
        Reply::QueuedLocally => "kept here, and not accepted yet".into(),
        Reply::Awaited { endings, applied } => {
            let endings: Vec<_> = endings.iter().map(words_of_ending).collect();
            format!("[{}] as of {applied}", endings.join(", "))
        }
        Reply::Status(status) => format!(
            "{:?}, {:?}, {}, leader {:?}",
            status.role, status.phase, status.term, status.leader
        ),
    }
}

fn words_of_ending(ending: &Ending) -> String {
    match ending {
        Ending::Over { by, state } => format!("{by} {}", words_of_state(state)),
        Ending::Unfinished { by } => format!("{by} unfinished"),
        Ending::Unknown => "unknown".into(),
    }
}

fn words_of_work(work: &Work) -> String {
    let mut parts: Vec<String> = work
        .assignments
        .iter()
        .map(|a| {
            let gaps: Vec<_> = a
                .dependencies
                .iter()
                .map(|d| match d.result {
                    Some(result) => format!("{} is {result:?}", d.address.path()),
                    None => format!("{} is missing", d.address.path()),
                })
                .collect();
            let with = match gaps.is_empty() {
                true => String::new(),
                false => format!(" ({})", gaps.join(", ")),
            };
            let batch = match a.together {
                None => String::new(),
                Some(batch) => format!(", in batch {batch}"),
            };
            format!(
                "run {} {} by {}, attempt {}{batch}{with}",
                a.job,
                a.address.path(),
                a.token,
                a.attempt
            )
        })
        .collect();
    parts.extend(work.revoked.iter().map(|token| format!("drop {token}")));
    if work.unknown {
        parts.push("register first".into());
    }
    if parts.is_empty() {
        parts.push("nothing to do".into());
    }
    if work.drained {
        parts.push("drained".into());
    }
    format!("{}; says {}", parts.join(", "), work.term)
}

fn words_of_jobs(jobs: &[JobId]) -> String {
    let jobs: Vec<_> = jobs.iter().map(JobId::to_string).collect();
    jobs.join(" ")
}

fn words_of_state(state: &JobState) -> String {
    match state {
        JobState::Waiting { open } => format!("waiting for {open}"),
        JobState::Delayed { until } => format!("delayed until {until:?}"),
        JobState::Ready => "ready".into(),
        JobState::Running(lease) => format!("running at {} by {}", lease.worker, lease.token),
        JobState::Parked => "parked".into(),
        JobState::Done { result, from_cache } => {
            let how = if *from_cache { " from cache" } else { "" };
            format!("done{how}, result {result:?}")
        }
        JobState::Dead(reason) => format!("dead, {reason:?}"),
        JobState::Cancelled => "cancelled".into(),
        JobState::DependencyFailed { dependency } => format!("failed with {dependency}"),
        JobState::Superseded { by } => format!("superseded by {by}"),
    }
}

fn words_of_job(job: &JobView) -> String {
    format!(
        "{} {} {}; attempts {}, failures {}, crashes {}, waiters {}",
        job.job,
        job.address.path(),
        words_of_state(&job.state),
        job.attempts,
        job.failures,
        job.crashes,
        job.waiters
    )
}

/// All jobs that a node knows, a line each.
#[must_use]
pub fn words_of_queue(driver: &Driver) -> Vec<String> {
    let queue = driver.view().queue();
    let last = queue.last_job().0;
    // Each era counts on from where the one before was backed up.
    let eras = 0..=last / ERA_NUMBERS;
    let counts = 1..=(last % ERA_NUMBERS).min(10_000);
    let ids = eras.flat_map(|era| counts.clone().map(move |count| era * ERA_NUMBERS + count));
    let jobs = ids.filter_map(|id| queue.job(JobId(id)));
    jobs.map(|job| words_of_job(&job)).collect()
}
