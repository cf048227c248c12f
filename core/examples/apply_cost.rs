//! What a command costs in `apply`, with few and with many jobs in the queue, before
//! waits are kept (level 1) and since (level 3, decision 17). What is submitted and
//! left are requests of a session, with all that keeps their replies.
//!
//! `cargo run --release -p precentor-core --example apply_cost`

use precentor_core::bytes::Bytes;
use precentor_core::command::{Claim, ClaimRule, Command, Entry, Outcome};
use precentor_core::config::Knobs;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{
    JobId, LogIndex, RequestId, Sequence, SessionId, Term, Token, WorkerId, WorkerIncarnation,
};
use precentor_core::job::{Class, Generator, JobSpec, WorkerSpec};
use precentor_core::principal::Principal;
use precentor_core::queue::QueueManager;
use precentor_core::time::Stamp;

/// Commands of each kind that are timed.
const TIMED_COUNT: u64 = 20_000;
/// The session of every request.
const SESSION: SessionId = SessionId(2);

struct Bench {
    queue: QueueManager,
    index: u64,
}

impl Bench {
    /// A queue at a level, with a session.
    fn at(level: FeatureLevel) -> Bench {
        let mut bench = Bench {
            queue: QueueManager::new(Knobs::default().rules()),
            index: 0,
        };
        if level > FeatureLevel::FOUNDING {
            bench.apply(Command::RaiseLevel { to: level });
        } else {
            bench.apply(Command::Tick);
        }
        let opened = bench.apply(Command::OpenSession);
        assert_eq!(opened, Outcome::SessionOpened(SESSION));
        bench
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let is_request = matches!(command, Command::Submit { .. } | Command::Leave { .. });
        let request = is_request.then_some(RequestId {
            session: SESSION,
            sequence: Sequence(self.index),
        });
        let entry = Entry {
            t: Stamp(self.index),
            wall_ms: 0,
            principal: Principal("bench".into()),
            request,
            acknowledged: Sequence(self.index),
            command,
        };
        self.queue
            .apply(LogIndex(self.index), Term(1), entry)
            .outcome
    }

    fn time(&mut self, what: &str, jobs_per_command: u64, commands: Vec<Command>) -> Vec<Outcome> {
        let count = commands.len() as u64;
        let start = cpu_nanos();
        let outcomes: Vec<Outcome> = commands
            .into_iter()
            .map(|command| self.apply(command))
            .collect();
        let nanos = cpu_nanos() - start;
        println!(
            "  {what:<28} {:>7} ns a command, {:>6} ns a job",
            nanos / count,
            nanos / count / jobs_per_command
        );
        outcomes
    }

    fn leave_all_that_is_ready(&mut self) {
        let ready = self.queue.ready();
        let jobs: Vec<JobId> = ready.take(TIMED_COUNT as usize / 2).collect();
        let (one, many) = jobs.split_at(jobs.len() / 2);
        let leave = |jobs: &[JobId]| Command::Leave {
            jobs: jobs.to_vec(),
        };
        self.time("leave of 1", 1, one.chunks(1).map(leave).collect());
        let of = many.len().min(1_000);
        self.time(
            "leave of 1000",
            of as u64,
            many.chunks(of).map(leave).collect(),
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

/// Time on a processor: others on the machine must not count.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0u64) * 4_096
}

/// Each measurement is a process of its own: memory that another one gave back
/// would hide what this one takes.
fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some(jobs), Some(level)) = (arguments.next(), arguments.next()) {
        let jobs = jobs.parse().expect("a number of jobs");
        return measure(jobs, FeatureLevel(level.parse().expect("a level")));
    }
    let own = std::env::current_exe().expect("a program knows where it is");
    for jobs in [1_000u64, 100_000, 1_000_000 - 2 * TIMED_COUNT] {
        for level in [FeatureLevel::FOUNDING, FeatureLevel::JOBS_CANCELLED] {
            let arguments = [jobs.to_string(), level.0.to_string()];
            let status = std::process::Command::new(&own).args(arguments).status();
            assert!(status.is_ok_and(|status| status.success()));
        }
    }
}

