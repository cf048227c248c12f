//! One node and what it stands on: the real core, its disk and its clock, moved
//! by one stimulus at a time. What can be judged of one node alone is judged here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precentor_core::action::Action;
use precentor_core::command::Command;
use precentor_core::config::Config;
use precentor_core::driver::{Driver, Host};
use precentor_core::event::{Event, Now, Order};
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{ClusterId, LogIndex, NodeId, Sequence, Ticket};
use precentor_core::log::TermAt;
use precentor_core::message::{AppendResult, Body, Message};
use precentor_core::principal::Principal;
use precentor_core::random::Random;
use precentor_core::request::{Reply, Request};
use precentor_core::status::{PhaseName, RoleName};
use precentor_core::time::{Span, Time};

use super::disk::Disk;
use super::rules::{Broken, Rule};

/// How many nodes a world has.
pub(super) const NODES: usize = 3;
/// Election timeouts of almost one length: which was drawn makes no difference.
pub(super) const ELECTION_MS_MIN: u64 = 1_000;
/// The longest one.
pub(super) const ELECTION_MS_MAX: u64 = 1_001;
/// So long that a leader that nobody answers gives up at its second heartbeat.
pub(super) const HEARTBEAT_MS: u64 = 900;
/// Longer than all the time that passes in a search.
const ABDICATE_AFTER_MS: u64 = 600_000;
/// Draws of a node's randomness that are made sure of: more than a run takes.
const DRAWS: u32 = 64;

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Flight {
    /// The sender.
    pub(super) from: NodeId,
    /// The receiver.
    pub(super) to: NodeId,
    /// What is said.
    pub(super) message: Message,
}

/// What can happen to one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stimulus {
    /// Its clock comes to its deadline.
    Timeout,
    /// Time passes, a shortest election timeout long, and nothing is due yet.
    Lull,
    /// Its oldest write is durable.
    Synced,
    /// Power is lost; so many of the records on their way are there all the same.
    Crash(u8),
    /// It starts with what its disk holds.
    Restart,
    /// A client proposes something: the number tells proposals apart.
    Propose(u8),
    /// The operator wants another leader.
    HandOver,
    /// Its connection to a peer is closed.
    PeerDown(u8),
    /// A message arrives, by its number in the table.
    Hear(u32),
}

/// How every node of a search is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// Writes are durable at once.
    pub(super) fast_disk: bool,
    /// Appends take one entry each.
    pub(super) short_appends: bool,
    /// A rule that every node breaks.
    #[cfg(feature = "planted-bugs")]
    pub(super) planted: Option<precentor_core::planted::Bug>,
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) node: NodeId,
    /// None while it is down.
    pub(super) driver: Option<Driver>,
    pub(super) disk: Disk,
    /// Time since its start, by its own clock.
    pub(super) clock: Time,
}

/// What one stimulus caused.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    /// What was said, in order.
    pub(super) said: Vec<Flight>,
    /// The highest index of which a client was told that it is applied.
    pub(super) answered: LogIndex,
    /// The first rule that was broken.
    pub(super) broken: Option<Broken>,
}

impl Effect {
    /// Keeps the first broken rule, but rather a broken promise than a broken means.
    fn breaks(&mut self, rule: Rule, text: impl Into<String>) {
        let known = self.broken.as_ref().map(|broken| broken.rule);
        if known.is_none_or(|known| rule.is_outcome() && !known.is_outcome()) {
            let text = text.into();
            self.broken = Some(Broken { rule, text });
        }
    }
}

#[derive(Debug, Default)]
struct Notebook(Vec<Action>);

