//! How long a cluster of three real processes does not serve: when its leader is killed,
//! when it is stopped, and when it is told to end. Clients ask one after the other,
//! through the two other nodes; what counts is the longest time between two answers
//! around the event.
//!
//! `cargo bench -p precentor-node --bench failover [-- TRIALS]`

// A measurement that cannot go on may say why and end.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::process::Signal;

#[path = "../tests/rig/mod.rs"]
mod rig;

use rig::{Cluster, batch};

/// Clients of each of the two nodes.
const CLIENTS: usize = 2;
/// How long they are answered before something happens, and after.
const CALM: Duration = Duration::from_millis(700);

fn main() {
    // What cargo itself passes is no number.
    let trials = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let trials: usize = trials.unwrap_or(20);
    println!("{trials} trials each, time without service in ms, with certificates and without:");
    println!("{:32} {:>8} {:>8} {:>8}", "", "median", "worst", "refused");
    let events = [
        ("killed (SIGKILL)", Event::Kill),
        ("stopped (SIGSTOP)", Event::Stop),
        ("told to end (SIGTERM)", Event::End),
    ];
    let runs = events
        .into_iter()
        .flat_map(|(name, event)| [(name, event, true), (name, event, false)]);
    for (name, event, encrypted) in runs {
        let kind = if encrypted { "tls" } else { "plain" };
        let mut cluster = match encrypted {
            true => Cluster::found(),
            false => Cluster::plain(),
        };
        let mut gaps = Vec::new();
        let mut refused = 0;
        for _ in 0..trials {
            let (gap, failed) = trial(&mut cluster, event);
            gaps.push(gap);
            refused += failed;
        }
        gaps.sort();
        let ms = |gap: Duration| gap.as_secs_f64() * 1_000.0;
        println!(
            "{name:24} {kind:7} {:8.1} {:8.1} {refused:8}",
            ms(gaps[gaps.len() / 2]),
            ms(gaps[gaps.len() - 1])
        );
    }
}

#[derive(Clone, Copy)]
enum Event {
    Kill,
    Stop,
    End,
}

/// Lets something happen to the leader under load, and brings it back.
fn trial(cluster: &mut Cluster, event: Event) -> (Duration, u64) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let leader = cluster.leader();
    let (over, answers, refused) = (AtomicBool::new(false), Mutex::default(), AtomicU64::new(0));
    let shared = &*cluster;
    let at = thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let node = (leader + 1 + client % 2) % 3;
            let (over, answers, refused) = (&over, &answers, &refused);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                    let (status, _) = shared.post(node, "/v1/requests", None, &batch(number));
                    if status == StatusCode::OK {
                        let mut answers: std::sync::MutexGuard<'_, Vec<Instant>> =
                            answers.lock().unwrap();
                        answers.push(Instant::now());
                    } else {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        thread::sleep(CALM);
        let at = Instant::now();
        shared.node(leader).signal(match event {
            Event::Kill => Signal::KILL,
            Event::Stop => Signal::STOP,
            Event::End => Signal::TERM,
        });
        let give_up = at + Duration::from_secs(30);
        while answers
            .lock()
            .unwrap()
            .last()
            .is_none_or(|last| *last < at + CALM)
        {
            assert!(Instant::now() < give_up, "nobody is answered any more");
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        at
    });
    match event {
        Event::Kill | Event::End => {
            // Reaped, and started from its disk.
            cluster.nodes[leader] = None;
            cluster.start(leader);
        }
        Event::Stop => cluster.node(leader).signal(Signal::CONT),
    }
    let answers = answers.into_inner().unwrap();
    let gaps = answers
        .windows(2)
        .filter(|pair| pair[1] > at && pair[0] < at + CALM);
    let longest = gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    (longest, refused.into_inner())
}
