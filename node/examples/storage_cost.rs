//! What durability costs here: appends through the store beside the same
//! writes to a prewritten file, and bodies through the body store.
//! `cargo run --release -p precentor-node --example storage_cost [DIRECTORY]`

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use precentor_core::action::BodyOf;
use precentor_core::digest::Digest;
use precentor_core::entry::{ChainHash, EntryKind, LogEntry, WriteBatch};
use precentor_core::ids::{ClusterId, LogIndex, NodeId, Term};
use precentor_node::blobstore::BlobStore;
use precentor_node::disk::{Identity, OpenMode, Store};

const BODY: [u8; 256] = [7; 256];
const PASSES: u32 = 3;
const PASS: Duration = Duration::from_millis(1_000);

fn main() -> anyhow::Result<()> {
    let parent = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let path = parent.join(format!("precentor-storage-cost-{}", std::process::id()));
    fs::create_dir_all(&path)?;
    let outcome = appends(&path).and_then(|()| bodies(&path));
    fs::remove_dir_all(&path)?;
    outcome
}

fn appends(path: &Path) -> anyhow::Result<()> {
    println!("entries of 256 bytes per second: batch, store, raw file, ratio (best of {PASSES})");
    let identity = Identity {
        cluster: ClusterId([1; 16]),
        node: NodeId(1),
        name: "cost".to_owned(),
    };
    let mut store = Store::open(&path.join("store"), &identity, OpenMode::Create)?;
    let raw = File::create(path.join("raw"))?;
    raw.write_all_at(&vec![0; 64 << 20], 0)?;
    raw.sync_all()?;
    let mut index = 0;
    for batch in [1_u64, 16, 256] {
        let (mut best_store, mut best_raw) = (0.0_f64, 0.0_f64);
        for _ in 0..PASSES {
            best_store = best_store.max(rate(batch, || append(&mut store, &mut index, batch))?);
            let block = vec![1; (batch as usize * 256).next_multiple_of(4_096)];
            let mut offset = 0;
            let write = || {
                raw.write_all_at(&block, offset)?;
                offset = (offset + block.len() as u64) % (63 << 20);
                Ok(raw.sync_data()?)
            };
            best_raw = best_raw.max(rate(batch, write)?);
        }
        println!(
            "{batch:5} {best_store:10.0} {best_raw:10.0} {:6.2}",
            best_store / best_raw
        );
    }
    let begin = Instant::now();
    drop(store);
    let store = Store::open(&path.join("store"), &identity, OpenMode::Existing)?;
    println!(
        "recovery of {} entries: {:?}",
        store.log().last_index().0,
        begin.elapsed()
    );
    Ok(())
}

fn append(store: &mut Store, index: &mut u64, batch: u64) -> anyhow::Result<()> {
    let entry = |i| LogEntry {
        index: LogIndex(i),
        term: Term(1),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: BODY[..].into(),
    };
    let entries: Vec<LogEntry> = (*index + 1..=*index + batch).map(entry).collect();
    *index += batch;
    Ok(store.append(&WriteBatch {
        entries: &entries,
        ..WriteBatch::default()
    })?)
}

fn rate(batch: u64, mut write: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < PASS {
        write()?;
        count += batch;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn bodies(path: &Path) -> anyhow::Result<()> {
    let bodies: Vec<Vec<u8>> = (0..2_000_u32)
        .map(|number| {
            let seed = Digest::of(&number.to_le_bytes());
            seed.0.iter().cycle().take(8_192).copied().collect()
        })
        .collect();
    let (before, cpu_before) = (memory_kib(), cpu_ticks());
    let begin = Instant::now();
    let store = BlobStore::open(&path.join("bodies"))?;
    let opened = begin.elapsed();
    for body in &bodies {
        store.put(BodyOf::Result, Digest::of(body), body)?;
    }
    let put = begin.elapsed();
    store.flush()?;
    let flushed = begin.elapsed();
    for body in &bodies {
        anyhow::ensure!(
            store.get(Digest::of(body))?.as_ref() == Some(body),
            "a body is lost"
        );
    }
    let got = begin.elapsed();
    let memory = memory_kib() - before;
    drop(store);
    let closed = begin.elapsed();
    println!(
        "2,000 bodies of 8 KiB: opened {opened:?}, put {put:?}, flushed {flushed:?}, read {got:?}, closed {closed:?}"
    );
    println!(
        "memory +{memory} KiB, processor {} ticks of 10 ms",
        cpu_ticks() - cpu_before
    );
    Ok(())
}

fn memory_kib() -> i64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn cpu_ticks() -> i64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.split_whitespace().skip(13).take(2);
    fields.filter_map(|field| field.parse::<i64>().ok()).sum()
}
