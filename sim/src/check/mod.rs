//! The judges. They watch every turn of every node: what the node shows of
//! itself, what it does, and what was asked. They never look inside a
//! component, so a bug and its check cannot share a mistake.

pub mod access;
pub mod awaited;
pub mod cached;
pub mod edits;
mod effects;
pub mod elections;
pub mod explained;
pub mod fitted;
pub mod history;
pub mod kept;
pub mod leases;
pub mod levels;
pub mod limited;
pub mod listed;
pub mod local;
pub mod logs;
pub mod members;
pub mod operated;
pub mod order;
pub mod past;
pub mod queue;
pub mod reads;
pub mod recovery;
pub mod restored;
mod runs;
pub mod sessions;
pub mod snapshots;
pub mod together;
pub mod topology;
pub mod unasked;
pub mod wanted;

use std::fmt;

use precentor_core::action::{Action, Violation};
use precentor_core::command::Command;
use precentor_core::config::Knobs;
use precentor_core::entry::{EntryKind, LogEntry};
use precentor_core::event::{Event, Now};
use precentor_core::ids::{LogIndex, RequestId};
use precentor_core::request::Request;
use precentor_core::view::View;

use crate::disk::Disk;
use crate::marks::Marks;
use crate::network::Place;

/// Who found something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Checker {
    /// At most one leader and one vote of a node in a term; neither goes back.
    ElectionSafety,
    /// Nothing is said before what it promises is durable.
    DurableFirst,
    /// Equal index and term mean equal logs up to there.
    LogMatching,
    /// What is committed stays, and is on a majority of disks.
    CommittedNeverLost,
    /// Replicas have equal state at equal index.
    EqualState,
    /// A node with a damaged log neither votes nor stands before it is whole again.
    RepairBeforeVote,
    /// A snapshot is the state at its index, whatever happens while it is taken.
    SnapshotIsState,
    /// A terminal state is reached once and stays.
    OneTerminalState,
    /// At most one job of a context runs.
    OneRunningPerContext,
    /// Only the last token completes a job.
    Tokens,
    /// A job is dispatched after its claim is committed.
    DispatchAfterCommit,
    /// Dependencies end before their dependents run.
    Dependencies,
    /// A request id has one effect and one reply.
    OneEffectPerRequest,
    /// A session is known as long as it is used, and once it is not, for ever not.
    SessionLives,
    /// Nothing is called accepted before it is committed.
    AcceptedIsCommitted,
    /// A published context never goes back to an older input.
    PointerForward,
    /// A live worker keeps its lease through a change of leader.
    Reattach,
    /// A leader that stood still takes nothing from its workers before they had the
    /// time of a lease to be heard.
    StoodStill,
    /// A queue that could be served is not passed over more often than its share says.
    WaitBound,
    /// Within a queue, what was accepted first goes first.
    OrderInQueue,
    /// No job is taken from those who wait for it, and none is done for nobody.
    WantedJobs,
    /// Nothing that is paused is given out.
    PausedWork,
    /// Nobody gets more than it may.
    LimitedWork,
    /// What is said to have failed for good before did.
    KnownFailures,
    /// An engine that fails is let alone, and its failures count against no job.
    BrokenEngine,
    /// A dead letter names the attempts that there were, and why there is no other.
    Explained,
    /// What comes from the cache is valid, and what the request would take.
    CacheAsAsked,
    /// No result is evicted that a job depends on.
    Evictions,
    /// What people say of a context is merged as the rules are, and none of it is lost.
    MergedEdits,
    /// Edits that contradict each other are all there until somebody looks.
    KeptConflicts,
    /// A worker that is expelled holds nothing.
    Expelled,
    /// A dead letter is redriven once.
    RedrivenOnce,
    /// No job is made less urgent than one that waits for it.
    Urgency,
    /// Workers hold no more than their slots.
    Slots,
    /// Replicas keep one chain of audit records.
    AuditChain,
    /// The core's own assertions and its reports of broken invariants.
    CoreAssertion,
    /// A linearizable read sees what was committed before it was asked.
    FreshReads,
    /// A stale answer is as young as it says.
    HonestAge,
    /// No majority is given up that is reached, and what is lost is said.
    HonestRecovery,
    /// What a client was told does not fit together.
    ClientView,
    /// What a message says is what its bytes say.
    Wire,
    /// Nobody sends what the other end's program cannot read.
    AgreedWire,
    /// A feature level comes in force only when every member's program can do it.
    LevelOfAll,
    /// What was durable is read back from its bytes as it was.
    RecordFormat,
    /// A leader that hands over appends nothing, and its successor has everything.
    HandOver,
    /// Only a leader's word or a vote given delays a node's candidacy.
    ElectionTimer,
    /// Only voters stand for election and lead.
    VotersStand,
    /// A leader has the votes of a majority of each half of the members, by the
    /// lives of their disks that count.
    ElectedByMembers,
    /// The membership in force is that of the last such entry in the log.
    MembershipInLog,
    /// A change of the membership follows when the one before is committed, and
    /// an entry of the leader's own term.
    OneChangeAtATime,
    /// Unasked, a leader promotes only who has caught up, to no even number of voters,
    /// and in the place of nobody who is heard.
    Unasked,
    /// An operator's order has one outcome, and what is called done is done.
    OneOutcome,
    /// Where nothing is wrong but that disks hang, a leader whose disk is silent
    /// gives way, and the next one serves soon.
    SickLeader,
    /// A deadline that has come moves on when the node is woken.
    Spinning,
    /// Where a node reaches a majority both ways, a leader serves soon and stays.
    ServingLeader,
    /// After healing, everything accepted ends and replicas agree.
    Liveness,
    /// Nobody does what they may not, and nobody is denied what they may.
    Access,
    /// What is denied costs no entry but one in an interval.
    BoundedDenials,
    /// A claim says truthfully who else was considered.
    WeighedClaims,
    /// Who waits for the end of jobs is told it at once, once, and everywhere the same.
    AwaitedJobs,
    /// Whoever asks for the jobs that are not over somewhere misses none.
    ListedJobs,
    /// The history tells what was published before, in order.
    PastResults,
    /// Only jobs that are alike are run together, and failing together costs none anything.
    Batches,
    /// A worker that gets a job has what its engine needs.
    FittedWork,
    /// What an unfinished job is to be made of stays, once it is kept.
    KeptSources,
    /// A cluster can be founded with what a node has saved, and gives no name away twice.
    Restored,
    /// What a node says that it keeps for a client is on its disk until a leader has done
    /// it, and goes there in order.
    LocalQueue,
}

