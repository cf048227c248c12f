//! The matchmaker's rules as claims: a queue, three workers, and a clock.

mod batches;
mod limits;

use crate::address::Address;
use crate::command::*;
use crate::config::Knobs;
use crate::context::ContextKind;
use crate::digest::Digest;
use crate::ids::*;
use crate::job::*;
use crate::principal::Principal;
use crate::queue::QueueManager;
use crate::request::{Poll, Work};
use crate::time::{Stamp, Time};

use super::GenerationCoordinator;

pub(super) struct Room {
    pub(super) queue: QueueManager,
    coordinator: GenerationCoordinator,
    index: u64,
    now: Time,
    tickets: u64,
    /// How many jobs each worker runs together.
    together: u32,
}

impl Room {
    pub(super) fn new() -> Room {
        let knobs = Knobs::default();
        let mut room = Room {
            queue: QueueManager::new(knobs.rules()),
            coordinator: GenerationCoordinator::new(&knobs),
            index: 0,
            now: Time(0),
            tickets: 0,
            together: 1,
        };
        room.take_over();
        room
    }

    fn take_over(&mut self) {
        let _ = self.coordinator.on_step_down();
        self.coordinator.on_takeover(self.now, Term(1), &self.queue);
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now.0 += ms * 1_000;
    }

    pub(super) fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        self.coordinator.on_settled(&command);
        let entry = Entry {
            t: Stamp(self.now.0 / 1_000),
            wall_ms: 0,
            principal: Principal::cluster(),
            request: None,
            acknowledged: Sequence(0),
            command,
        };
        let applied = self.queue.apply(LogIndex(self.index), Term(1), entry);
        self.queue.check();
        applied.outcome
    }

    pub(super) fn register(&mut self, worker: u64, incarnation: u64, slots: u32, engines: &[&str]) {
        let outcome = self.apply(Command::Register {
            worker: WorkerSpec {
                worker: WorkerId(worker),
                incarnation: WorkerIncarnation(incarnation),
                slots,
                engines: engines.iter().map(|name| (*name).to_owned()).collect(),
            },
        });
        assert_eq!(outcome, Outcome::Registered);
    }

    fn spec(&self, tenant: &str, class: Class, engine: &str, name: u32) -> JobSpec {
        JobSpec {
            address: format!("ucxl://p/{name}").parse::<Address>().unwrap(),
            kind: ContextKind::File,
            subject: Digest::ZERO,
            generator: Generator {
                engine: engine.into(),
                version: 1,
                parameters: Digest::ZERO,
            },
            class,
            tenant: tenant.into(),
            dependencies: Vec::new(),
            delay_ms: 0,
        }
    }

    fn submit(&mut self, engine: &str, names: std::ops::Range<u32>) {
        self.submit_for("team", Class::Normal, engine, names);
    }

    pub(super) fn submit_for(
        &mut self,
        tenant: &str,
        class: Class,
        engine: &str,
        names: std::ops::Range<u32>,
    ) {
        let items = names.map(|name| self.spec(tenant, class, engine, name));
        let items = items.collect();
        assert!(matches!(
            self.apply(Command::Submit { items }),
            Outcome::Submitted(_)
        ));
    }

    /// One more, and more urgent, request for what was submitted.
    pub(super) fn attach(&mut self, tenant: &str, engine: &str, name: u32) {
        self.submit_for(tenant, Class::Urgent, engine, name..name + 1);
    }

    fn poll(&mut self, worker: u64, slots_free: u32, held: &[Token]) -> Vec<(Ticket, Work)> {
        self.poll_as(worker, 1, slots_free, held)
    }

    fn poll_as(
        &mut self,
        worker: u64,
        incarnation: u64,
        slots_free: u32,
        held: &[Token],
    ) -> Vec<(Ticket, Work)> {
        self.tickets += 1;
        let poll = Poll {
            worker: WorkerId(worker),
            incarnation: WorkerIncarnation(incarnation),
            slots_free,
            together_max: self.together,
            held: held.to_vec(),
        };
        self.coordinator
            .on_poll(self.now, Ticket(self.tickets), poll, &self.queue)
    }

    fn propose(&mut self) -> Vec<Command> {
        self.coordinator.propose(self.now, &self.queue)
    }

    fn claims(&mut self) -> Vec<(u64, u64, ClaimRule)> {
        let commands = self.propose();
        commands
            .iter()
            .flat_map(|command| match command {
                Command::Claim { claims } => claims.clone(),
                Command::ClaimFrom { claims } | Command::ClaimTogether { claims, .. } => {
                    claims.iter().map(|weighed| weighed.claim).collect()
                }
                other => panic!("not a claim: {other:?}"),
            })
            .map(|claim| (claim.job.0, claim.worker.0, claim.rule))
            .collect()
    }

    fn answers(&mut self) -> Vec<(Ticket, Work)> {
        self.coordinator.on_applied(self.now, &self.queue)
    }

    /// One job of one worker, claimed and handed over.
    fn run_one(&mut self) -> Token {
        self.register(1, 1, 1, &["outline"]);
        self.submit("outline", 0..1);
        assert_eq!(self.poll(1, 1, &[]), []);
        for command in self.propose() {
            self.apply(command);
        }
        let answers = self.answers();
        answers[0].1.assignments[0].token
    }
}

