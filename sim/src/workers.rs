//! Workers: they register, poll for work, take their time, and hand in results
//! until these are accepted or stale. Some die, pause, come back as another
//! life while the old one talks on, hand in twice, with a token that is not
//! theirs, or what was revoked.

mod offering;
mod together;

use std::collections::BTreeMap;

use precentor_core::access::Denial;
use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Outcome};
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, LogIndex, Sequence, Ticket, Token, WorkerId, WorkerIncarnation};
use precentor_core::job::{Assignment, FailureClass, WorkerSpec};
use precentor_core::request::{Poll, Reply, Request, Work};

use self::offering::Offering;
pub(crate) use self::offering::{MEMORY_STEP_MIB, TAGS};
use crate::desk::{Caller, Desk, lane_of_worker};
use crate::scenario::WorkerOptions;
use crate::tape::{Domain, Roll};
use crate::workload::{ENGINE, OTHER_ENGINE};

const TICK: u64 = 0;
const BACK: u64 = 1;
/// Waits to be sent again, and for no answer.
const NOBODY: Ticket = Ticket(0);
const PATIENCE_US: u64 = 500_000;

/// A job in hand.
#[derive(Clone, Debug)]
struct Held {
    assignment: Assignment,
    done_us: u64,
    /// What to say of it, once it is done.
    verdict: Option<Command>,
    sent: Option<(Ticket, u64)>,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct Worker {
    options: WorkerOptions,
    caller: Caller,
    spec: WorkerSpec,
    registered: bool,
    away_until_us: u64,
    held: BTreeMap<Token, Held>,
    polling: Option<(Ticket, u64)>,
    registering: Option<(Ticket, u64)>,
    /// Answers to these are of no interest here.
    next_poll_us: u64,
    trouble_us: u64,
    poll_us: u64,
    /// How many jobs it runs together.
    together_max: u32,
    offering: Offering,
    ghost: Option<Ghost>,
}

/// A former life that does not know that it is over: a process that was
/// thought dead and restarted elsewhere.
#[derive(Clone, Debug)]
struct Ghost {
    spec: WorkerSpec,
    held: Vec<Token>,
    /// It was told that nobody knows it, and registers.
    forgotten: bool,
    asked: Option<(Ticket, u64)>,
}

impl Worker {
    /// A worker that has not registered yet.
    #[must_use]
    pub fn new(number: u64, options: WorkerOptions, poll_ms: u64) -> Worker {
        Worker {
            options,
            caller: Caller::new(lane_of_worker(number as usize), "worker"),
            spec: WorkerSpec {
                worker: WorkerId(number + 1),
                incarnation: WorkerIncarnation(1),
                slots: options.slots,
                engines: engines(number, options.two_engines),
            },
            registered: false,
            away_until_us: 0,
            held: BTreeMap::new(),
            polling: None,
            registering: None,
            next_poll_us: 0,
            trouble_us: 0,
            poll_us: poll_ms * 1_000,
            together_max: match number % options.together_every {
                0 => options.together_max,
                _ => 1,
            },
            offering: Offering::default(),
            ghost: None,
        }
    }

    /// Time passes.
    pub fn on_alarm(&mut self, alarm: u64, desk: &mut Desk<'_>) {
        if alarm == TICK {
            self.caller.later(desk, 10_000, TICK);
            self.haunt(desk);
        }
        if desk.now_us < self.away_until_us && !desk.tape.is_calm() {
            return;
        }
        if alarm == TICK {
            self.trouble(desk);
        }
        self.finish_jobs(desk);
        self.offer(desk);
        self.keep_in_touch(desk);
    }

