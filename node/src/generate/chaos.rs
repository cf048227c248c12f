//! Kills the leader in the middle of the work, on purpose, and measures as a
//! client does how long nobody served: from the stop to the first command that
//! the next leader committed.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use precentor_core::command::Command;
use precentor_core::ids::{NodeId, Sequence};
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};

use crate::client::Courier;
use crate::embedded::{Board, EmbeddedCluster};

/// How long a killed node stays down.
const DOWN: Duration = Duration::from_millis(300);
/// How long a leader may take to appear before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Before the walk is over, the total is a guess: kill only when this much is known.
const KNOWN_MIN: u64 = 2_000;

/// One kill, as it was felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Who led.
    pub node: NodeId,
    /// How long nobody served.
    pub length: Duration,
}

/// When to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChaosPlan {
    /// How often.
    pub kills: u32,
}

impl ChaosPlan {
    /// Is kill number `done` (from 0) due? Spread over the run: the k-th of n
    /// comes at k/(n+1) of the work.
    #[must_use]
    pub fn is_due(self, done: u32, finished: u64, known: u64, walked: bool) -> bool {
        let total_is_known = walked || known >= KNOWN_MIN;
        done < self.kills
            && total_is_known
            && u128::from(finished) * (u128::from(self.kills) + 1)
                >= u128::from(known) * (u128::from(done) + 1)
    }
}

/// Kills the leader, measures, and brings the node back.
///
/// # Errors
/// If no leader appears, or the node does not come back.
pub(super) fn kill_leader(
    cluster: &Arc<Mutex<EmbeddedCluster>>,
    board: &Board,
    mut courier: Courier,
) -> Result<Outage, String> {
    let give_up = Instant::now() + PATIENCE;
    let node = loop {
        match board.leader() {
            Some(leader) => break leader.node,
            None if Instant::now() >= give_up => {
                return Err(format!("no node led for {} s", PATIENCE.as_secs()));
            }
            None => thread::sleep(LOOK_AGAIN),
        }
    };
    let (stopped, killer) = {
        let (cluster, started) = (cluster.clone(), Instant::now());
        // Apart, so that the question below is on its way in the moment of the stop.
        let killer = thread::spawn(move || {
            cluster
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .kill(node);
        });
        (started, killer)
    };
    let restarter = {
        let cluster = cluster.clone();
        thread::spawn(move || {
            if killer.join().is_err() {
                return Err("the killed node's threads did not end".to_owned());
            }
            thread::sleep(DOWN);
            let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
            cluster
                .restart(node)
                .map_err(|error| format!("{node} did not come back: {error}"))
        })
    };
    // A command like any other: it is answered when a leader has committed it.
    // Only once the old leader is gone, or it might be the one who answers.
    while board.statuses().iter().any(|status| status.node == node)
        && Instant::now() < stopped + DOWN
    {
        thread::yield_now();
    }
    let request = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command: Command::OpenSession,
    };
    let answer = courier.call(request, PATIENCE);
    let length = stopped.elapsed();
    restarter
        .join()
        .map_err(|_| "the restart panicked".to_owned())??;
    match answer {
        Some(Reply::Applied { .. }) => Ok(Outage { node, length }),
        Some(other) => Err(format!(
            "the next leader gave a senseless answer: {other:?}"
        )),
        None => Err(format!(
            "no node served for {} s after {node} was killed",
            PATIENCE.as_secs()
        )),
    }
}

/// Who asks.
pub(super) fn principal() -> Principal {
    Principal("chaos".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread_over_the_work() {
        let plan = ChaosPlan { kills: 3 };
        assert!(!plan.is_due(0, 24, 100, true));
        assert!(plan.is_due(0, 25, 100, true));
        assert!(!plan.is_due(1, 49, 100, true));
        assert!(plan.is_due(1, 50, 100, true));
        assert!(plan.is_due(2, 75, 100, true));
        assert!(!plan.is_due(3, 100, 100, true), "all were done");
    }

    #[test]
    fn while_the_tree_is_walked_only_a_large_part_counts() {
        let plan = ChaosPlan { kills: 1 };
        assert!(!plan.is_due(0, 100, 100, false));
        assert!(plan.is_due(0, 1_000, 2_000, false));
    }
}
