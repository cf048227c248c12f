//! `ContextManager`: one event in, actions out. Wiring only: every rule of the
//! protocol is in the component that it belongs to.

#[cfg(test)]
mod alone;
mod apply;
mod asker;
mod awaits;
mod denials;
mod evictions;
mod feeds;
mod hand_over;
mod install;
mod levels;
mod local;
mod members;
mod reads;
mod recover;
mod recoveries;
mod report;
mod serve;
mod snapshots;
mod unsafe_recovery;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::action::{Action, Violation};
use crate::bytes::Bytes;
use crate::cluster::{Change, ClusterCoordinator};
use crate::command::{Command, Entry};
use crate::config::Config;
use crate::cx::Cx;
use crate::digest::Digest;
use crate::event::{Event, Now, Order};
use crate::failover::FailoverManager;
use crate::generation::GenerationCoordinator;
use crate::health::{HealthMonitor, Owing, Thresholds};
use crate::ids::{LocalNumber, LogIndex, RequestId, Sequence, Ticket};
use crate::log::{Log, LogStart};
use crate::marks::{Mark, Marks};
use crate::membership::Membership;
use crate::message::{Body, StateHashAt};
use crate::outbox::Outbox;
use crate::principal::Principal;
use crate::pulse::Rhythm;
use crate::queue::QueueManager;
use crate::random::Random;
use crate::request::Reply;
use crate::time::{Span, Stamp, Time};
use crate::wire;

use asker::Asker;
use awaits::Awaits;
use denials::Denials;
use evictions::Evictions;
use feeds::Feeds;
use hand_over::HandingOver;
use install::{Aside, Installing};
use levels::Levels;
use local::LocalQueue;
use reads::Reads;
pub(crate) use recover::state_of;
pub use recover::{Kept, RecoverError, Recovered};
use recoveries::Recoveries;
use snapshots::Snapshots;
use unsafe_recovery::Recovering;

/// Lends the manager's tools to a component of it.
macro_rules! cx {
    ($manager:ident, $now:expr) => {
        $crate::cx::Cx {
            now: $now,
            config: &$manager.config,
            random: &mut $manager.random,
            marks: &mut $manager.marks,
            log: &mut $manager.log,
            outbox: &mut $manager.outbox,
        }
    };
}
use cx;

/// When a leadership began, in both times: agreed time goes on from there.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    time: Time,
    stamp: Stamp,
}

/// One node's whole state.
#[derive(Clone, Debug)]
pub(crate) struct ContextManager {
    config: Config,
    random: Random,
    marks: Marks,
    log: Log,
    outbox: Outbox,
    cluster: ClusterCoordinator,
    health: HealthMonitor,
    failover: FailoverManager,
    queue: QueueManager,
    generation: GenerationCoordinator,
    evictions: Evictions,
    /// Sources of which nobody speaks any more, since this turn began.
    gone: BTreeMap<Digest, LogIndex>,
    applied: LogIndex,
    /// The last turn did not get through all that is committed.
    backlogged: bool,
    /// Who waits for which proposal of this leadership.
    pending: BTreeMap<LogIndex, Asker>,
    /// Who waits for the end of the membership's change that is under way.
    changing: Option<Ticket>,
    handing_over: HandingOver,
    /// Who waits for the outcome of an unsafe recovery.
    recovering: Option<Recovering>,
    epoch: Option<Epoch>,
    /// What the programs of connected members can do.
    levels: Levels,
    denials: Denials,
    /// A `Tick` that is proposed and not applied.
    tick: Option<LogIndex>,
    feeds: Feeds,
    awaits: Awaits,
    reads: Reads,
    recoveries: Recoveries,
    local: LocalQueue,
    snapshots: Snapshots,
    /// A leader's snapshot that waits for its bodies.
    installing: Option<Installing>,
    aside: Aside,
    /// This replica's state hashes at the last few intervals.
    hashes: VecDeque<StateHashAt>,
    halted: Option<Violation>,
}