#[test]
fn a_poll_is_answered_when_its_claim_is_applied_and_not_before() {
    let mut room = Room::new();
    room.register(1, 1, 2, &["outline"]);
    room.submit("outline", 0..1);
    assert_eq!(room.poll(1, 2, &[]), [], "no claim is applied");
    let commands = room.propose();
    assert_eq!(commands.len(), 1);
    assert_eq!(room.answers(), [], "proposed is not applied");
    assert_eq!(room.propose(), [], "and it is not proposed twice");
    room.apply(commands[0].clone());
    let answers = room.answers();
    assert_eq!(answers.len(), 1);
    let (ticket, work) = &answers[0];
    assert_eq!((*ticket, work.term), (Ticket(1), Term(1)));
    assert_eq!(work.assignments.len(), 1);
    assert_eq!(work.lease_ms, 15_000);
    // The answer was lost: the next poll gets the same assignment again.
    let again = room.poll(1, 2, &[]);
    assert_eq!(again[0].1.assignments, work.assignments);
    let token = work.assignments[0].token;
    assert_eq!(room.poll(1, 1, &[token]), [], "it knows of it now");
}

#[test]
fn a_claim_that_was_refused_can_be_proposed_again() {
    let mut room = Room::new();
    room.register(1, 1, 1, &["outline"]);
    room.submit("outline", 0..1);
    room.poll(1, 1, &[]);
    let commands = room.propose();
    room.coordinator.on_settled(&commands[0]);
    assert_eq!(room.propose(), commands);
}

#[test]
fn nobody_gets_more_than_its_free_slots_and_nothing_it_does_not_offer() {
    let mut room = Room::new();
    room.register(1, 1, 8, &["outline"]);
    room.register(2, 1, 2, &["summary"]);
    room.submit("outline", 0..5);
    room.submit("summary", 10..15);
    room.submit("unknown", 20..25);
    room.poll(1, 3, &[]);
    room.poll(2, 8, &[]);
    let claims = room.claims();
    let of = |worker| claims.iter().filter(|claim| claim.1 == worker).count();
    assert_eq!((of(1), of(2)), (3, 2), "free slots, and slots");
    assert_eq!(room.claims(), [], "until something is applied");
}

#[test]
fn jobs_go_to_the_least_loaded_worker_and_the_rule_says_so() {
    let mut room = Room::new();
    room.register(1, 1, 2, &["outline"]);
    room.register(2, 1, 4, &["outline"]);
    room.submit("outline", 0..3);
    room.poll(1, 2, &[]);
    room.poll(2, 4, &[]);
    assert_eq!(
        room.claims(),
        [
            (1, 1, ClaimRule::LeastRecentlyUsed),
            (2, 2, ClaimRule::LeastLoaded),
            (3, 2, ClaimRule::LeastLoaded),
        ]
    );
}

