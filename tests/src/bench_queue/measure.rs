//! What is measured, what it is called, and all of it several times over: what
//! counts is the median.

use anyhow::{Context, Result};
use precentor_core::config::Knobs;
use precentor_core::feature::FeatureLevel;

use super::pass::{self, Figures};
use crate::measuring::{PeakBytes, median};

/// Sizes and repetitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How many jobs are queued: each number on its own.
    pub jobs: Vec<u64>,
    /// How often everything is done.
    pub passes: usize,
    /// How often the commands are measured in a pass, a thousand jobs at a time.
    pub chunks: u64,
    /// Which rules are in force.
    pub level: FeatureLevel,
    /// State that one part of a snapshot holds.
    pub part_bytes: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            jobs: vec![1_000, 100_000, 1_000_000, 10_000_000],
            passes: 3,
            chunks: 9,
            level: FeatureLevel::LATEST,
            part_bytes: Knobs::default().snapshot_part_bytes,
        }
    }
}

/// Groups of measures with one unit, and what a table calls them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Nanoseconds of `apply` for each job of a command.
    ApplyJob,
    /// Nanoseconds for a whole command, or a question.
    ApplyCommand,
    /// Bytes for each queued job.
    Bytes,
    /// Nanoseconds for each job, in a container that is only an order.
    Floor,
    /// How many times as much ours takes.
    Ratio,
    /// Nanoseconds.
    Snapshot,
    /// A snapshot's size.
    SnapshotSize,
    /// Nanoseconds.
    Takeover,
}

impl Group {
    /// All, as they are told.
    pub const ALL: [Group; 8] = [
        Group::ApplyJob,
        Group::ApplyCommand,
        Group::Bytes,
        Group::Floor,
        Group::Ratio,
        Group::Snapshot,
        Group::SnapshotSize,
        Group::Takeover,
    ];

    /// For programs, and for people.
    #[must_use]
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Group::ApplyJob => ("apply_nanoseconds_per_job", "apply, ns a job"),
            Group::ApplyCommand => ("nanoseconds_per_command", "ns a command"),
            Group::Bytes => ("bytes_per_job", "allocated bytes a queued job"),
            Group::Floor => ("floor_nanoseconds_per_job", "floors, ns a job"),
            Group::Ratio => ("ratio", "ours by the floor"),
            Group::Snapshot => ("snapshot_nanoseconds", "snapshot, ns"),
            Group::SnapshotSize => ("snapshot", "snapshot"),
            Group::Takeover => ("takeover_nanoseconds", "takeover, ns"),
        }
    }
}

macro_rules! measures {
    ($($measure:ident: $group:ident, $name:literal, $words:literal;)*) => {
        /// Something that is measured.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Measure {
            $(#[doc = $words] $measure,)*
        }

        /// Every measure: its group, its name for programs and that for people.
        pub const MEASURES: &[(Measure, Group, &str, &str)] = &[
            $((Measure::$measure, Group::$group, $name, $words),)*
        ];
    };
}

measures! {
    Fill: ApplyJob, "fill", "submits of 1,000 from the first job on";
    SubmitMany: ApplyJob, "submit_1000", "submit of 1,000";
    SubmitOne: ApplyJob, "submit_1", "submit of 1";
    ClaimMany: ApplyJob, "claim_50", "claim of 50";
    ClaimOne: ApplyJob, "claim_1", "claim of 1";
    ClaimTogether: ApplyJob, "claim_together_64", "claim of 64 in runs of 16";
    Complete: ApplyJob, "complete", "complete, 256 bytes";
    Fail: ApplyJob, "fail", "fail, to be tried again";
    FailTogether: ApplyJob, "fail_together_16", "failure of a run of 16";
    LeaveMany: ApplyJob, "leave_1000", "leave of 1,000";
    LeaveOne: ApplyJob, "leave_1", "leave of 1";
    Redrive: ApplyJob, "redrive_512", "redrive of 512 dead letters";
    Pause: ApplyCommand, "pause", "pause of a tenant";
    Resume: ApplyCommand, "resume", "resume of a tenant";
    StateHash: ApplyCommand, "state_hash", "the hash of the state";
    QueueBytes: Bytes, "queue", "the queue";
    HeapBytes: Bytes, "binary_heap", "BinaryHeap";
    KeyedBytes: Bytes, "priority_queue", "priority-queue";
    HeapPush: Floor, "binary_heap_push", "BinaryHeap, push";
    HeapPop: Floor, "binary_heap_pop", "BinaryHeap, pop";
    KeyedPush: Floor, "priority_queue_push", "priority-queue, push";
    KeyedPop: Floor, "priority_queue_pop", "priority-queue, pop";
    InByHeap: Ratio, "fill_by_binary_heap_push", "submits by BinaryHeap's push";
    OutByHeap: Ratio, "claim_50_and_complete_by_binary_heap_pop", "claim and complete by its pop";
    BytesByHeap: Ratio, "bytes_by_binary_heap", "bytes by its bytes";
    InByKeyed: Ratio, "fill_by_priority_queue_push", "submits by priority-queue's push";
    OutByKeyed: Ratio, "claim_50_and_complete_by_priority_queue_pop", "claim and complete by its pop";
    BytesByKeyed: Ratio, "bytes_by_priority_queue", "bytes by its bytes";
    SnapshotBegin: Snapshot, "begin", "begin";
    SnapshotPart: Snapshot, "median_part", "a part";
    SnapshotLongest: Snapshot, "longest_part", "the longest part";
    SnapshotTotal: Snapshot, "parts", "all parts";
    SnapshotRead: Snapshot, "read", "the state from it, beside the turns";
    InstallLongest: Snapshot, "install_longest_turn", "a follower's longest turn until it stands on it";
    LetGo: Snapshot, "let_go", "the end of the state before, beside the turns";
    SnapshotParts: SnapshotSize, "parts", "parts";
    SnapshotBytes: SnapshotSize, "bytes", "bytes";
    TakeoverBegin: Takeover, "begin", "the barrier, 32 leases, a poll";
    TakeoverChoose: Takeover, "choose_32", "32 jobs chosen for that poll";
    TakeoverLongest: Takeover, "longest", "both, the longest of 101";
}

/// What was measured with one number of jobs.
#[derive(Clone, PartialEq, Debug)]
pub struct Size {
    /// How many jobs were queued.
    pub jobs: u64,
    passes: Vec<Figures>,
}

impl Size {
    /// The median over the passes; none if the level does not know the command.
    #[must_use]
    pub fn median(&self, measure: Measure) -> Option<f64> {
        let found: Vec<f64> = self.of(measure).collect();
        (!found.is_empty()).then(|| median(found))
    }

    /// The most of any pass.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Option<f64> {
        self.of(measure).reduce(f64::max)
    }

    fn of(&self, measure: Measure) -> impl Iterator<Item = f64> {
        let passes = self.passes.iter();
        passes.filter_map(move |figures| figures.get(&measure).copied())
    }
}

/// Everything that was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// How it was measured.
    pub plan: Plan,
    /// In the order of the plan.
    pub sizes: Vec<Size>,
}

/// Measures everything.
///
/// # Errors
/// If the queue does not do what it is asked for.
pub fn measure(plan: Plan, peak: PeakBytes) -> Result<Measured> {
    let mut sizes = Vec::new();
    for jobs in plan.jobs.iter().copied() {
        let passes = (0..plan.passes)
            .map(|_| pass::run(&plan, jobs, peak))
            .collect::<Result<_>>()
            .with_context(|| format!("with {jobs} jobs"))?;
        sizes.push(Size { jobs, passes });
    }
    Ok(Measured { plan, sizes })
}
