//! Everything once, for one number of jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::floor::{self, Floor, Heap, Keyed};
use super::measure::{Measure, Plan};
use super::rig::Rig;
use super::snapshot::Snapshot;
use super::takeover::Takeover;
use super::{takeover, transitions};
use crate::measuring::{PeakBytes, bytes_left, median};

/// What was found, each measure once.
pub(super) type Figures = BTreeMap<Measure, f64>;

/// Measures everything for so many jobs.
pub(super) fn run(plan: &Plan, jobs: u64, peak: PeakBytes) -> Result<Figures> {
    let mut figures = Figures::new();
    let heap = floor::measure::<Heap>(jobs, peak)?;
    let keyed = floor::measure::<Keyed>(jobs, peak)?;

    let mut rig = Rig::new(plan.level, jobs)?;
    let mut filled = Ok(Duration::ZERO);
    let bytes = bytes_left(peak, || filled = rig.fill(jobs));
    let per_job = |total: f64| total / jobs as f64;
    let fill = per_job(nanoseconds(filled.context("the queue is filled")?));
    figures.insert(Measure::Fill, fill);
    figures.insert(Measure::QueueBytes, per_job(bytes as f64));

    let took = takeover::measure(&mut rig).context("a leader takes over")?;
    let each = |of: fn(&Takeover) -> Duration| took.iter().map(of).map(nanoseconds);
    figures.insert(
        Measure::TakeoverBegin,
        median(each(|took| took.begin).collect()),
    );
    figures.insert(
        Measure::TakeoverChoose,
        median(each(|took| took.choose).collect()),
    );
    let both: Vec<f64> = each(|took| took.begin + took.choose).collect();
    figures.insert(Measure::TakeoverLongest, longest(&both));

    let snapshot = Snapshot::take(&mut rig.queue, plan.part_bytes);
    figures.insert(Measure::SnapshotBegin, nanoseconds(snapshot.begin));
    let took: Vec<f64> = snapshot.took.iter().copied().map(nanoseconds).collect();
    figures.insert(Measure::SnapshotTotal, took.iter().sum());
    figures.insert(Measure::SnapshotLongest, longest(&took));
    figures.insert(Measure::SnapshotPart, median(took));
    figures.insert(Measure::SnapshotParts, snapshot.parts() as f64);
    figures.insert(Measure::SnapshotBytes, snapshot.bytes() as f64);

    let chunks = transitions::measure(&mut rig, plan.chunks)?;
    figures.extend(chunks.medians());

    // Before the state is there again: both at once would need their memory twice.
    drop(rig);
    let install = snapshot.install(jobs)?;
    figures.insert(Measure::SnapshotRead, nanoseconds(install.read));
    figures.insert(Measure::InstallLongest, nanoseconds(install.longest));
    if !install.let_go.is_zero() {
        figures.insert(Measure::LetGo, nanoseconds(install.let_go));
    }

    let out = figures[&Measure::ClaimMany] + figures[&Measure::Complete];
    let ours = [fill, out, per_job(bytes as f64)];
    for (floor, costs, ratios) in [(heap, HEAP, HEAP_RATIOS), (keyed, KEYED, KEYED_RATIOS)] {
        let Floor { push, pop, bytes } = floor;
        let floor = [nanoseconds(push), nanoseconds(pop), bytes as f64].map(per_job);
        figures.extend(costs.into_iter().zip(floor));
        let ratio = |(ours, floor): (f64, f64)| ours / floor;
        figures.extend(
            ratios
                .into_iter()
                .zip(ours.into_iter().zip(floor).map(ratio)),
        );
    }
    Ok(figures)
}

/// What a floor costs: in, out and in memory; and how many times as much ours does.
const HEAP: [Measure; 3] = [Measure::HeapPush, Measure::HeapPop, Measure::HeapBytes];
const HEAP_RATIOS: [Measure; 3] = [Measure::InByHeap, Measure::OutByHeap, Measure::BytesByHeap];
const KEYED: [Measure; 3] = [Measure::KeyedPush, Measure::KeyedPop, Measure::KeyedBytes];
const KEYED_RATIOS: [Measure; 3] = [
    Measure::InByKeyed,
    Measure::OutByKeyed,
    Measure::BytesByKeyed,
];

fn longest(took: &[f64]) -> f64 {
    took.iter().copied().fold(0.0, f64::max)
}

fn nanoseconds(took: Duration) -> f64 {
    took.as_nanos() as f64
}
