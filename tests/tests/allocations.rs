//! What the steady path allocates, counted. An entry is its body; a batch is
//! one allocation more, however many hold it; an idle round is one, whoever listens.

use alloc_tracker::{Allocator, Session};
use precentor_tests::bench_core::compare::{Comparison, Plan, measure};
use precentor_tests::bench_core::scenario::Scenario;

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

/// Lists that grow, each to twice its size, and so ever more rarely.
const GROWTH_PER_ENTRY_MAX: f64 = 0.05;
/// Allocations of an idle round: the list of the rounds that it confirms. Nothing
/// for a peer: the lists of messages keep their room, and grow to it at first.
const ROUND_MAX: f64 = 1.0;
const ROUND_PER_PEER_MAX: f64 = 0.05;

fn count(work: &mut dyn FnMut()) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("measured");
    {
        let _span = operation.measure_thread().iterations(1);
        work();
    }
    let report = session.to_report();
    let counts = report
        .operations()
        .map(|(_, measured)| measured.total_allocations_count());
    counts.sum()
}

fn check(comparison: &Comparison) {
    let (found, messages) = (comparison.ours.allocations, comparison.ours.messages);
    match comparison.scenario {
        Scenario::Commit { voters, batch, .. } => {
            let (batch, peers) = (batch as f64, (voters - 1) as f64);
            let most = 1.0 + 1.0 / batch + GROWTH_PER_ENTRY_MAX;
            assert!(
                found <= most,
                "{found} allocations for an entry of a batch of {batch} among {voters}; its body \
                 and its share of the batch are {most} at the most, on all nodes together"
            );
            let said = 2.0 * peers / batch;
            assert!(
                messages <= said * 1.01,
                "{messages} messages for an entry; an append and one answer for each peer are {said}"
            );
        }
        Scenario::Heartbeat { voters, .. } => {
            let peers = (voters - 1) as f64;
            assert!(
                (messages - 2.0 * peers).abs() < f64::EPSILON,
                "{messages} messages in a round of {peers} peers; each gets one, and answers"
            );
            assert!(
                found <= ROUND_MAX + ROUND_PER_PEER_MAX * peers,
                "{found} allocations in a round of {peers} peers"
            );
        }
        Scenario::Elect { .. } | Scenario::CatchUp { .. } => {}
    }
}

#[test]
fn an_entry_is_allocated_once_and_an_idle_round_costs_one_message_and_answer_a_peer() {
    let plan = Plan {
        passes: 1,
        entries: 4_096,
        elections: 1,
        rounds: 1_000,
        catch_up_entries: 512,
    };
    let measured = measure(plan, count).expect("both sides do everything");
    let kinds = |comparison: &&Comparison| {
        matches!(
            comparison.scenario,
            Scenario::Commit { .. } | Scenario::Heartbeat { .. }
        )
    };
    assert_eq!(measured.comparisons.iter().filter(kinds).count(), 9);
    measured.comparisons.iter().for_each(check);
}