impl ContextManager {
    pub(crate) fn recover(
        config: Config,
        recovered: Recovered,
        now: Now,
    ) -> Result<ContextManager, RecoverError> {
        config.check()?;
        let Recovered {
            hard_state,
            snapshot,
            entries,
            kept,
            local,
        } = recovered;
        let local = LocalQueue::recover(local)?;
        let start = match &snapshot {
            None => LogStart::founding(Arc::new(Membership::founding(
                config.founders.iter().copied(),
            ))),
            Some(snapshot) => LogStart::of(&snapshot.meta),
        };
        let start_index = start.position.index;
        let (log, reset) = recover::log_of(start, entries)?;
        let last = log.last().index;
        let voters = log.membership();
        // One that does not know the members yet is none of them alone.
        let is_alone = voters.nodes().eq([config.node]);
        if let Some(must_cover) = hard_state.repairing.filter(|_| is_alone) {
            return Err(RecoverError::NobodyToRepairFrom { must_cover });
        }
        // What is missing of a damaged log its leader sends again.
        let known_commit = match hard_state.repairing {
            None => hard_state.commit,
            Some(_) => hard_state.commit.min(last),
        };
        if known_commit > last {
            return Err(RecoverError::CommitBeyondLog {
                last,
                commit: known_commit,
            });
        }
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut queue = match &snapshot {
            None => QueueManager::new(config.knobs.rules()),
            Some(snapshot) => state_of(&snapshot.meta, &snapshot.image, config.supports)?,
        };
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut outbox = Outbox::new(last, hard_state);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = config.planted {
            queue.plant(bug);
            outbox.plant(Some(bug));
        }
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut generation = GenerationCoordinator::new(&config.knobs);
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = config.planted {
            generation.plant(bug);
        }
        let mut random = Random::new(config.seed);
        let (mut marks, mut log) = (Marks::default(), log);
        let commit = known_commit.max(start_index);
        let mut cx = Cx {
            now,
            config: &config,
            random: &mut random,
            marks: &mut marks,
            log: &mut log,
            outbox: &mut outbox,
        };
        let mut cluster = ClusterCoordinator::new(hard_state, commit, &mut cx);
        if reset {
            cx.outbox.reset(cx.log.last());
        }
        if let Some(Kept { meta, image }) = kept {
            cluster.resume_transfer(meta, image, &mut cx);
        }
        Ok(ContextManager {
            cluster,
            health: HealthMonitor::new(thresholds(&config), now.time),
            failover: FailoverManager::default(),
            generation,
            evictions: Evictions::default(),
            gone: BTreeMap::new(),
            queue,
            applied: start_index,
            backlogged: false,
            pending: BTreeMap::new(),
            changing: None,
            handing_over: HandingOver::default(),
            recovering: None,
            epoch: None,
            levels: Levels::default(),
            denials: Denials::default(),
            tick: None,
            feeds: Feeds::default(),
            awaits: Awaits::default(),
            installing: None,
            aside: Aside::default(),
            reads: Reads::default(),
            recoveries: Recoveries::default(),
            local,
            snapshots: Snapshots::new(snapshot.map(|snapshot| snapshot.meta)),
            hashes: VecDeque::new(),
            halted: None,
            config,
            random,
            marks,
            log,
            outbox,
        })
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, now: Now) {
        let late = self.health.on_turn(now.time, self.deadline());
        if self.failover.is_leading() && late > Span::from_ms(self.config.knobs.heartbeat_ms) {
            self.marks.hit(Mark::LoopStalled);
            #[cfg(feature = "planted-bugs")]
            if self.config.planted(crate::planted::Bug::StallBlamesWorkers) {
                return;
            }
            self.generation.on_stalled(now.time);
        }
    }

    /// Takes in one event.
    pub(crate) fn step(&mut self, now: Now, event: Event) {
        match event {
            Event::Wake => {}
            Event::Peer { from, message } => {
                self.health.on_heard(from, now.time);
                if let Body::AppendReply(reply) = &message.body {
                    self.health.on_told(from, reply.health);
                }
                self.cluster.on_message(from, message, &mut cx!(self, now));
            }
            Event::PeerUp { peer, supports } => {
                self.levels.on_peer_up(peer, supports);
                self.health.on_connection(peer, true, now.time);
                self.cluster.on_peer_up(peer);
            }
            Event::PeerDown { peer } => {
                self.levels.on_peer_down(peer);
                self.health.on_connection(peer, false, now.time);
                self.cluster.on_peer_down(peer, &mut cx!(self, now));
                self.local.on_peer_down(peer);
            }
            Event::Client {
                ticket,
                principal,
                request,
            } => self.on_request(now, ticket, principal, request),
            Event::Durable { write } => {
                if let Some(since) = self.outbox.on_durable(write) {
                    self.health.on_written(since, now.time);
                }
            }
            Event::WriteFailed { write } => self.halt(Violation::WriteFailed { write }),
            Event::LogRead { read, entries } => {
                self.cluster.on_log_read(read, entries, &mut cx!(self, now))
            }
            Event::SnapshotSaved { index } => self.on_snapshot_saved(index),
            Event::SnapshotInstalled { index } => self.on_snapshot_installed(now, index),
            Event::SnapshotRead { read, piece } => {
                self.cluster.on_piece_read(read, piece, &mut cx!(self, now));
            }
            Event::BodiesRead { read, bodies } => {
                self.cluster
                    .on_bodies_read(read, bodies, &mut cx!(self, now));
            }
            Event::BodiesLacking { digests } => self.on_bodies_lacking(digests),
            Event::WorkDone(done) => self.on_work_done(now, done),
            Event::RequestKept { number } => self.on_request_kept(number),
            Event::Order(Order::HandOver { to }) => {
                // Nobody waits for the outcome: it shows in who leads.
                let _ = self.cluster.on_hand_over(to, &mut cx!(self, now));
            }
            Event::Order(Order::Stop) => self.on_stop(now),
            Event::Order(Order::Snapshot) => self.snapshots.order(),
        }
        self.take_changes(now);
    }