    /// A node answers.
    pub fn on_reply(&mut self, ticket: Ticket, reply: Reply, desk: &mut Desk<'_>) {
        if self
            .ghost
            .as_ref()
            .is_some_and(|ghost| is(&ghost.asked, ticket))
        {
            self.on_ghost_reply(&reply, desk.nodes);
            return;
        }
        if desk.now_us < self.away_until_us && !desk.tape.is_calm() {
            // Nobody reads it: as if it were lost.
            return;
        }
        if is(&self.registering, ticket) {
            self.registering = None;
            match reply {
                Reply::Applied {
                    outcome: Outcome::Registered,
                    ..
                } => self.registered = true,
                Reply::Applied { .. } => self.restart(),
                other => self.ask_elsewhere(&other, desk),
            }
            return;
        }
        if self.on_offered(ticket, &reply) {
            return;
        }
        if is(&self.polling, ticket) {
            self.polling = None;
            match reply {
                Reply::Work(work) => self.on_work(work, desk),
                other => self.ask_elsewhere(&other, desk),
            }
            return;
        }
        let found = self
            .held
            .iter()
            .find(|(_, held)| is(&held.sent, ticket))
            .map(|(&token, _)| token);
        let Some(token) = found else {
            return;
        };
        match reply {
            Reply::Applied { .. } | Reply::Invalid { .. } => {
                let held = self.held.remove(&token).expect("it was just found");
                self.send_double(held, desk);
            }
            Reply::Denied(denial) => {
                // It was expelled and is nobody's, or must not work now: it says whose it
                // is before it says this again.
                self.registered &= !matches!(denial, Denial::ForeignToken { .. });
                if let Some(held) = self.held.get_mut(&token) {
                    held.sent = Some((NOBODY, desk.now_us));
                }
            }
            other => {
                self.ask_elsewhere(&other, desk);
                if let Some(held) = self.held.get_mut(&token) {
                    held.sent = Some((NOBODY, (desk.now_us + 20_000).saturating_sub(PATIENCE_US)));
                }
            }
        }
    }

    fn on_work(&mut self, work: Work, desk: &mut Desk<'_>) {
        self.next_poll_us = desk.now_us
            + if self.held.is_empty() {
                1_000
            } else {
                self.poll_us / 2
            };
        if work.unknown {
            self.registered = false;
            self.offering = Offering::default();
        }
        for token in work.revoked {
            let zombie = desk.tape.fault(
                Domain::ZombieComplete,
                self.caller.lane,
                self.options.zombie_ppm,
            );
            if zombie.is_none() {
                self.held.remove(&token);
            }
        }
        let mut runs: BTreeMap<Token, u64> = BTreeMap::new();
        for assignment in work.assignments {
            if self.held.contains_key(&assignment.token) {
                continue;
            }
            let mut roll = desk.tape.roll(Domain::Worker, self.caller.lane);
            let own_us = roll.exponential(self.options.work_us) + 200;
            let work_us = match assignment.together {
                None => own_us,
                Some(batch) => together::done_us(*runs.entry(batch).or_insert(own_us), &mut roll),
            };
            self.caller.later(desk, work_us, 2);
            let held = Held {
                done_us: desk.now_us + work_us,
                assignment,
                verdict: None,
                sent: None,
            };
            self.held.insert(held.assignment.token, held);
        }
    }

    fn finish_jobs(&mut self, desk: &mut Desk<'_>) {
        let due: Vec<Token> = self
            .held
            .iter()
            .filter(|(_, held)| {
                desk.now_us >= held.done_us
                    && held
                        .sent
                        .is_none_or(|(_, at_us)| desk.now_us >= at_us + PATIENCE_US)
            })
            .map(|(&token, _)| token)
            .collect();
        for token in due {
            let options = self.options;
            self.fail_run(token, desk);
            let held = self.held.get_mut(&token).expect("it was just listed");
            if held.verdict.is_none()
                && is_lethal(&held.assignment, &options)
                && !desk.tape.is_calm()
            {
                // This input kills whoever works on it.
                desk.tape.count(Domain::WorkerCrash);
                self.die(desk, 50_000);
                return;
            }
            // Turn away only from a node that did not answer.
            if held.sent.is_some_and(|(ticket, _)| ticket != NOBODY) {
                self.caller.turn_to(None, desk.nodes);
            }
            let verdict = match held.verdict.clone() {
                Some(verdict) => verdict,
                None => verdict(&held.assignment, &options, self.caller.lane, desk),
            };
            held.verdict = Some(verdict.clone());
            let forged = desk
                .tape
                .fault(Domain::ForgedToken, self.caller.lane, options.forge_ppm);
            if let (
                Some(mut roll),
                Command::Complete {
                    job, result, body, ..
                },
            ) = (forged, &verdict)
            {
                let command = Command::Complete {
                    job: *job,
                    token: forge(token, &mut roll),
                    result: *result,
                    body: body.clone(),
                };
                self.caller.ask(desk, propose(command));
            }
            let ticket = self.caller.ask(desk, propose(verdict));
            let held = self.held.get_mut(&token).expect("it was just listed");
            held.sent = Some((ticket, desk.now_us));
        }
    }

