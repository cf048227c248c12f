//! How long a node's turns are while it takes a snapshot and goes on working,
//! with few and with many jobs, and what the commands cost meanwhile.
//!
//! `cargo run --release -p precentor-core --example snapshot_pause`
//!
//! Time on a processor: what others on the machine take does not count. Beside
//! the longest turn stands the one that 999 of 1,000 stay below.

use std::time::Duration;

use precentor_core::action::Action;
use precentor_core::bytes::Bytes;
use precentor_core::command::{Command, Entry, Outcome};
use precentor_core::config::Config;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::driver::{Driver, Host, Recovered};
use precentor_core::event::{Event, Now, Order};
use precentor_core::ids::{
    ClusterId, FinishNumber, LogIndex, NodeId, RequestId, Sequence, SessionId, Term, Ticket,
    WorkerId, WorkerIncarnation, WriteId,
};
use precentor_core::job::{Assignment, Class, Generator, JobSpec, WorkerSpec};
use precentor_core::principal::Principal;
use precentor_core::queue::QueueManager;
use precentor_core::request::{Poll, Reply, Request};
use precentor_core::time::{Span, Time};

const WORKERS: u64 = 64;
const SLOTS: u32 = 16;
const PART_BYTES: u64 = 256 * 1024;

/// What a turn asked of its host.
#[derive(Default)]
struct Desk {
    written: Option<WriteId>,
    answers: Vec<(Ticket, Reply)>,
    image_bytes: u64,
    parts: u64,
    done: bool,
}

impl Host for Desk {
    fn perform(&mut self, action: Action) {
        match action {
            Action::Write(write) => self.written = Some(write.id),
            Action::Answer { ticket, reply } => self.answers.push((ticket, reply)),
            Action::SaveSnapshot(part) => {
                self.image_bytes = part.offset + part.bytes.count();
                self.parts += 1;
                self.done = part.last;
            }
            _ => {}
        }
    }
}

/// A lone voter: every turn is its own work, none is a message's.
struct Bench {
    driver: Driver,
    time: Time,
    desk: Desk,
    session: SessionId,
    sequence: u64,
    tickets: u64,
    turns: Vec<Duration>,
    held: Vec<Assignment>,
}

impl Bench {
    fn new() -> Bench {
        let mut config = Config::new(ClusterId([1; 16]), NodeId(1), vec![NodeId(1)], 1);
        // Only when it is ordered.
        config.knobs.snapshot_every_bytes = 1 << 36;
        config.knobs.reattach_ms = 0;
        let driver = Driver::recover(config, Recovered::default(), Now::default());
        let mut bench = Bench {
            driver: driver.expect("an empty disk is a good one"),
            time: Time(0),
            desk: Desk::default(),
            session: SessionId(0),
            sequence: 0,
            tickets: 0,
            turns: Vec::new(),
            held: Vec::new(),
        };
        bench.time = Time(1_000_000);
        while bench.session == SessionId(0) {
            bench.time = bench.time + Span::from_ms(1_000);
            bench.turn(Vec::new());
            bench.propose(Command::OpenSession);
            for (_, reply) in bench.settle() {
                if let Reply::Applied {
                    outcome: Outcome::SessionOpened(session),
                    ..
                } = reply
                {
                    bench.session = session;
                }
            }
        }
        for worker in 1..=WORKERS {
            bench.propose(Command::Register {
                worker: WorkerSpec {
                    worker: WorkerId(worker),
                    incarnation: WorkerIncarnation(1),
                    slots: SLOTS,
                    engines: vec!["outline".into()],
                },
            });
        }
        bench.settle();
        bench
    }

    fn turn(&mut self, events: Vec<Event>) {
        let now = Now {
            time: self.time,
            wall_ms: 0,
        };
        let start = cpu();
        self.driver.turn(now, events, &mut self.desk);
        self.turns.push(cpu() - start);
    }