#[test]
fn an_entry_holds_a_bounded_number_of_claims() {
    let mut room = Room::new();
    for worker in 1..=3 {
        room.register(worker, 1, 64, &["outline"]);
    }
    room.submit("outline", 0..150);
    for worker in 1..=3 {
        room.poll(worker, 64, &[]);
    }
    let sizes: Vec<usize> = room
        .propose()
        .iter()
        .map(|command| match command {
            Command::Claim { claims } => claims.len(),
            other => panic!("not a claim: {other:?}"),
        })
        .collect();
    assert_eq!(sizes, [64, 64, 22]);
}

#[test]
fn a_held_poll_is_answered_empty_after_its_time_or_by_a_newer_one() {
    let mut room = Room::new();
    room.register(1, 1, 1, &["outline"]);
    room.poll(1, 1, &[]);
    let answers = room.poll(1, 1, &[]);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, Ticket(1), "the older one");
    assert!(answers[0].1.assignments.is_empty() && !answers[0].1.unknown);
    assert_eq!(room.coordinator.deadline(), Some(Time(1_000_000)));
    room.wait_ms(999);
    assert_eq!(room.answers(), []);
    room.wait_ms(1);
    assert_eq!(room.answers()[0].0, Ticket(2));
    assert_eq!(room.coordinator.deadline(), Some(Time(15_000_000)));
}

#[test]
fn an_unknown_worker_and_an_old_life_are_told_to_register() {
    let mut room = Room::new();
    let token = room.run_one();
    let answer = room.poll(9, 1, &[token]).remove(0).1;
    assert!(answer.unknown);
    assert_eq!(answer.revoked, [token]);
    room.poll(1, 0, &[token]);
    room.register(1, 2, 1, &["outline"]);
    let answers = room.answers();
    assert_eq!(answers.len(), 1, "the held poll is of an old life now");
    assert!(answers[0].1.unknown);
    assert!(room.poll(1, 0, &[token])[0].1.unknown);
    let answer = room.poll_as(1, 2, 0, &[token]).remove(0).1;
    assert!(!answer.unknown);
    assert_eq!(answer.revoked, [token], "its former life's");
}

#[test]
fn a_silent_worker_loses_its_leases_after_a_full_term_and_not_before() {
    let mut room = Room::new();
    let token = room.run_one();
    room.wait_ms(14_999);
    assert_eq!(room.propose(), []);
    assert_eq!(room.coordinator.deadline(), Some(Time(15_000_000)));
    room.wait_ms(1);
    let expire = Command::Expire {
        leases: vec![ExpiredLease {
            job: JobId(1),
            token,
        }],
    };
    assert_eq!(room.propose(), std::slice::from_ref(&expire));
    assert_eq!(room.apply(expire), Outcome::Expired { count: 1 });
    room.wait_ms(1_000);
    assert_eq!(room.propose(), [], "it holds nothing, and is forgotten");
    assert_eq!(room.coordinator.deadline(), None);
}

#[test]
fn a_poll_renews_what_is_held() {
    let mut room = Room::new();
    let token = room.run_one();
    for _ in 0..5 {
        room.wait_ms(10_000);
        room.answers();
        room.poll(1, 0, &[token]);
        assert_eq!(room.propose(), []);
    }
}

#[test]
fn a_new_leader_gives_every_lease_a_full_term_and_the_reattach_window() {
    let mut room = Room::new();
    room.run_one();
    room.wait_ms(14_000);
    room.take_over();
    room.wait_ms(16_999);
    assert_eq!(room.propose(), []);
    room.wait_ms(1);
    assert!(matches!(room.propose()[..], [Command::Expire { .. }]));
}

#[test]
fn nothing_is_given_out_while_workers_are_expected_back() {
    let mut room = Room::new();
    let token = room.run_one();
    room.submit("outline", 10..11);
    room.register(2, 1, 1, &["outline"]);
    room.take_over();
    room.poll(2, 1, &[]);
    assert!(room.coordinator.is_reattaching(room.now));
    assert_eq!(room.propose(), []);
    assert_eq!(room.coordinator.deadline(), Some(Time(1_000_000)));
    let mut other = Room {
        queue: room.queue.clone(),
        coordinator: room.coordinator.clone(),
        ..Room::new()
    };
    other.poll(1, 0, &[token]);
    assert!(!other.coordinator.is_reattaching(other.now), "all are back");
    assert_eq!(other.claims().len(), 1);
    room.wait_ms(2_000);
    room.answers();
    room.poll(2, 1, &[]);
    assert_eq!(room.claims().len(), 1, "the window is over");
}