fn measure(jobs: u64, level: FeatureLevel) {
    let mut bench = Bench::at(level);
    let before = resident_bytes();
    for from in (0..jobs).step_by(1_000) {
        let items = (from..from + 1_000).map(spec).collect();
        bench.apply(Command::Submit { items });
    }
    let bytes = resident_bytes().saturating_sub(before);
    println!(
        "{jobs} jobs queued at {level}, {} bytes of memory each",
        bytes / jobs
    );
    for worker in 1..=400 {
        bench.apply(Command::Register {
            worker: WorkerSpec {
                worker: WorkerId(worker),
                incarnation: WorkerIncarnation(1),
                slots: 64,
                engines: vec!["outline".into()],
            },
        });
    }
    let singles = (jobs..jobs + TIMED_COUNT).map(|number| Command::Submit {
        items: vec![spec(number)],
    });
    let singles = singles.collect();
    bench.time("submit of 1", 1, singles);
    let batches = (0..TIMED_COUNT / 1_000).map(|batch| {
        let from = jobs + TIMED_COUNT + batch * 1_000;
        Command::Submit {
            items: (from..from + 1_000).map(spec).collect(),
        }
    });
    let batches = batches.collect();
    bench.time("submit of 1000", 1_000, batches);
    let ready: Vec<JobId> = bench
        .queue
        .ready()
        .take(usize::try_from(TIMED_COUNT).expect("it is small"))
        .collect();
    let claim = |(number, job): (usize, &JobId)| Claim {
        job: *job,
        worker: WorkerId(1 + (number as u64 / 64) % 400),
        rule: ClaimRule::LeastLoaded,
    };
    let claims: Vec<Claim> = ready.iter().enumerate().map(claim).collect();
    let (one, many) = claims.split_at(claims.len() / 2);
    let one = one.iter().map(|claim| Command::Claim {
        claims: vec![*claim],
    });
    let one = one.collect();
    let mut outcomes = bench.time("claim of 1", 1, one);
    let many = many.chunks(50).map(|claims| Command::Claim {
        claims: claims.to_vec(),
    });
    let many = many.collect();
    outcomes.extend(bench.time("claim of 50", 50, many));
    let tokens: Vec<Token> = outcomes
        .into_iter()
        .flat_map(|outcome| match outcome {
            Outcome::Claimed(tokens) => tokens,
            other => panic!("not claimed: {other:?}"),
        })
        .map(|token| token.expect("the worker has a slot"))
        .collect();
    let body = Bytes::from(&[7; 256][..]);
    let result = Digest::of(&body);
    let completes = ready
        .iter()
        .zip(tokens)
        .map(|(job, token)| Command::Complete {
            job: *job,
            token,
            result,
            body: body.clone(),
        });
    let completes = completes.collect();
    bench.time("complete, 256 B", 1, completes);
    if level >= FeatureLevel::JOBS_CANCELLED {
        bench.leave_all_that_is_ready();
    }
    let start = cpu_nanos();
    let mut sum = 0u128;
    for _ in 0..1_000 {
        sum = sum.wrapping_add(std::hint::black_box(&bench.queue).state_hash().0);
    }
    let hash_nanos = (cpu_nanos() - start) / 1_000;
    let start = cpu_nanos();
    let image = bench.queue.image();
    let image_ms = (cpu_nanos() - start) / 1_000_000;
    let start = cpu_nanos();
    let restored = QueueManager::from_image(&image).expect("its own image");
    let restore_ms = (cpu_nanos() - start) / 1_000_000;
    assert_eq!(restored.state_hash(), bench.queue.state_hash(), "{sum}");
    println!(
        "  state hash {hash_nanos} ns; image {} KiB in {image_ms} ms, back in {restore_ms} ms",
        image.len() / 1_024
    );
}