    /// Turns until the disk has nothing more to say.
    fn settle(&mut self) -> Vec<(Ticket, Reply)> {
        while let Some(write) = self.desk.written.take() {
            self.turn(vec![Event::Durable { write }]);
        }
        std::mem::take(&mut self.desk.answers)
    }

    fn client(&mut self, request: Request) -> Event {
        self.tickets += 1;
        Event::Client {
            ticket: Ticket(self.tickets),
            principal: Principal("bench".into()),
            request,
        }
    }

    fn propose(&mut self, command: Command) {
        let request = matches!(command, Command::Submit { .. }).then(|| {
            self.sequence += 1;
            RequestId {
                session: self.session,
                sequence: Sequence(self.sequence),
            }
        });
        let event = self.client(Request::Propose {
            request,
            acknowledged: Sequence(self.sequence),
            command,
        });
        self.turn(vec![event]);
    }

    /// A round of the workers: results of all that they hold, and polls for more.
    fn work(&mut self) {
        let body = Bytes::from(&[7; 256][..]);
        let result = Digest::of(&body);
        for assignment in std::mem::take(&mut self.held) {
            self.propose(Command::Complete {
                job: assignment.job,
                token: assignment.token,
                result,
                body: body.clone(),
            });
        }
        let mut answers = self.settle();
        for worker in 1..=WORKERS {
            let poll = self.client(Request::Poll(Poll {
                worker: WorkerId(worker),
                incarnation: WorkerIncarnation(1),
                slots_free: SLOTS,
                together_max: 1,
                held: Vec::new(),
            }));
            self.turn(vec![poll]);
        }
        // Batches linger for a moment.
        for _ in 0..3 {
            answers.extend(self.settle());
            self.time = self.time + Span::from_ms(10);
            self.turn(Vec::new());
        }
        answers.extend(self.settle());
        for (_, reply) in answers {
            if let Reply::Work(work) = reply {
                self.held.extend(work.assignments);
            }
        }
    }

    fn submit(&mut self, from: u64, count: u64) {
        let items = (from..from + count).map(spec).collect();
        self.propose(Command::Submit { items });
        self.settle();
    }

    fn report(&mut self, what: &str) {
        let mut turns = std::mem::take(&mut self.turns);
        turns.sort_unstable();
        let total: Duration = turns.iter().sum();
        let (Some(longest), count) = (turns.last(), turns.len()) else {
            return;
        };
        println!(
            "  {what:<34} {count:>7} turns, mean {:>5} us, p99.9 {:>6} us, longest {:>6} us",
            total.as_micros() / count as u128,
            turns[(count - 1) * 999 / 1_000].as_micros(),
            longest.as_micros()
        );
    }
}

fn spec(number: u64) -> JobSpec {
    JobSpec {
        address: format!("ucxl://bench/src/module{}/file{number}.rs", number / 50)
            .parse()
            .expect("it is an address"),
        kind: ContextKind::File,
        subject: Digest::of(&number.to_le_bytes()),
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "team".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    }
}

/// Newer inputs for jobs that wait: each takes the place of an older job, so
/// rows of three tables change and one goes.
struct Churn {
    index: LogIndex,
    next: u64,
    jobs: u64,
    commands: u64,
    took: Duration,
}

impl Churn {
    const ITEMS: u64 = 100;

    fn of(queue: &QueueManager, jobs: u64) -> Churn {
        Churn {
            index: queue.applied(),
            next: 0,
            jobs,
            commands: 0,
            took: Duration::ZERO,
        }
    }

    fn change(&mut self, queue: &mut QueueManager) {
        self.index = self.index.next();
        let items = (0..Churn::ITEMS).map(|_| {
            self.next += 1;
            // All over the table, in an order that is no order.
            let mut item = spec(self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.jobs);
            item.subject = Digest::of(&(u64::MAX - self.next).to_le_bytes());
            item
        });
        let entry = Entry {
            t: queue.now(),
            wall_ms: 0,
            principal: Principal("bench".into()),
            request: None,
            acknowledged: Sequence(0),
            command: Command::Submit {
                items: items.collect(),
            },
        };
        let start = cpu();
        queue.apply(self.index, Term(1_000), entry);
        self.took += cpu() - start;
        self.commands += 1;
    }

