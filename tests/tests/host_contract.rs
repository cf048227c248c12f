//! The contract of a host, over the simulator's disk and over the node's own
//! threads, files and sockets.

mod rigs;

use precentor_tests::contract;
use rigs::node::NodeRig;
use rigs::sim::SimRig;

macro_rules! over_both {
    ($($check:ident)*) => {
        mod simulator {
            $(#[test] fn $check() { super::contract::$check(&mut super::SimRig::new()); })*
        }
        mod node {
            $(#[test] fn $check() { super::contract::$check(&mut super::NodeRig::new()); })*
        }
    };
}

over_both! {
    writes_survive_in_order
    a_crash_keeps_what_was_reported_and_a_prefix_of_the_rest
    truncation_replaces_a_tail
    reads_return_what_was_written
    snapshots_survive
    a_snapshot_that_is_not_whole_changes_nothing
    a_failed_write_is_the_last
    a_transfer_goes_on_after_each_crash
    an_installation_is_all_or_nothing
    transfers_and_own_snapshots_do_not_mix
    an_image_is_read_in_pieces
    bodies_are_found_and_outlive_an_installation
    sources_go_when_no_snapshot_speaks_of_them
    requests_are_kept_until_they_are_dropped
    a_lone_voter_keeps_what_it_answered
}

#[test]
fn messages_arrive_whole_and_in_order_between_nodes() {
    contract::messages_arrive_whole_and_in_order(&mut NodeRig::connected());
}