#[test]
fn the_leader_s_own_standstill_is_not_the_workers_silence() {
    let mut room = Room::new();
    room.run_one();
    room.wait_ms(20_000);
    room.coordinator.on_stalled(room.now);
    assert_eq!(room.propose(), []);
    room.wait_ms(15_000);
    assert!(matches!(room.propose()[..], [Command::Expire { .. }]));
    // Nor are those late whom a new leader still expects back.
    let mut room = Room::new();
    room.run_one();
    room.take_over();
    room.wait_ms(60_000);
    room.coordinator.on_stalled(room.now);
    assert!(room.coordinator.is_reattaching(room.now));
    assert_eq!(room.propose(), []);
    // Whose poll is held is not silent, however late the loop is.
    let mut room = Room::new();
    let token = room.run_one();
    room.poll(1, 0, &[token]);
    room.wait_ms(60_000);
    assert_eq!(room.propose(), []);
}

#[test]
fn a_job_that_lost_two_workers_goes_to_another_one_if_there_is_one() {
    let mut room = Room::new();
    room.run_one();
    room.register(1, 2, 1, &["outline"]);
    room.answers();
    room.poll_as(1, 2, 1, &[]);
    for command in room.propose() {
        room.apply(command);
    }
    room.answers();
    room.register(1, 3, 1, &["outline"]);
    assert_eq!(room.queue.worker_to_avoid(JobId(1)), Some(WorkerId(1)));
    room.poll_as(1, 3, 1, &[]);
    let mut alone = Room {
        queue: room.queue.clone(),
        coordinator: room.coordinator.clone(),
        ..Room::new()
    };
    assert_eq!(
        alone.claims(),
        [(1, 1, ClaimRule::OnlyFit)],
        "no other is there"
    );
    room.register(2, 1, 1, &["outline"]);
    room.poll(2, 1, &[]);
    assert_eq!(room.claims(), [(1, 2, ClaimRule::OnlyFit)]);
}