    /// The mean since this was asked last.
    fn nanos_a_job(&mut self) -> u128 {
        let jobs = u128::from(std::mem::take(&mut self.commands) * Churn::ITEMS);
        std::mem::take(&mut self.took).as_nanos() / jobs.max(1)
    }
}

/// What this thread has had of a processor.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanos = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    Duration::from_nanos(nanos)
}

fn micros(what: impl FnOnce()) -> u128 {
    let start = cpu();
    what();
    (cpu() - start).as_micros()
}

fn main() {
    for jobs in [1_000u64, 100_000, 1_000_000 - 40_000] {
        let mut bench = Bench::new();
        for from in (0..jobs).step_by(1_000) {
            bench.submit(from, 1_000);
        }
        println!("{jobs} jobs");
        bench.report("submits of 1,000");
        let rounds = if jobs > 10_000 { 10 } else { 1 };
        bench.work();
        bench.turns.clear();
        for _ in 0..rounds {
            bench.work();
        }
        bench.report("work, no snapshot");

        // Nothing else: how long a part takes.
        bench.turn(vec![Event::Order(Order::Snapshot)]);
        bench.report("begin of a snapshot");
        let start = bench.time;
        while !bench.desk.done {
            let due = bench.driver.deadline().expect("it does not halt");
            bench.time = bench.time.max(due);
            bench.turn(Vec::new());
        }
        let parts = bench.desk.parts;
        println!(
            "  an image of {} KiB in {parts} parts, {} ms with the pauses between them",
            bench.desk.image_bytes / 1_024,
            bench.time.since(start).as_ms()
                + bench.turns.iter().sum::<Duration>().as_millis() as u64
        );
        bench.report("parts alone");
        let index = bench.driver.view().applied();
        bench.turn(vec![Event::SnapshotSaved { index }]);
        bench.settle();

        // With all the work that the workers give.
        bench.turns.clear();
        bench.turn(vec![Event::Order(Order::Snapshot)]);
        (bench.desk.done, bench.desk.parts) = (false, 0);
        let mut more = jobs;
        while !bench.desk.done {
            bench.work();
            bench.submit(more, 1);
            more += 1;
        }
        bench.report("work while a snapshot is taken");

        // The image alone, with many changes between its parts.
        let mut queue = bench.driver.view().queue().clone();
        let mut churn = Churn::of(&queue, jobs);
        for _ in 0..100 {
            churn.change(&mut queue);
        }
        let before = churn.nanos_a_job();
        let begin = micros(|| {
            queue.begin_image();
        });
        let (mut longest, mut kept, mut total) = (0, 0, 0);
        while queue.is_imaging() {
            let mut part = None;
            let took = micros(|| part = Some(queue.image_part(PART_BYTES)));
            let part = part.expect("it was just taken");
            (longest, total) = (took.max(longest), total + took);
            kept = part.kept_count.max(kept);
            churn.change(&mut queue);
        }
        println!(
            "  begin {begin} us, longest part {longest} us, all parts {} ms; at most {kept} rows \
             kept aside; a newer input for a job costs {before} ns, and {} ns meanwhile",
            total / 1_000,
            churn.nanos_a_job()
        );

        let view = bench.driver.view();
        println!(
            "  status {} us, state hash {} us, counts {} us, feed of 1,024 {} us",
            micros(|| drop(std::hint::black_box(view.status()))),
            micros(|| {
                std::hint::black_box(view.state_hash());
            }),
            micros(|| {
                std::hint::black_box(view.queue().counts());
            }),
            micros(|| {
                std::hint::black_box(view.queue().finished_after(FinishNumber(0), 1_024));
            }),
        );
    }
}