    fn keep_in_touch(&mut self, desk: &mut Desk<'_>) {
        let now_us = desk.now_us;
        let patience_us = PATIENCE_US + self.poll_us;
        let late = |waiting: Option<(Ticket, u64)>| {
            waiting.is_some_and(|(_, at)| now_us >= at + patience_us)
        };
        if late(self.polling) || late(self.registering) {
            (self.polling, self.registering) = (None, None);
            self.caller.turn_to(None, desk.nodes);
        }
        if !self.registered {
            if self.registering.is_none() && now_us >= self.next_poll_us {
                let worker = self.spec.clone();
                let ticket = self.caller.ask(desk, propose(Command::Register { worker }));
                self.registering = Some((ticket, now_us));
                self.next_poll_us = now_us + 20_000;
            }
        } else if self.polling.is_none() && now_us >= self.next_poll_us {
            let poll = Poll {
                worker: self.spec.worker,
                incarnation: self.spec.incarnation,
                slots_free: self.spec.slots.saturating_sub(self.held.len() as u32),
                together_max: self.together_max,
                held: self.held.keys().copied().collect(),
            };
            let ticket = self.caller.ask(desk, Request::Poll(poll));
            self.polling = Some((ticket, now_us));
        }
    }

    /// Now and then a worker dies or stands still.
    fn trouble(&mut self, desk: &mut Desk<'_>) {
        if desk.now_us < self.trouble_us {
            return;
        }
        let (lane, options) = (self.caller.lane, self.options);
        let per_tick = |mean_us: u64| 10_000_000_000_u64.checked_div(mean_us).unwrap_or(0) as u32;
        if let Some(mut roll) =
            desk.tape
                .fault(Domain::WorkerCrash, lane, per_tick(options.crash_us))
        {
            self.die(desk, roll.between(10_000, 1_500_000));
        } else if let Some(mut roll) =
            desk.tape
                .fault(Domain::WorkerPause, lane, per_tick(options.pause_us))
        {
            self.away_until_us = desk.now_us + roll.between(50_000, 3_000_000);
            self.caller
                .later(desk, self.away_until_us - desk.now_us, BACK);
        }
    }

    fn die(&mut self, desk: &mut Desk<'_>, away_us: u64) {
        let lane = self.caller.lane;
        if self.registered
            && desk
                .tape
                .fault(Domain::OldLife, lane, self.options.ghost_ppm)
                .is_some()
        {
            self.ghost = Some(Ghost {
                spec: self.spec.clone(),
                held: self.held.keys().copied().collect(),
                forgotten: false,
                asked: None,
            });
        }
        self.restart();
        self.away_until_us = desk.now_us + away_us;
    }

    /// The former life goes on as if nothing had happened.
    fn haunt(&mut self, desk: &mut Desk<'_>) {
        if desk.tape.is_calm() {
            self.ghost = None;
        }
        let Some(ghost) = &mut self.ghost else {
            return;
        };
        let waits = |(_, at_us): (Ticket, u64)| desk.now_us < at_us + PATIENCE_US;
        if ghost.asked.is_some_and(waits) {
            return;
        }
        let request = if ghost.forgotten {
            let worker = ghost.spec.clone();
            propose(Command::Register { worker })
        } else {
            Request::Poll(Poll {
                worker: ghost.spec.worker,
                incarnation: ghost.spec.incarnation,
                slots_free: 0,
                together_max: 1,
                held: ghost.held.clone(),
            })
        };
        ghost.asked = Some((self.caller.ask(desk, request), desk.now_us));
    }

    fn on_ghost_reply(&mut self, reply: &Reply, nodes: usize) {
        let Some(ghost) = &mut self.ghost else {
            return;
        };
        ghost.asked = None;
        match reply {
            Reply::Work(work) => ghost.forgotten = work.unknown,
            // Turned away for good, unless it came before the new life.
            Reply::Applied {
                outcome: Outcome::Registered,
                ..
            } => ghost.forgotten = false,
            Reply::Applied { .. } => self.ghost = None,
            Reply::NotLeader { leader } => {
                let hint = leader.map(|node| node.0 as usize - 1);
                self.caller.turn_to(hint, nodes);
            }
            _ => {}
        }
    }

    fn restart(&mut self) {
        self.spec.incarnation = self.spec.incarnation.next();
        self.registered = false;
        self.held.clear();
        (self.polling, self.registering) = (None, None);
        self.offering = Offering::default();
    }

    fn ask_elsewhere(&mut self, reply: &Reply, desk: &mut Desk<'_>) {
        let hint = match reply {
            Reply::NotLeader { leader } => leader.map(|node| node.0 as usize - 1),
            _ => None,
        };
        self.caller.turn_to(hint, desk.nodes);
        self.next_poll_us = desk.now_us + if hint.is_some() { 1_000 } else { 20_000 };
    }

