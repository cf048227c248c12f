//! The seats against a model that is slow and plain: it looks at every queue for
//! every job, remembers every pass, and counts in 512ths of a turn of weight 1.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::command::{Claim, ClaimRule, Command, Outcome};
use crate::ids::{JobId, WorkerId};
use crate::job::Class;
use crate::limits::CLASS_WEIGHTS;

use super::super::room::Room as Left;
use super::super::tests::Room;
use super::{STALE_SEATS_MAX, Stride};

const TENANTS: [&str; 3] = ["a", "b", "c"];
const ENGINES: [&str; 2] = ["outline", "summary"];

/// Class, tenant, engine.
type Name = (usize, usize, usize);

fn weight(name: Name) -> u64 {
    [512, 64, 8, 1][name.0]
}

/// A random step.
#[derive(Clone, Debug)]
enum Act {
    /// So many jobs for a queue.
    Submit(Name, u32),
    /// A round, with so many free slots for each engine, after which the claims
    /// are applied, or refused, or still under way.
    Round([u64; 2], After),
    /// A job is not wanted from this queue any more.
    Drop(usize),
    /// A job of the queue becomes as urgent as can be.
    Raise(usize),
}

#[derive(Clone, Copy, Debug)]
enum After {
    Done,
    Retried,
    Refused,
    UnderWay,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = (0..4usize, 0..3usize, 0..2usize);
    let after = prop::sample::select(vec![
        After::Done,
        After::Done,
        After::Done,
        After::Retried,
        After::Refused,
        After::UnderWay,
    ]);
    let slots = prop_oneof![1 => Just(0u64), 3 => 1..4u64, 1 => 4..40u64];
    let act = prop_oneof![
        3 => (name, 1..12u32).prop_map(|(name, count)| Act::Submit(name, count)),
        8 => ([slots.clone(), slots], after).prop_map(|(slots, after)| Act::Round(slots, after)),
        1 => any::<usize>().prop_map(Act::Drop),
        1 => any::<usize>().prop_map(Act::Raise),
    ];
    prop::collection::vec(act, 1..60)
}

/// What should come.
#[derive(Debug, Default)]
struct Model {
    jobs: BTreeMap<Name, BTreeSet<u64>>,
    under_way: BTreeSet<u64>,
    passes: BTreeMap<Name, u64>,
    clock: u64,
    /// How often a queue that could have been served was passed over for
    /// another one since its own last turn.
    passed: BTreeMap<(Name, Name), u64>,
}

impl Model {
    fn free(&self, name: Name) -> Vec<u64> {
        let jobs = self.jobs.get(&name).into_iter().flatten();
        jobs.filter(|job| !self.under_way.contains(job))
            .copied()
            .collect()
    }

    fn names(&self) -> Vec<Name> {
        self.jobs.keys().copied().collect()
    }

    fn round(&mut self, mut slots: [u64; 2]) -> Vec<u64> {
        if slots == [0, 0] {
            // No worker, no round.
            return Vec::new();
        }
        for name in self.names() {
            if !self.free(name).is_empty() {
                let fresh = self.clock + 512 / weight(name);
                self.passes.entry(name).or_insert(fresh);
            } else {
                self.passed.retain(|(passed, _), _| *passed != name);
            }
        }
        let start = self.clock;
        let mut given = Vec::new();
        loop {
            let open = |(name, _): &(&Name, &u64)| slots[name.2] > 0;
            let seats = self.passes.iter().filter(open);
            let first = seats
                .map(|(name, pass)| ((*pass).max(start), *pass, *name))
                .min();
            let Some((turn, _, name)) = first else {
                return given;
            };
            let Some(job) = self.free(name).first().copied() else {
                self.passes.remove(&name);
                continue;
            };
            self.count_passed(name, slots);
            self.clock = turn;
            slots[name.2] -= 1;
            self.under_way.insert(job);
            given.push(job);
            if self.free(name).is_empty() {
                self.passes.remove(&name);
            } else {
                self.passes.insert(name, turn + 512 / weight(name));
            }
        }
    }

    /// The wait bound (decision 16), for each two queues.
    fn count_passed(&mut self, served: Name, slots: [u64; 2]) {
        for other in self.names() {
            if other == served || slots[other.2] == 0 || self.free(other).is_empty() {
                continue;
            }
            let count = self.passed.entry((other, served)).or_default();
            *count += 1;
            assert!(
                *count <= 1 + weight(served) / weight(other),
                "{other:?} was passed over {count} times for {served:?}"
            );
        }
        self.passed.retain(|(passed, _), _| *passed != served);
    }
}