    /// Ends a turn: what follows from its events, and everything that may leave.
    pub(crate) fn settle(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.ask_reads(now);
        let writing = self.outbox.oldest_unconfirmed();
        let own = self.health.own(now.time, writing, self.backlogged);
        self.cluster.on_turn(own, &mut cx!(self, now));
        // Before a leader whose own removal is committed leaves: that is known.
        self.answer_change(now);
        self.take_changes(now);
        let owing = match self.cluster.leader(self.config.node) {
            None => Owing::Nobody,
            Some(leader) if leader == self.config.node => Owing::All,
            Some(leader) => Owing::One(leader),
        };
        self.health.on_owing(owing, now.time);
        self.apply_committed(now);
        self.answer_reads(now);
        self.answer_awaits(now);
        self.answer_hand_over(now);
        self.answer_recovery();
        self.serve_waiting(now);
        self.forward_local(now);
        self.lead(now);
        self.answer_feeds(now);
        self.keep_snapshots(now);
        self.cluster.settle(&mut cx!(self, now));
        self.outbox.set_commit(self.cluster.commit());
        if let Some(violation) = &self.halted {
            // Whatever else was to be said, a broken node does not say it.
            actions.push(Action::Halt(violation.clone()));
            return;
        }
        self.outbox.settle(now.time, actions);
        assert!(
            self.applied <= self.cluster.commit(),
            "only what is committed is applied"
        );
    }

    /// When a `Wake` is due at the latest.
    pub(crate) fn deadline(&self) -> Time {
        if self.applied < self.cluster.commit() {
            return Time(0);
        }
        let mut deadline = self.cluster.deadline();
        let others = [
            self.failover.deadline(),
            self.feeds.deadline(),
            self.awaits.deadline(self.applied),
            self.snapshots.deadline(),
            self.reads.deadline(),
            self.work_deadline(),
            self.handing_over.deadline(),
            self.local.deadline(),
        ];
        for other in others.into_iter().flatten() {
            deadline = deadline.min(other);
        }
        deadline
    }

    fn work_deadline(&self) -> Option<Time> {
        // A leader that hands over proposes nothing: what is due stays due until
        // that has ended, one way or the other.
        if !self.failover.may_serve() || self.cluster.is_yielding() {
            return None;
        }
        let timer = match (self.epoch, self.queue.next_timer()) {
            (Some(epoch), Some(stamp)) if self.tick.is_none() => {
                Some(epoch.time + Span::from_ms(stamp.0.saturating_sub(epoch.stamp.0)))
            }
            _ => None,
        };
        let denials = self
            .denials
            .due(Span::from_ms(self.config.knobs.denials_note_ms));
        [timer, self.generation.deadline(), denials]
            .into_iter()
            .flatten()
            .min()
    }

    fn take_changes(&mut self, now: Now) {
        if !self.cluster.has_changes() {
            return;
        }
        for change in self.cluster.take_changes() {
            match change {
                Change::Halt(violation) => self.halt(violation),
                Change::Elected { term } => {
                    self.failover.on_elected(term);
                    if let Some(latest) = self.hashes.back() {
                        self.cluster.set_state_hash(*latest);
                    }
                    if let Some(saved) = self.snapshots.saved() {
                        self.cluster.set_snapshot(saved.clone());
                    }
                    self.append_own(
                        now,
                        Command::TakeOver {
                            term,
                            node: self.config.node,
                        },
                    );
                }
                Change::Deposed => self.on_deposed(now),
                Change::HandOverEnded(error) => self.on_hand_over_ended(error),
                Change::Recovered(report) => self.on_recovered(report),
                Change::RecoveryFailed(error) => self.on_recovery_failed(error),
                Change::ImageReceived { meta, pieces } => self.on_image_received(meta, pieces),
                Change::BodiesReceived(bodies) => self.on_bodies_received(bodies),
                Change::Forward {
                    from,
                    attempt,
                    entry,
                } => self.on_forward(now, from, attempt, &entry),
                Change::Forwarded {
                    request,
                    attempt,
                    end,
                } => self.on_forwarded(now, request, attempt, end),
            }
        }
    }