    fn send_double(&mut self, held: Held, desk: &mut Desk<'_>) {
        let lane = self.caller.lane;
        let Some(roll) = desk
            .tape
            .fault(Domain::DoubleComplete, lane, self.options.double_ppm)
        else {
            return;
        };
        let mut command = held.verdict.expect("what was answered was sent");
        if let (true, Command::Complete { result, body, .. }) =
            (roll.clone().chance(300_000), &mut command)
        {
            desk.tape.count(Domain::OtherResult);
            *body = Bytes::from(b"another result".as_slice());
            *result = Digest::of(body);
        }
        self.caller.ask(desk, propose(command));
    }
}

/// What a worker offers.
fn engines(number: u64, two_engines: bool) -> Vec<String> {
    let engines: &[&str] = match number % 3 {
        _ if !two_engines => &[ENGINE],
        0 => &[ENGINE, OTHER_ENGINE],
        1 => &[ENGINE],
        _ => &[OTHER_ENGINE],
    };
    engines.iter().map(|engine| (*engine).to_owned()).collect()
}

fn is(waiting: &Option<(Ticket, u64)>, ticket: Ticket) -> bool {
    waiting.is_some_and(|(waits, _)| waits == ticket)
}

/// What a worker says of a job.
fn verdict(
    assignment: &Assignment,
    options: &WorkerOptions,
    lane: u32,
    desk: &mut Desk<'_>,
) -> Command {
    let (job, token) = (assignment.job, assignment.token);
    if is_down(assignment, options, desk) {
        desk.tape.count(Domain::EngineOutage);
        let class = match desk.tape.roll(Domain::Worker, lane).chance(700_000) {
            true => FailureClass::Retryable,
            false => FailureClass::Busy,
        };
        return fail(job, token, class);
    }
    if input(assignment) % 1_000_000 < u64::from(options.poison_ppm) {
        return fail(job, token, FailureClass::Permanent);
    }
    if is_hopeless(assignment, options) {
        // When all is healed it is known for what it is. Alone it could not be told
        // from an engine that is down, and would not be given up for long.
        let class = match desk.tape.is_calm() {
            true => FailureClass::Permanent,
            false => FailureClass::Retryable,
        };
        return fail(job, token, class);
    }
    if let Some(mut roll) = desk.tape.fault(Domain::WorkerFail, lane, options.fail_ppm) {
        let class = *roll.pick(&[
            FailureClass::Retryable,
            FailureClass::Retryable,
            FailureClass::Busy,
        ]);
        return fail(job, token, class);
    }
    if desk
        .tape
        .fault(Domain::WorkerRelease, lane, options.release_ppm)
        .is_some()
    {
        return Command::Release { job, token };
    }
    let body = Bytes::from(assignment.subject.0.as_slice());
    Command::Complete {
        job,
        token,
        result: Digest::of(&body),
        body,
    }
}

/// Is the engine down that the job needs?
fn is_down(assignment: &Assignment, options: &WorkerOptions, desk: &Desk<'_>) -> bool {
    let since_us = desk.now_us.checked_rem(options.outage_every_us);
    let down = since_us.is_some_and(|since_us| since_us < options.outage_us);
    down && assignment.generator.engine == ENGINE && !desk.tape.is_calm()
}

fn fail(job: JobId, token: Token, class: FailureClass) -> Command {
    Command::Fail {
        job,
        token,
        class,
        message: "the engine gave up".into(),
        retry_after_ms: None,
    }
}

/// A number that belongs to the input: some inputs are poison for every worker.
fn input(assignment: &Assignment) -> u64 {
    assignment.subject.0[..6]
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

fn is_lethal(assignment: &Assignment, options: &WorkerOptions) -> bool {
    let poison = u64::from(options.poison_ppm);
    let input = input(assignment) % 1_000_000;
    (poison..poison + poison / 2).contains(&input)
}

/// Inputs that fail again and again, and never for good.
fn is_hopeless(assignment: &Assignment, options: &WorkerOptions) -> bool {
    let poison = u64::from(options.poison_ppm);
    let input = input(assignment) % 1_000_000;
    (poison + poison / 2..2 * poison).contains(&input)
}

fn forge(token: Token, roll: &mut Roll) -> Token {
    match roll.below(3) {
        0 => Token {
            position: token.position + 1,
            ..token
        },
        1 => Token {
            index: LogIndex(token.index.0 + roll.between(1, 50)),
            ..token
        },
        _ => Token {
            index: LogIndex(token.index.0.saturating_sub(roll.between(1, 50))),
            ..token
        },
    }
}

fn propose(command: Command) -> Request {
    Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command,
    }
}