struct Pair {
    room: Room,
    stride: Stride,
    under_way: BTreeMap<JobId, WorkerId>,
    model: Model,
    submitted: u32,
    /// The last number that an item got, whether it became a job or not.
    accepted: u64,
    /// Which name each job's address has.
    names: BTreeMap<u64, u32>,
}

impl Pair {
    fn new() -> Pair {
        let mut room = Room::new();
        room.register(1, 1, 64, &ENGINES);
        Pair {
            room,
            stride: Stride::default(),
            under_way: BTreeMap::new(),
            model: Model::default(),
            submitted: 0,
            accepted: 0,
            names: BTreeMap::new(),
        }
    }

    fn claim(&mut self, job: u64) -> crate::ids::Token {
        let claims = vec![Claim {
            job: JobId(job),
            worker: WorkerId(1),
            rule: ClaimRule::OnlyFit,
        }];
        match self.room.apply(Command::Claim { claims }) {
            Outcome::Claimed(tokens) => tokens[0].expect("it is ready, and the worker is free"),
            other => panic!("{other:?}"),
        }
    }

    fn complete(&mut self, job: u64) {
        let token = self.claim(job);
        let body = crate::bytes::Bytes::from(b"x".as_slice());
        let outcome = self.room.apply(Command::Complete {
            job: JobId(job),
            token,
            result: crate::digest::Digest::of(&body),
            body,
        });
        assert_eq!(outcome, Outcome::Completed);
        for jobs in self.model.jobs.values_mut() {
            jobs.remove(&job);
        }
    }

    fn take(&mut self, act: Act) {
        match act {
            Act::Submit(name, count) => {
                let from = self.submitted;
                self.submitted += count;
                let (class, tenant, engine) =
                    (Class::ALL[name.0], TENANTS[name.1], ENGINES[name.2]);
                self.room
                    .submit_for(tenant, class, engine, from..self.submitted);
                for number in from..self.submitted {
                    self.accepted += 1;
                    let job = self.accepted;
                    self.names.insert(job, number);
                    self.model.jobs.entry(name).or_default().insert(job);
                }
            }
            Act::Round(slots, after) => self.round(slots, after),
            Act::Drop(number) => {
                if let Some((_, job)) = self.some(number) {
                    self.complete(job);
                }
            }
            Act::Raise(number) => {
                let Some((name, job)) = self.some(number) else {
                    return;
                };
                let number = self.names[&job];
                self.room.attach(TENANTS[name.1], ENGINES[name.2], number);
                self.accepted += 1;
                self.model.jobs.get_mut(&name).unwrap().remove(&job);
                let urgent = (0, name.1, name.2);
                self.model.jobs.entry(urgent).or_default().insert(job);
            }
        }
    }

    fn some(&self, number: usize) -> Option<(Name, u64)> {
        let names = self.model.names().into_iter();
        let free: Vec<_> = names
            .flat_map(|name| {
                self.model
                    .free(name)
                    .into_iter()
                    .map(move |job| (name, job))
            })
            .collect();
        (!free.is_empty()).then(|| free[number % free.len()])
    }