impl Checker {
    /// Is it about what must happen at last, and not about what never may?
    #[must_use]
    pub fn is_liveness(self) -> bool {
        matches!(
            self,
            Checker::Liveness
                | Checker::ServingLeader
                | Checker::Spinning
                | Checker::SickLeader
                | Checker::ElectionTimer
        )
    }
}

/// Something is wrong with the core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Who found it.
    pub checker: Checker,
    /// What.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.text)
    }
}

/// The verdict on one step.
pub type Verdict = Result<(), Failure>;

/// A failure, unless the claim holds.
pub(crate) fn ensure(holds: bool, checker: Checker, text: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    Err(Failure {
        checker,
        text: text(),
    })
}

/// Who took the turn, and when.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The node.
    pub place: Place,
    /// Its clocks.
    pub now: Now,
}

/// All judges of one run.
#[derive(Clone, Debug)]
pub struct Checks {
    access: access::Access,
    awaited: awaited::Awaited,
    cached: cached::Cached,
    edits: edits::Edits,
    elections: elections::Elections,
    /// The log as all nodes together wrote it.
    pub logs: logs::Logs,
    queue: queue::Queue,
    history: history::History,
    leases: leases::Leases,
    explained: explained::Explained,
    limited: limited::Limited,
    listed: listed::Listed,
    /// What nodes keep for their clients.
    pub local: local::Local,
    /// Who belongs to the cluster.
    pub members: members::Members,
    operated: operated::Operated,
    order: order::Order,
    past: past::Past,
    together: together::Together,
    fitted: fitted::Fitted,
    kept: kept::Kept,
    sessions: sessions::Sessions,
    snapshots: snapshots::Snapshots,
    unasked: unasked::Unasked,
    wanted: wanted::Wanted,
    reads: reads::Reads,
    /// What an operator's last resort does, and says.
    pub recovery: recovery::Recovery,
    /// Which programs run where, and what they may be asked for.
    pub levels: levels::Levels,
}

impl Checks {
    /// Judges of a cluster of `count` machines, of which the first are the founders'.
    #[must_use]
    pub fn new(count: usize, founders: usize, knobs: &Knobs) -> Checks {
        Checks {
            access: access::Access::new(knobs),
            awaited: awaited::Awaited::new(knobs),
            cached: cached::Cached::default(),
            edits: edits::Edits::default(),
            elections: elections::Elections::new(count),
            logs: logs::Logs::new(count),
            queue: queue::Queue::new(count),
            history: history::History::default(),
            leases: leases::Leases::new(knobs),
            explained: explained::Explained::new(knobs),
            limited: limited::Limited::default(),
            listed: listed::Listed::default(),
            local: local::Local::default(),
            members: members::Members::new(count, founders),
            operated: operated::Operated::default(),
            order: order::Order::new(count),
            past: past::Past::default(),
            together: together::Together::default(),
            fitted: fitted::Fitted::default(),
            kept: kept::Kept::default(),
            sessions: sessions::Sessions::new(knobs),
            snapshots: snapshots::Snapshots::new(count),
            unasked: unasked::Unasked::new(knobs),
            wanted: wanted::Wanted::default(),
            reads: reads::Reads::new(count),
            recovery: recovery::Recovery::new(count, knobs),
            levels: levels::Levels::new(count),
        }
    }