#[test]
fn a_leader_that_steps_down_hands_its_polls_back() {
    let mut room = Room::new();
    room.register(1, 1, 1, &["outline"]);
    room.poll(1, 1, &[]);
    assert_eq!(room.coordinator.on_step_down(), [Ticket(1)]);
    assert_eq!(room.coordinator.deadline(), None);
    assert_eq!(room.answers(), []);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_expiry_at_takeover_takes_leases_of_living_workers() {
    let mut room = Room::new();
    room.run_one();
    room.coordinator
        .plant(crate::planted::Bug::ExpireAtTakeover);
    room.take_over();
    assert!(matches!(room.propose()[..], [Command::Expire { .. }]));
}

#[test]
fn classes_get_their_shares_and_tenants_of_a_class_take_turns() {
    let mut room = Room::new();
    room.register(1, 1, 64, &["outline"]);
    room.register(2, 1, 64, &["outline"]);
    room.submit_for("a", Class::Normal, "outline", 0..100);
    room.submit_for("b", Class::Normal, "outline", 100..110);
    room.submit_for("b", Class::Background, "outline", 110..130);
    room.poll(1, 64, &[]);
    room.poll(2, 64, &[]);
    let jobs: Vec<u64> = room.claims().iter().map(|claim| claim.0).collect();
    // b's first is the second of all, and the two take turns.
    assert_eq!(jobs[..4], [1, 101, 2, 102]);
    // Two queues of weight 64 before the first of weight 8, and alone later.
    let at = |job| jobs.iter().position(|given| *given == job).unwrap();
    assert_eq!((at(111), at(112)), (16, 27));
    assert_eq!(jobs.len(), 128, "as many as there are slots");
}

/// A room in which queues can be paused, with a worker that has many slots.
fn operated_room() -> Room {
    let mut room = Room::new();
    let to = crate::feature::FeatureLevel::QUEUE_OPERATED;
    assert_eq!(room.apply(Command::RaiseLevel { to }), Outcome::LevelRaised);
    room.register(1, 1, 64, &["outline", "summary"]);
    room
}

impl Room {
    fn pause(&mut self, scope: Scope) {
        let reason = String::new();
        self.apply(Command::Pause { scope, reason });
    }

    /// What so many free slots get, job by job.
    fn round(&mut self, slots_free: u32) -> Vec<u64> {
        let held = self.queue.leases_of(WorkerId(1));
        let held: Vec<Token> = held.map(|(token, _)| token).collect();
        self.poll(1, slots_free, &held);
        let commands = self.propose();
        let mut jobs = Vec::new();
        for command in commands {
            let Command::Claim { claims } = &command else {
                panic!("not a claim: {command:?}");
            };
            jobs.extend(claims.iter().map(|claim| claim.job.0));
            self.apply(command);
        }
        self.answers();
        jobs
    }
}

#[test]
fn nothing_paused_is_proposed_and_what_was_comes_when_it_is_resumed() {
    let (tenant, engine) = (Scope::Tenant("red".into()), Scope::Engine("summary".into()));
    for scope in [Scope::Cluster, tenant, engine] {
        let mut room = operated_room();
        room.submit_for("red", Class::Normal, "summary", 0..2);
        room.submit_for("blue", Class::Normal, "outline", 2..4);
        room.pause(scope.clone());
        let held = match scope {
            Scope::Cluster => vec![],
            _ => vec![3, 4],
        };
        assert_eq!(room.round(8), held, "{scope}");
        // New jobs of what is paused change nothing.
        room.submit_for("red", Class::Urgent, "summary", 4..5);
        assert_eq!(room.round(8), [], "{scope}");
        room.apply(Command::Resume { scope });
        let mut rest = room.round(8);
        rest.sort_unstable();
        let all: Vec<u64> = (1..=5).filter(|job| !held.contains(job)).collect();
        assert_eq!(rest, all);
    }
}

#[test]
fn a_long_pause_earns_no_turns() {
    let mut room = operated_room();
    room.submit_for("red", Class::Normal, "outline", 0..20);
    room.submit_for("blue", Class::Normal, "outline", 20..50);
    room.pause(Scope::Tenant("red".into()));
    let blue = room.round(20);
    assert!(blue.iter().all(|job| *job > 20), "{blue:?}");
    let scope = Scope::Tenant("red".into());
    room.apply(Command::Resume { scope });
    let both = room.round(8);
    let of_red = both.iter().filter(|job| **job <= 20).count();
    assert_eq!((both.len(), of_red), (8, 4), "they take turns: {both:?}");
}

#[test]
fn a_short_pause_costs_no_turn() {
    let mut room = operated_room();
    room.submit_for("blue", Class::Urgent, "outline", 0..20);
    room.submit_for("red", Class::Normal, "outline", 20..22);
    // A turn of the urgent ones, eight times as heavy, and it would be the other's.
    let before = room.round(8);
    assert!(before.iter().all(|job| *job <= 20), "{before:?}");
    let scope = Scope::Tenant("red".into());
    room.pause(scope.clone());
    assert_eq!(room.round(1), [9]);
    room.apply(Command::Resume { scope });
    assert_eq!(room.round(1), [21], "it waits for no other stride");
}

#[test]
fn a_drained_worker_is_passed_over_and_an_expelled_one_is_told_to_register() {
    let mut room = operated_room();
    room.register(2, 1, 1, &["outline"]);
    room.submit("outline", 0..2);
    room.pause(Scope::Worker(WorkerId(1)));
    assert_eq!(room.round(2), [], "it has slots, and gets nothing");
    assert_eq!(room.coordinator.asking_for("outline", &room.queue), 0);
    room.poll(2, 1, &[]);
    assert_eq!(room.coordinator.asking_for("outline", &room.queue), 1);
    assert_eq!(room.claims(), [(1, 2, ClaimRule::OnlyFit)]);
    let worker = WorkerId(1);
    room.apply(Command::Expel { worker });
    let told: Vec<Work> = room.answers().into_iter().map(|(_, work)| work).collect();
    assert_eq!(told.len(), 1, "the poll that was held");
    assert!(told[0].unknown);
}