    fn round(&mut self, slots: [u64; 2], after: After) {
        let expected = self.model.round(slots);
        let mut left = slots;
        let mut given = Vec::new();
        let index = |engine: &str| ENGINES.iter().position(|known| *known == engine).unwrap();
        let offered: BTreeSet<&str> = ENGINES
            .into_iter()
            .filter(|engine| slots[index(engine)] > 0)
            .collect();
        if !offered.is_empty() {
            let queue = &self.room.queue;
            let room = Left::without(queue);
            let mut round = self.stride.round(queue, &offered, &self.under_way);
            while let Some(job) =
                round.next(|engine| left[index(engine)] > 0, &room, &self.under_way)
            {
                left[index(queue.engine_of(job).unwrap())] -= 1;
                self.under_way.insert(job, WorkerId(1));
                given.push(job.0);
                round.served(&room, &self.under_way);
            }
            round.end();
        }
        assert_eq!(given, expected, "of {slots:?} slots {left:?} are left");
        let settled: Vec<u64> = match after {
            After::UnderWay => Vec::new(),
            After::Refused => given,
            // What was under way before is settled now, too.
            After::Done | After::Retried => self.under_way.keys().map(|job| job.0).collect(),
        };
        for job in settled {
            self.under_way.remove(&JobId(job));
            self.model.under_way.remove(&job);
            match after {
                After::UnderWay | After::Refused => {}
                After::Done => self.complete(job),
                After::Retried => {
                    let token = self.claim(job);
                    let job = JobId(job);
                    let outcome = self.room.apply(Command::Release { job, token });
                    assert_eq!(outcome, Outcome::Released);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_seats_give_what_the_slow_model_gives(acts in acts()) {
        let mut pair = Pair::new();
        for act in acts {
            pair.take(act);
        }
    }
}

#[test]
fn the_model_and_the_queue_weigh_alike() {
    assert_eq!(
        [0, 1, 2, 3].map(|class| weight((class, 0, 0))),
        CLASS_WEIGHTS
    );
}

#[test]
fn nothing_is_kept_of_a_queue_without_jobs() {
    let mut pair = Pair::new();
    for tenant in 0..3 {
        pair.take(Act::Submit((3, tenant, 0), 2));
        pair.take(Act::Round([2, 0], After::Done));
    }
    pair.take(Act::Round([1, 1], After::Done));
    let Stride {
        shapes,
        seated,
        spent,
        ..
    } = &pair.stride;
    assert!(shapes.is_empty() && seated.is_empty() && spent.is_empty());
}

#[test]
fn seats_of_queues_that_were_emptied_without_a_turn_do_not_pile_up() {
    let mut pair = Pair::new();
    // It waits all along, and keeps its seat.
    pair.take(Act::Submit((1, 0, 1), 1));
    let offered = BTreeSet::from([ENGINES[0]]);
    let mut seats_max = 0;
    for number in 0..STALE_SEATS_MAX as u32 + 100 {
        // Nobody offers its shape, and a result comes from elsewhere.
        let tenant = format!("tenant {number}");
        let name = 1 + number;
        pair.room
            .submit_for(&tenant, Class::Normal, ENGINES[1], name..name + 1);
        let round = pair
            .stride
            .round(&pair.room.queue, &offered, &pair.under_way);
        round.end();
        pair.complete(2 + u64::from(number));
        seats_max = seats_max.max(pair.stride.seated.len());
    }
    assert_eq!(seats_max, STALE_SEATS_MAX + 4, "twice two queues, and more");
    assert!(pair.stride.seated.len() < 100, "{:?}", pair.stride.seated);
    let seats = &pair.stride.shapes[ENGINES[1]].seats;
    assert_eq!(seats.len(), pair.stride.seated.len());
    assert!(pair.stride.seated.iter().any(|key| &*key.tenant == "a"));
}

#[test]
fn a_stream_of_new_tenants_does_not_hold_up_one_that_waits() {
    let mut room = Room::new();
    room.submit_for("waits", Class::Normal, "outline", 0..9);
    let (mut stride, mut under_way) = (Stride::default(), BTreeMap::new());
    let offered = BTreeSet::from(["outline"]);
    let mut turns = Vec::new();
    for number in 0..18 {
        // One for every other slot, each from somebody who was never seen before.
        if number % 2 == 0 {
            let tenant = format!("new {number}");
            let names = 100 + number..101 + number;
            room.submit_for(&tenant, Class::Normal, "outline", names);
        }
        let mut round = stride.round(&room.queue, &offered, &under_way);
        let left = Left::without(&room.queue);
        let job = round.next(|_| true, &left, &under_way).unwrap();
        under_way.insert(job, WorkerId(1));
        round.served(&left, &under_way);
        round.end();
        turns.push(job.0 <= 9);
    }
    assert_eq!(turns.iter().filter(|own| **own).count(), 9, "{turns:?}");
}

#[test]
fn a_shape_that_comes_back_makes_up_for_nothing() {
    let mut pair = Pair::new();
    pair.take(Act::Submit((1, 0, 0), 40));
    pair.take(Act::Submit((1, 1, 1), 40));
    // Nobody offers the second engine for twenty turns; then one worker offers both.
    for _ in 0..20 {
        pair.take(Act::Round([1, 0], After::Done));
    }
    let offered = BTreeSet::from(ENGINES);
    let queue = &pair.room.queue;
    let mut round = pair.stride.round(queue, &offered, &pair.under_way);
    let mut engines = Vec::new();
    for _ in 0..6 {
        let left = Left::without(queue);
        let job = round.next(|_| true, &left, &pair.under_way).unwrap();
        engines.push(queue.engine_of(job).unwrap());
        pair.under_way.insert(job, WorkerId(1));
        round.served(&left, &pair.under_way);
    }
    let [a, b] = ENGINES;
    assert_eq!(engines, [b, a, b, a, b, a]);
}