    fn on_deposed(&mut self, now: Now) {
        self.failover.on_deposed();
        self.epoch = None;
        self.levels.on_deposed();
        self.evictions.on_deposed();
        self.tick = None;
        for (_, asker) in std::mem::take(&mut self.pending) {
            self.marks.hit(Mark::ProposalUnknown);
            self.tell(now, asker, Reply::Unknown);
        }
        if let Some(ticket) = self.changing.take() {
            self.outbox.answer(ticket, Reply::Unknown);
        }
        if let Some(recovering) = self.recovering.take() {
            self.outbox.answer(recovering.ticket, Reply::Unknown);
        }
        for ticket in self.generation.on_step_down() {
            self.outbox
                .answer(ticket, Reply::NotLeader { leader: None });
        }
    }

    /// What a serving leader does of itself: timers, claims, expiries.
    fn lead(&mut self, now: Now) {
        if !self.failover.may_serve() || self.cluster.is_yielding() {
            return;
        }
        self.raise_level(now);
        self.note_denials(now);
        let timer_due = self
            .queue
            .next_timer()
            .is_some_and(|due| due <= self.stamp(now));
        if self.tick.is_none() && (timer_due || self.queue.cascade_pending()) {
            self.tick = Some(self.append_own(now, Command::Tick));
        }
        for command in self.generation.propose(now.time, &self.queue) {
            #[cfg(feature = "planted-bugs")]
            self.dispatch_early(now, &command);
            self.append_own(now, command);
        }
        self.evict(now);
        if !self.generation.is_reattaching(now.time) && self.failover.on_reclaimed() {
            self.marks.hit(Mark::Reclaimed);
        }
    }

    /// Cluster time by this leader's clock (QUEUE T1).
    fn stamp(&self, now: Now) -> Stamp {
        let own = self
            .epoch
            .map(|epoch| epoch.stamp.plus_ms(now.time.since(epoch.time).as_ms()));
        own.map_or(self.queue.now(), |own| own.max(self.queue.now()))
    }

    fn entry(&self, now: Now, principal: Principal, command: Command) -> Entry {
        Entry {
            t: self.stamp(now),
            wall_ms: now.wall_ms,
            principal,
            request: None,
            acknowledged: Sequence(0),
            command,
        }
    }

    fn append_own(&mut self, now: Now, command: Command) -> LogIndex {
        let body: Bytes = wire::command::encode(&self.entry(now, Principal::cluster(), command));
        self.cluster.append_own(body, &mut cx!(self, now))
    }

    fn halt(&mut self, violation: Violation) {
        self.halted.get_or_insert(violation);
    }
}

/// What the health monitor takes for late.
fn thresholds(config: &Config) -> Thresholds {
    let knobs = &config.knobs;
    Thresholds {
        beat: Span::from_ms(knobs.heartbeat_ms),
        timeout: Span::from_ms(knobs.election_timeout_ms_min),
        stuck: Span::from_ms(knobs.abdicate_after_ms),
        stalls: knobs.abdicate_stalls,
        window: Span::from_ms(knobs.abdicate_window_ms),
        rhythm: Rhythm::new(
            Span::from_ms(knobs.heartbeat_ms),
            Span::from_ms(
                knobs
                    .election_timeout_ms_ceiling
                    .max(knobs.election_timeout_ms_max),
            ),
        ),
    }
}

/// Reads for views.
impl ContextManager {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn cluster(&self) -> &ClusterCoordinator {
        &self.cluster
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn queue(&self) -> &QueueManager {
        &self.queue
    }

    pub(crate) fn failover(&self) -> &FailoverManager {
        &self.failover
    }

    pub(crate) fn health(&self) -> &HealthMonitor {
        &self.health
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    pub(crate) fn applied(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn durable(&self) -> LogIndex {
        self.outbox.durable()
    }

    pub(crate) fn snapshot(&self) -> LogIndex {
        self.snapshots.saved_index()
    }

    /// Is this node told that it is no member any more?
    fn is_removed(&self) -> bool {
        self.cluster.is_removed(self.log.membership_index())
    }

    pub(crate) fn queued_locally(&self) -> impl Iterator<Item = (LocalNumber, RequestId, bool)> {
        self.local.kept()
    }

    pub(crate) fn halted(&self) -> Option<&Violation> {
        self.halted.as_ref()
    }
}
