//! Clients: each opens a session, submits contexts of a small tree in batches,
//! resends through other nodes until it is answered, and follows the feed of
//! finished jobs. Keeps its own record of what it was promised; knows nothing
//! of how the cluster keeps the promise.

mod awaiting;
mod batches;
mod caching;
mod editing;
mod items;
mod keeping;
mod leaving;
mod operating;
mod ruling;
mod sweeping;
mod taking_back;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::command::{Command, Outcome, Rejection};
use precentor_core::ids::{FinishNumber, JobId, RequestId, Sequence, SessionId, Ticket};
use precentor_core::job::{Finished, JobState};
use precentor_core::request::{Answer, Refusal, Reply, Request};

use crate::desk::{Caller, Desk};
use crate::network::Place;
use crate::readings::Readings;
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Roll};

use self::awaiting::{Awaiting, jobs_of};
use self::editing::Editing;
use self::items::{TENANT, address, bad_batch};
use self::operating::Operating;
use self::ruling::{Forging, Ruling};
use self::sweeping::Sweeping;
use self::taking_back::TakingBack;
pub use self::tree::Tree;

const PATIENCE_US: u64 = 700_000;
const OPEN_MAX: usize = 4;
/// The engine of the simulated workers.
pub const ENGINE: &str = "outline";
/// Another one, which only some have.
pub const OTHER_ENGINE: &str = "summary";

/// A request on its way, or answered and not yet acknowledged.
#[derive(Clone, Debug)]
struct Asked {
    command: Command,
    ticket: Option<Ticket>,
    at_us: u64,
    answered: bool,
    /// A copy with another body is on its way too: that one's answer does not count.
    resent: bool,
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    options: ClientOptions,
    caller: Caller,
    session: Option<SessionId>,
    opening: Option<(Ticket, u64)>,
    sequence: Sequence,
    acknowledged: Sequence,
    asked: BTreeMap<Sequence, Asked>,
    /// What was asked in a session that expired, and was not answered.
    again: Vec<Command>,
    feed: Option<(Ticket, u64)>,
    feed_after: FinishNumber,
    /// No new requests.
    retiring: bool,
    /// Jobs that it was promised and has not seen finished.
    pub promised: BTreeSet<JobId>,
    seen: BTreeSet<JobId>,
    readings: Readings,
    taking_back: TakingBack,
    operating: Operating,
    ruling: Ruling,
    forging: Forging,
    own_sessions: Vec<SessionId>,
    editing: Editing,
    awaiting: Awaiting,
    sweeping: Sweeping,
    thought_us: u64,
    /// On whose account it asks.
    tenant: String,
    bulks: u64,
    /// Is there another engine to ask for?
    two_engines: bool,
}

/// What a client found wrong.
pub type Complaint = String;

impl Client {
    /// A client that has done nothing yet.
    #[must_use]
    pub fn new(lane: u32, options: ClientOptions, two_engines: bool) -> Client {
        Client {
            tenant: match u64::from(lane) % options.tenants {
                0 => TENANT.to_owned(),
                other => format!("{TENANT}{other}"),
            },
            bulks: 0,
            two_engines,
            options,
            caller: Caller::new(lane, "client"),
            session: None,
            opening: None,
            sequence: Sequence(0),
            acknowledged: Sequence(1),
            asked: BTreeMap::new(),
            again: Vec::new(),
            feed: None,
            feed_after: FinishNumber(0),
            retiring: false,
            promised: BTreeSet::new(),
            seen: BTreeSet::new(),
            readings: Readings::default(),
            taking_back: TakingBack::default(),
            operating: Operating::default(),
            ruling: Ruling::new(lane, &options),
            forging: Forging::default(),
            own_sessions: Vec::new(),
            editing: Editing::default(),
            awaiting: Awaiting::default(),
            sweeping: Sweeping::default(),
            thought_us: 0,
        }
    }