    /// A node came back.
    ///
    /// # Errors
    /// What is wrong.
    pub fn on_recovered(&mut self, place: Place, view: &View<'_>, disks: &[Disk]) -> Verdict {
        self.logs.on_recovered(place);
        self.leases.on_recovered(place);
        self.unasked.on_recovered(place);
        self.queue.on_recovered(place);
        self.snapshots.on_recovered(place);
        self.reads.on_recovered(place);
        self.awaited.on_recovered(place);
        self.recovery.on_recovered(place);
        self.members.on_recovered(place, view)?;
        self.levels.on_recovered(place);
        self.kept.on_recovered(view, &disks[place])?;
        self.elections.on_recovered(place, view, &disks[place])
    }

    /// A node's disk is lost, and another one is in its place.
    pub fn on_disk_lost(&mut self, place: Place, disk: Disk) {
        self.elections.on_disk_lost(place);
        self.local.on_disk_lost(place);
        self.members.on_disk_lost(place);
        self.logs.bury(disk);
    }

    /// An event is about to be taken.
    pub fn on_event(&mut self, moment: Moment, event: &Event, view: &View<'_>) {
        self.access.on_event(event);
        self.elections.on_event(moment.place, event);
        self.leases.on_event(moment, event, view);
        self.unasked.on_event(moment, event, view);
        self.members.on_event(moment.place, event);
        self.history.on_event(event);
        self.awaited.on_event(moment, event, view);
        self.listed.on_event(event);
        self.local.on_event(moment.place, event, view);
        self.snapshots.on_event(moment.place, event);
        self.logs.on_event(event);
        self.recovery.on_event(moment, event, view);
        self.reads
            .on_event(moment, event, view, self.logs.committed());
    }