impl Host for Notebook {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

/// A seed whose draws all differ from the shortest election timeout: then a
/// span of that length never ends just when a drawn one does.
pub(super) fn seed_of(node: NodeId) -> u64 {
    let span_us = (ELECTION_MS_MAX - ELECTION_MS_MIN) * 1_000;
    let fits = |seed: &u64| {
        let mut random = Random::new(*seed);
        (0..DRAWS).all(|_| random.between(0, span_us) > 0)
    };
    (node.0 * 1_000..)
        .find(fits)
        .expect("of a thousand seeds nearly all fit")
}

impl Setup {
    fn config(&self, node: NodeId) -> Config {
        let voters = (1..=NODES as u64).map(NodeId).collect();
        let mut config = Config::new(ClusterId([7; 16]), node, voters, seed_of(node));
        // No entry that takes room in the search and decides nothing.
        config.supports = FeatureLevel::FOUNDING;
        let knobs = &mut config.knobs;
        knobs.election_timeout_ms_min = ELECTION_MS_MIN;
        knobs.election_timeout_ms_max = ELECTION_MS_MAX;
        knobs.heartbeat_ms = HEARTBEAT_MS;
        knobs.suspicion_ms_max = 0;
        // Late words make nobody more patient, and no disk is taken for dead.
        knobs.election_timeout_ms_ceiling = ELECTION_MS_MIN;
        knobs.abdicate_after_ms = ABDICATE_AFTER_MS;
        knobs.state_hash_every_entries = 1;
        if self.short_appends {
            knobs.append_entries_max = 1;
        }
        #[cfg(feature = "planted-bugs")]
        {
            config.planted = self.planted;
        }
        config
    }
}

impl Local {
    /// A node that starts for the first time.
    pub(super) fn found(node: NodeId, setup: &Setup) -> Result<Local, Broken> {
        let mut local = Local {
            node,
            driver: None,
            disk: Disk::default(),
            clock: Time(0),
        };
        let mut effect = Effect::default();
        local.restart(setup, &mut effect);
        effect.broken.map_or(Ok(local), Err)
    }

    /// The node after a stimulus, and what that caused. `heard` is the message
    /// that [`Stimulus::Hear`] means.
    pub(super) fn after(
        &self,
        stimulus: Stimulus,
        heard: Option<&Flight>,
        setup: &Setup,
    ) -> (Local, Effect) {
        let mut next = self.clone();
        let mut effect = Effect::default();
        let run = catch_unwind(AssertUnwindSafe(|| {
            next.take_in(stimulus, heard, setup, &mut effect);
        }));
        if let Err(panic) = run {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            effect.breaks(Rule::NoPanic, format!("{} panics: {text}", self.node));
            return (self.clone(), effect);
        }
        next.check(self, &mut effect);
        (next, effect)
    }

    fn take_in(
        &mut self,
        stimulus: Stimulus,
        heard: Option<&Flight>,
        setup: &Setup,
        effect: &mut Effect,
    ) {
        match stimulus {
            Stimulus::Timeout => {
                let due = self.driver.as_ref().and_then(Driver::deadline);
                self.clock = self.clock.max(due.unwrap_or_default());
                self.turn(None, effect);
            }
            Stimulus::Lull => {
                self.clock = self.clock + Span::from_ms(ELECTION_MS_MIN);
                self.turn(None, effect);
            }
            Stimulus::Synced => self.sync(effect),
            Stimulus::Crash(keep) => {
                self.driver = None;
                self.clock = Time(0);
                if let Err(text) = self.disk.crash(usize::from(keep)) {
                    effect.breaks(Rule::NeverBack, text);
                }
            }
            Stimulus::Restart => self.restart(setup, effect),
            Stimulus::Propose(number) => {
                let event = Event::Client {
                    ticket: Ticket(u64::from(number)),
                    principal: Principal(format!("client {number}")),
                    request: Request::Propose {
                        request: None,
                        acknowledged: Sequence(0),
                        command: Command::OpenSession,
                    },
                };
                self.turn(Some(event), effect);
            }
            Stimulus::HandOver => {
                self.turn(Some(Event::Order(Order::HandOver { to: None })), effect);
            }
            Stimulus::PeerDown(peer) => {
                let peer = NodeId(u64::from(peer) + 1);
                self.turn(Some(Event::PeerDown { peer }), effect);
            }
            Stimulus::Hear(_) => {
                let flight = heard.expect("a message that arrives is in the table");
                let (from, message) = (flight.from, flight.message.clone());
                self.turn(Some(Event::Peer { from, message }), effect);
            }
        }
        while setup.fast_disk && self.driver.is_some() && !self.disk.waiting().is_empty() {
            self.sync(effect);
        }
    }