    /// From now on it only waits for what it asked.
    pub fn retire(&mut self, nodes: usize) {
        self.retiring = true;
        if self.options.last_reads {
            self.readings.retire(nodes);
        }
    }

    /// Is everything answered, by each of these members too, and every promise kept?
    #[must_use]
    pub fn is_content(&self, is_member: impl Fn(Place) -> bool) -> bool {
        self.asked.values().all(|asked| asked.answered)
            && self.promised.is_empty()
            && self.again.is_empty()
            && self.operating.is_done()
            && self.awaiting.is_done()
            && self.ruling.is_done()
            && self.readings.left(is_member).next().is_none()
    }

    /// How many endings it has heard of.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.feed_after.0
    }

    /// What it waits for, in words.
    #[must_use]
    pub fn wants(&self, is_member: impl Fn(Place) -> bool) -> String {
        let open: Vec<_> = self
            .asked
            .iter()
            .filter(|(_, a)| !a.answered)
            .map(|(s, _)| s)
            .collect();
        format!(
            "{} waits for the answers to {open:?}, for the jobs {:?} and for reads at {:?}",
            self.caller.principal,
            self.promised,
            self.readings.left(is_member).collect::<Vec<_>>()
        )
    }

    /// Time passes.
    pub fn on_alarm(&mut self, desk: &mut Desk<'_>, tree: &mut Tree) {
        let pause_us = (self.options.think_us / 2).clamp(10_000, 50_000);
        self.caller.later(desk, pause_us, 0);
        self.readings.on_alarm(&mut self.caller, desk);
        self.awaiting.on_alarm(&mut self.caller, desk);
        if !self.retiring {
            self.maybe_read(desk);
            self.editing
                .maybe_read(&mut self.caller, desk, &self.options);
            self.sweeping
                .on_alarm(&mut self.caller, desk, &self.options);
        }
        let now_us = desk.now_us;
        let late = |at_us: u64| now_us >= at_us + PATIENCE_US;
        let Some(session) = self.session else {
            if self.opening.is_none_or(|(_, at_us)| late(at_us)) {
                if self.opening.is_some() {
                    self.caller.turn_to(None, desk.nodes);
                }
                let ticket = self
                    .caller
                    .ask(desk, propose(None, Sequence(0), Command::OpenSession));
                self.opening = Some((ticket, now_us));
            }
            return;
        };
        if self.feed.is_none_or(|(_, at_us)| late(at_us)) {
            let place = desk
                .tape
                .roll(Domain::Client, self.caller.lane)
                .below(desk.nodes as u64);
            let request = Request::FinishedAfter {
                after: self.feed_after,
                count_max: 16,
            };
            let ticket = self.caller.ask_at(desk, place as usize, request);
            self.feed = Some((ticket, now_us));
        }
        let overdue: Vec<Sequence> = self
            .asked
            .iter()
            .filter(|(_, asked)| !asked.answered && late(asked.at_us))
            .map(|(&sequence, _)| sequence)
            .collect();
        // Turn away only from a node that did not answer.
        if overdue
            .iter()
            .any(|sequence| self.asked[sequence].ticket.is_some())
        {
            self.caller.turn_to(None, desk.nodes);
        }
        for sequence in overdue {
            self.send(desk, session, sequence);
        }
        for command in std::mem::take(&mut self.again) {
            self.begin(desk, session, command);
        }
        let due = self.operating.take_due(now_us, self.retiring);
        for command in due.into_iter().chain(self.ruling.take_due(self.retiring)) {
            self.begin(desk, session, command);
        }
        self.maybe_forge(desk, tree);
        if !self.retiring && now_us >= self.thought_us && self.asked.len() < OPEN_MAX {
            let mut roll = desk.tape.roll(Domain::Client, self.caller.lane);
            self.thought_us = now_us + roll.exponential(self.options.think_us);
            if self.options.nap_us > 0 && roll.chance(30_000) {
                self.thought_us += self.options.nap_us;
            }
            let command = self.next_command(desk, tree, &mut roll);
            self.begin(desk, session, command);
        }
    }

    /// Asks for something new.
    fn begin(&mut self, desk: &mut Desk<'_>, session: SessionId, command: Command) {
        self.sequence = self.sequence.next();
        let asked = Asked {
            command,
            ticket: None,
            at_us: desk.now_us,
            answered: false,
            resent: false,
        };
        self.asked.insert(self.sequence, asked);
        self.send(desk, session, self.sequence);
    }

    fn next_command(&mut self, desk: &mut Desk<'_>, tree: &mut Tree, roll: &mut Roll) -> Command {
        let (lane, options) = (self.caller.lane, self.options);
        let own = &self.caller.principal;
        let ruled = self.ruling.next(desk.tape, lane, own, &options);
        let ruled = ruled.or_else(|| self.sweeping.next());
        let ruled = ruled.or_else(|| self.taking_back.next(desk.tape, lane, &options));
        if let Some(command) = ruled {
            return command;
        }
        let now_us = desk.now_us;
        if let Some(command) = self
            .operating
            .next(desk.tape, lane, now_us, &options, &self.tenant)
        {
            return command;
        }
        let kept = keeping::order(desk.tape, lane, tree, &options);
        if let Some(command) = kept.or_else(|| caching::order(desk.tape, lane, &options)) {
            return command;
        }
        if let Some(command) = self.editing.next(desk.tape, lane, now_us, &options) {
            return command;
        }
        let bad = desk.tape.fault(Domain::BadRequest, lane, options.bad_ppm);
        let items = match bad {
            Some(_) => bad_batch(roll.below(3)),
            None => self.batch(tree, roll),
        };
        caching::request(items, desk.tape, lane, &options)
    }

    /// A node answers.
    ///
    /// # Errors
    /// If the answer breaks a promise.
    pub fn on_reply(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        desk: &mut Desk<'_>,
    ) -> Result<(), Complaint> {
        if self.opening.is_some_and(|(open, _)| open == ticket) {
            self.opening = None;
            match reply {
                Reply::Applied {
                    outcome: Outcome::SessionOpened(session),
                    ..
                } => {
                    self.session = Some(session);
                    self.own_sessions.push(session);
                }
                other => self.follow_hint(&other, desk),
            }
            return Ok(());
        }
        if self.feed.is_some_and(|(feed, _)| feed == ticket) {
            self.feed = None;
            if let Reply::Finished { jobs, .. } = reply {
                return self.on_finished(&jobs);
            }
            return Ok(());
        }
        if let Reply::Read {
            answer: Answer::Job(Some(job)),
            ..
        } = &reply
            && let JobState::Running(lease) = job.state
        {
            self.forging.on_running(job.job, lease.token);
        }
        if self.readings.on_reply(ticket, &reply)
            || self.editing.on_reply(ticket, &reply)
            || self.sweeping.on_reply(ticket, &reply)
            || self.awaiting.on_reply(ticket, &reply, desk.now_us)
        {
            return Ok(());
        }
        let found = self
            .asked
            .iter()
            .find(|(_, asked)| asked.ticket == Some(ticket));
        let Some((&sequence, _)) = found else {
            return Ok(());
        };
        match reply {
            Reply::Applied { index, outcome } => {
                let (lane, options) = (self.caller.lane, self.options);
                let jobs = jobs_of(&outcome);
                self.awaiting.on_jobs(jobs, index, lane, desk, &options);
                self.on_outcome(sequence, outcome, desk)
            }
            Reply::Refused {
                reason: Refusal::LevelTooLow,
                ..
            } => {
                // Some program is old: nothing can be taken back, perhaps for ever.
                self.ruling.on_failed(&self.asked[&sequence].command, true);
                self.on_answered(sequence);
                Ok(())
            }
            Reply::Denied(denial) => {
                self.on_denied(sequence, &denial, desk.now_us);
                Ok(())
            }
            Reply::QueuedLocally => {
                let later_us = leaving::patience_us(&self.caller, desk);
                let asked = self.asked.get_mut(&sequence).expect("it was just found");
                asked.ticket = None;
                asked.at_us = (desk.now_us + later_us).saturating_sub(PATIENCE_US);
                Ok(())
            }
            Reply::Invalid { message } => Err(format!(
                "a well-formed request was called invalid: {message}"
            )),
            other => {
                self.follow_hint(&other, desk);
                // Ask again soon, not at once: there may be no leader.
                let asked = self.asked.get_mut(&sequence).expect("it was just found");
                asked.ticket = None;
                asked.at_us = (desk.now_us + 20_000).saturating_sub(PATIENCE_US);
                Ok(())
            }
        }
    }

    fn on_outcome(
        &mut self,
        sequence: Sequence,
        outcome: Outcome,
        desk: &mut Desk<'_>,
    ) -> Result<(), Complaint> {
        let asked = self.asked.get_mut(&sequence).expect("the caller found it");
        self.editing.on_outcome(&asked.command, &outcome)?;
        match outcome {
            Outcome::Submitted(_) | Outcome::Asked(_) => {
                jobs_of(&outcome)
                    .into_iter()
                    .for_each(|job| self.on_promise(job));
            }
            Outcome::Rejected(Rejection::UnknownSession { .. }) if self.options.nap_us > 0 => {
                self.on_session_expired();
                return Ok(());
            }
            Outcome::Rejected(
                Rejection::UnknownSession { .. }
                | Rejection::SequenceForgotten { .. }
                | Rejection::IdempotencyMismatch { .. },
            ) => {
                return Err(format!(
                    "{} was told of its own request {sequence}: {outcome:?}",
                    self.caller.principal
                ));
            }
            Outcome::Rejected(Rejection::Denied(denial)) => {
                self.on_denied(sequence, &denial, desk.now_us);
                return Ok(());
            }
            Outcome::Rejected(_) => self.ruling.on_failed(&asked.command, false),
            done if keeping::is_just_done(&done) => {}
            Outcome::RolesPut { .. } => self.ruling.on_put(&asked.command),
            Outcome::Cancelled(results) => {
                let (Command::Leave { jobs } | Command::Cancel { jobs }) = &asked.command else {
                    return Err(format!("a submit came to {results:?}"));
                };
                if jobs.len() != results.len() {
                    return Err(format!("{jobs:?} came to {results:?}"));
                }
            }
            outcome => match self.operating.on_outcome(&asked.command, &outcome) {
                Some(again) => again.into_iter().for_each(|job| self.on_promise(job)),
                None => return Err(format!("{:?} came to {outcome:?}", asked.command)),
            },
        }
        let asked = self.asked.get_mut(&sequence).expect("it is still there");
        asked.ticket = None;
        asked.answered = true;
        // Right after an answer is when an old state would show.
        if !self.retiring {
            self.maybe_read(desk);
        }
        let asked = self.asked.get_mut(&sequence).expect("it is still there");
        if !asked.resent {
            asked.resent = true;
            let session = self
                .session
                .expect("a request was sent, so there is a session");
            let lane = self.caller.lane;
            if desk
                .tape
                .fault(Domain::Resend, lane, self.options.resend_ppm)
                .is_some()
            {
                self.send(desk, session, sequence);
                return Ok(());
            }
            if desk
                .tape
                .fault(Domain::Mismatch, lane, self.options.mismatch_ppm)
                .is_some()
            {
                let other = Command::Submit {
                    items: bad_batch(3),
                };
                self.caller.ask(
                    desk,
                    propose(
                        Some(RequestId { session, sequence }),
                        self.acknowledged,
                        other,
                    ),
                );
                return Ok(());
            }
        }
        self.acknowledge();
        Ok(())
    }

    /// It was quiet for too long. What was not answered may have been done or not: it
    /// is asked anew in the next session.
    fn on_session_expired(&mut self) {
        self.session = None;
        self.sequence = Sequence(0);
        self.acknowledged = Sequence(1);
        let asked = std::mem::take(&mut self.asked).into_values();
        let open = asked.filter(|asked| !asked.answered);
        self.again.extend(open.map(|asked| asked.command));
    }

    /// It was told that a job answers for what it asked.
    fn on_promise(&mut self, job: JobId) {
        self.readings.on_job(job);
        self.taking_back.on_job(job);
        self.operating.on_job(job);
        if !self.seen.contains(&job) {
            self.promised.insert(job);
        }
    }

    /// A request is over: the program is too old for it.
    fn on_answered(&mut self, sequence: Sequence) {
        let asked = self.asked.get_mut(&sequence);
        let asked = asked.expect("the caller found it");
        self.operating.on_refused(&asked.command);
        self.editing.on_refused(&asked.command);
        asked.ticket = None;
        asked.answered = true;
        self.acknowledge();
    }

    /// What is answered without a gap is acknowledged, unless it is kept for a while.
    fn acknowledge(&mut self) {
        while self
            .asked
            .first_key_value()
            .is_some_and(|(_, a)| a.answered && a.ticket.is_none())
        {
            let (done, _) = self.asked.pop_first().expect("there is a first one");
            self.acknowledged = done.next();
        }
    }

    fn maybe_read(&mut self, desk: &mut Desk<'_>) {
        let options = self.options;
        let path = |bits: u64| {
            let (folder, file) = (bits % options.folders, bits / 64 % (options.files + 1));
            match file < options.files {
                true => address(&format!("f{folder}/a{file}")),
                false => address(&format!("f{folder}")),
            }
        };
        self.readings
            .maybe_read(&mut self.caller, desk, options.read_ppm, path);
    }

    fn on_finished(&mut self, jobs: &[Finished]) -> Result<(), Complaint> {
        for finished in jobs {
            if finished.number != self.feed_after.next() {
                return Err(format!(
                    "the feed went from {} to {}",
                    self.feed_after, finished.number
                ));
            }
            if !finished.state.is_terminal() {
                return Err(format!(
                    "{} is in the feed as {:?}",
                    finished.job, finished.state
                ));
            }
            if !self.seen.insert(finished.job) {
                return Err(format!("{} is in the feed twice", finished.job));
            }
            self.feed_after = finished.number;
            self.promised.remove(&finished.job);
            self.operating.on_finished(finished);
        }
        Ok(())
    }

    fn follow_hint(&mut self, reply: &Reply, desk: &mut Desk<'_>) {
        let hint = match reply {
            Reply::NotLeader { leader } => leader.map(|node| node.0 as usize - 1),
            _ => None,
        };
        self.caller.turn_to(hint, desk.nodes);
    }

    fn send(&mut self, desk: &mut Desk<'_>, session: SessionId, sequence: Sequence) {
        let asked = self
            .asked
            .get_mut(&sequence)
            .expect("a request that is sent is known");
        let request = RequestId { session, sequence };
        let (command, acknowledged) = (&asked.command, self.acknowledged);
        let (caller, options) = (&mut self.caller, &self.options);
        let left = leaving::leave(caller, desk, options, request, acknowledged, command);
        let asks = || propose(Some(request), acknowledged, command.clone());
        asked.ticket = Some(left.unwrap_or_else(|| self.caller.ask(desk, asks())));
        asked.at_us = desk.now_us;
    }
}

pub(crate) fn propose(
    request: Option<RequestId>,
    acknowledged: Sequence,
    command: Command,
) -> Request {
    Request::Propose {
        request,
        acknowledged,
        command,
    }
}