    /// A turn was taken, and none of its actions performed yet.
    ///
    /// # Errors
    /// What is wrong.
    pub fn on_turn(
        &mut self,
        moment: Moment,
        view: &View<'_>,
        actions: &[Action],
        disks: &[Disk],
        marks: &mut Marks,
    ) -> Verdict {
        let disk = &disks[moment.place];
        for action in actions {
            if let Action::Audit(record) = action {
                self.logs.on_audit(record);
            }
        }
        self.recovery.on_turn(moment.place, actions, marks)?;
        self.elections.check_timer(moment, view, disk)?;
        self.leases.on_turn(moment, view, marks);
        self.elections.on_turn(moment, view, &self.logs, marks)?;
        for action in actions {
            if let Action::Write(write) = action {
                self.elections.on_write(moment.place, write);
                self.members.on_write(write)?;
                let of_members = |entry: &&LogEntry| entry.kind == EntryKind::Membership;
                for entry in write.entries.iter().filter(of_members) {
                    let before = self.members.before(view, moment.place, entry.index);
                    self.unasked
                        .on_write(moment, view, entry, before, disks, marks)?;
                }
                self.logs.on_write(moment, write, view, disk, marks)?;
                self.order.on_write(moment.place, view, write, marks)?;
            }
        }
        self.logs.end_turn();
        let before = self.logs.committed();
        let members = self.members.counted_by(moment.place, view);
        self.logs
            .on_commit(moment.place, view, &members, disks, marks)?;
        for index in before.0 + 1..=self.logs.committed().0 {
            self.leases
                .on_committed(LogIndex(index), &self.logs, marks)?;
            self.history.on_committed(LogIndex(index), &self.logs);
            self.local.on_committed(LogIndex(index), &self.logs);
            self.wanted.on_committed(LogIndex(index), &self.logs);
            self.reads.on_committed(LogIndex(index), &self.logs);
            self.members
                .on_committed(LogIndex(index), &self.logs, marks);
            self.levels
                .on_committed(LogIndex(index), &self.logs, view)?;
        }
        self.members.on_turn(moment.place, view, marks)?;
        self.queue.on_turn(moment.place, view, &self.logs, marks)?;
        self.wanted.on_turn(view, &self.queue)?;
        self.operated.on_turn(view, &self.logs, marks)?;
        self.reads.on_turn(moment, view);
        self.levels.on_turn(moment.place, view)?;
        for action in actions {
            match action {
                Action::Say { to, message } => {
                    self.elections
                        .on_say(moment.place, *to, message, view, disks)?;
                    self.logs
                        .on_say(moment.place, message, &disks[moment.place])?;
                }
                Action::Answer { ticket, reply } => {
                    self.history
                        .on_answer(*ticket, reply, &self.logs, &self.queue, marks)?;
                    for told in self.history.take_told() {
                        self.wanted.on_told(&told)?;
                        self.operated.on_told(&told)?;
                    }
                    self.members.on_answer(moment.place, *ticket, reply)?;
                    self.awaited
                        .on_answer(moment, *ticket, reply, view, &self.queue, marks)?;
                    self.listed.on_answer(*ticket, reply, view, marks)?;
                    let committed = self.logs.committed();
                    self.reads
                        .on_answer(moment, *ticket, reply, view, committed, marks)?;
                }
                Action::Audit(record) => {
                    self.queue.on_audit(record)?;
                    self.access.on_audit(record, view, &self.logs, marks)?;
                    self.explained.on_audit(record, &self.logs);
                    self.sessions.on_audit(record, &self.logs, marks)?;
                    self.edits.on_audit(record, &self.logs, marks)?;
                    self.past.on_audit(record, &self.logs);
                    self.together.on_audit(record, view, &self.logs, marks)?;
                    self.fitted.on_audit(record, view, &self.logs, marks)?;
                    self.kept.on_audit(record, &self.logs, marks);
                    self.limited
                        .on_audit(record, view, &self.logs, &self.queue, marks)?;
                    self.cached.on_audit(record, view, &self.logs, marks)?;
                }
                Action::DropSource { digest, .. } => self.kept.on_dropped(digest, view)?,
                Action::Halt(violation @ Violation::LevelBeyondProgram { .. }) => {
                    self.levels.on_halt(moment.place, violation, marks)?;
                }
                Action::Halt(violation) => on_halt(violation)?,
                Action::SaveSnapshot(part) => {
                    let disk = &disks[moment.place];
                    self.members.on_snapshot(view, moment.place, &part.meta)?;
                    self.snapshots
                        .on_part(moment.place, part, disk, &self.queue, marks)?;
                }
                Action::Write(_)
                | Action::ReadLog { .. }
                | Action::PutBlob { .. }
                | Action::CompactLog { .. }
                | Action::KeepPiece(_)
                | Action::InstallSnapshot { .. }
                | Action::ReadSnapshot { .. }
                | Action::ReadBodies { .. }
                | Action::FindLacking { .. }
                | Action::Work(_)
                | Action::KeepRequest { .. }
                | Action::DropRequest { .. } => {}
            }
        }
        for action in actions {
            self.local
                .on_action(moment.place, action, view, &self.logs, marks)?;
        }
        self.local.end_turn();
        self.access.on_turn(view, actions, marks)?;
        self.awaited.on_turn(moment, view, actions, &self.queue)?;
        self.edits.on_turn(view)?;
        self.past.on_turn(view, marks)?;
        self.together.on_turn(view);
        self.fitted.on_turn(view, marks)?;
        self.kept.on_turn(view, marks)?;
        self.limited.on_turn(view, marks)?;
        self.explained.on_turn(view, &self.queue, marks)?;
        self.cached.on_turn(view)?;
        self.snapshots.on_turn(actions)?;
        self.snapshots
            .on_installed(moment.place, view, actions, &disks[moment.place])?;
        Ok(())
    }
}

/// The request id and the command of what a client wants in the log, if it does.
fn proposed(request: &Request) -> Option<(Option<RequestId>, &Command)> {
    match request {
        Request::Propose {
            request, command, ..
        } => Some((*request, command)),
        Request::QueueLocally {
            request, command, ..
        } => Some((Some(*request), command)),
        _ => None,
    }
}

/// A core stops only when its disk fails.
fn on_halt(violation: &Violation) -> Verdict {
    let checker = match violation {
        // The disk's fault, not the core's.
        Violation::WriteFailed { .. } => return Ok(()),
        Violation::StateDiverged { .. } => Checker::EqualState,
        Violation::LogDiverged { .. } => Checker::LogMatching,
        Violation::CommittedConflict { .. } => Checker::CommittedNeverLost,
        Violation::TwoLeaders { .. } => Checker::ElectionSafety,
        Violation::Undecodable { .. } => Checker::CoreAssertion,
        Violation::LevelBeyondProgram { .. } => Checker::LevelOfAll,
    };
    Err(Failure {
        checker,
        text: format!("the core halted: {violation}"),
    })
}