    fn restart(&mut self, setup: &Setup, effect: &mut Effect) {
        self.clock = Time(0);
        let now = Now {
            time: self.clock,
            wall_ms: 0,
        };
        let recovered = self.disk.recovered();
        let hard_state = recovered.hard_state;
        match Driver::recover(setup.config(self.node), recovered, now) {
            Err(error) => {
                effect.breaks(Rule::NoHalt, format!("{} cannot start: {error}", self.node))
            }
            Ok(driver) => {
                let view = driver.view();
                if (view.term(), view.vote()) != (hard_state.term, hard_state.vote) {
                    effect.breaks(
                        Rule::NeverBack,
                        format!(
                            "{} starts in {} with vote {:?}; its disk holds {hard_state:?}",
                            self.node,
                            view.term(),
                            view.vote()
                        ),
                    );
                }
                self.driver = Some(driver);
            }
        }
    }

    fn sync(&mut self, effect: &mut Effect) {
        match self.disk.sync_one() {
            Err(text) => effect.breaks(Rule::NeverBack, text),
            Ok(None) => {}
            Ok(Some(write)) => self.turn(Some(Event::Durable { write }), effect),
        }
    }

    fn turn(&mut self, event: Option<Event>, effect: &mut Effect) {
        let Some(driver) = &mut self.driver else {
            return;
        };
        let mut notebook = Notebook::default();
        let now = Now {
            time: self.clock,
            wall_ms: 0,
        };
        driver.turn(now, event, &mut notebook);
        for action in notebook.0 {
            match action {
                Action::Write(write) => self.disk.write(write),
                Action::Say { to, message } => {
                    self.check_said(to, &message, effect);
                    effect.said.push(Flight {
                        from: self.node,
                        to,
                        message,
                    });
                }
                Action::Answer {
                    reply: Reply::Applied { index, .. },
                    ..
                } => effect.answered = effect.answered.max(index),
                Action::Answer { .. }
                | Action::PutBlob { .. }
                | Action::DropSource { .. }
                | Action::Audit(_) => {}
                Action::Halt(violation) => {
                    effect.breaks(Rule::NoHalt, format!("{} halts: {violation}", self.node));
                }
                // All logs are short here.
                Action::ReadLog { .. }
                | Action::SaveSnapshot(_)
                | Action::CompactLog { .. }
                | Action::KeepPiece(_)
                | Action::InstallSnapshot { .. }
                | Action::ReadSnapshot { .. }
                | Action::ReadBodies { .. }
                | Action::FindLacking { .. }
                | Action::Work(_)
                | Action::KeepRequest { .. }
                | Action::DropRequest { .. } => {
                    effect.breaks(
                        Rule::Covered,
                        format!(
                            "{} wants something that this search has not: {action:?}",
                            self.node
                        ),
                    );
                }
            }
        }
    }

    /// What is promised to others must be on this disk for good.
    fn check_said(&self, to: NodeId, message: &Message, effect: &mut Effect) {
        let (term, node, held) = (message.term, self.node, self.disk.hard_state());
        let vote_held =
            |vote: NodeId| held.term > term || (held.term == term && held.vote == Some(vote));
        let broken = match &message.body {
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => None,
            Body::Vote { .. } if !vote_held(node) => {
                Some(format!("{node} stands in {term}; its disk holds {held:?}"))
            }
            Body::VoteReply { granted: true } if !vote_held(to) => Some(format!(
                "{node} votes for {to} in {term}; its disk holds {held:?}"
            )),
            Body::AppendReply(reply) => match reply.result {
                AppendResult::Matched { durable, .. } => self.check_durable(message, durable),
                AppendResult::Conflict { .. } => None,
            },
            Body::Vote { .. }
            | Body::VoteReply { .. }
            | Body::PreVoteReply { granted: false }
            | Body::Append(_)
            | Body::Lend(_)
            | Body::TimeoutNow
            | Body::Removed { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::Forward { .. }
            | Body::Forwarded { .. } => None,
            Body::SnapshotOffer(_)
            | Body::SnapshotFetch { .. }
            | Body::SnapshotPiece { .. }
            | Body::BodiesFetch { .. }
            | Body::Bodies { .. } => {
                let text = format!("{node} says what this search has not: {message:?}");
                return effect.breaks(Rule::Covered, text);
            }
        };
        let speaks_of_future = !matches!(
            message.body,
            Body::PreVote { .. } | Body::PreVoteReply { granted: true }
        );
        if let Some(text) = broken {
            effect.breaks(Rule::DurableFirst, text);
        } else if speaks_of_future && held.term < term {
            effect.breaks(
                Rule::DurableFirst,
                format!("{node} speaks in {term}; its disk holds {held:?}"),
            );
        }
    }

    fn check_durable(&self, message: &Message, durable: LogIndex) -> Option<String> {
        let view = self.driver.as_ref()?.view();
        let place = usize::try_from(durable.0.checked_sub(1)?).ok()?;
        let held = self.disk.entries().get(place).map(|entry| entry.term);
        let same = match view.term_at(durable) {
            // What is said of an older term may be about a log that is gone.
            TermAt::Known(term) if view.term() == message.term => held == Some(term),
            TermAt::Known(_) | TermAt::Compacted | TermAt::Beyond => held.is_some(),
        };
        (!same).then(|| {
            format!(
                "{} confirms its log up to {durable} in {}; its disk holds {} entries, there one of {held:?}",
                self.node,
                message.term,
                self.disk.entries().len()
            )
        })
    }

    /// What must hold of one node after whatever happened.
    fn check(&self, before: &Local, effect: &mut Effect) {
        let Some(driver) = &self.driver else { return };
        let view = driver.view();
        let (commit, applied, last) = (view.commit(), view.applied(), view.last().index);
        if applied > commit || commit > last {
            effect.breaks(
                Rule::Bounds,
                format!(
                    "{} has applied {applied}, commit {commit}, last {last}",
                    self.node
                ),
            );
        }
        if view.window_first() != LogIndex(1) {
            effect.breaks(
                Rule::Covered,
                format!("the log of {} begins at {}", self.node, view.window_first()),
            );
        }
        if view.queue().workers().next().is_some() {
            effect.breaks(Rule::Covered, "a worker came from nowhere");
        }
        let Some(was) = before.driver.as_ref().map(Driver::view) else {
            return;
        };
        if view.term() < was.term() || commit < was.commit() || applied < was.applied() {
            effect.breaks(
                Rule::NeverBack,
                format!(
                    "{} went from {}, commit {}, applied {} to {}, commit {commit}, applied {applied}",
                    self.node,
                    was.term(),
                    was.commit(),
                    was.applied(),
                    view.term(),
                ),
            );
        }
        let same_term = view.term() == was.term() && was.vote().is_some();
        if same_term && view.vote() != was.vote() {
            effect.breaks(
                Rule::NeverBack,
                format!(
                    "{} voted for {:?} and then for {:?} in {}",
                    self.node,
                    was.vote(),
                    view.vote(),
                    view.term()
                ),
            );
        }
        let counted = view.role() == RoleName::Leader && commit > was.commit();
        if counted && view.term_at(commit) != TermAt::Known(view.term()) {
            effect.breaks(
                Rule::OwnTermOnly,
                format!(
                    "{} leads in {} and commits {commit} of {:?} by counting",
                    self.node,
                    view.term(),
                    view.term_at(commit)
                ),
            );
        }
    }

    /// Whether a lull does anything: a follower that trusts its leader no more.
    pub(super) fn can_lull(&self) -> bool {
        let Some(driver) = &self.driver else {
            return false;
        };
        let end = self.clock + Span::from_ms(ELECTION_MS_MIN);
        driver.view().role() == RoleName::Follower
            && driver.view().leader().is_some()
            && driver.deadline().is_some_and(|due| due > end)
    }

    /// Whether this leader takes proposals.
    pub(super) fn can_propose(&self) -> bool {
        self.driver.as_ref().is_some_and(|driver| {
            matches!(
                driver.view().phase(),
                PhaseName::Reclaiming | PhaseName::Serving
            )
        })
    }
}
