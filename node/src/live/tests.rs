use precentor_core::config::Config;
use precentor_core::driver::{Driver, Recovered};
use precentor_core::event::Now;
use precentor_core::ids::{ClusterId, NodeId};

use super::*;

fn status() -> Status {
    let voters = vec![NodeId(1), NodeId(2)];
    let config = Config::new(ClusterId([1; 16]), NodeId(1), voters, 1);
    let driver = Driver::recover(config, Recovered::default(), Now::default());
    driver.expect("a node that starts anew").view().status()
}

#[test]
fn what_is_shown_is_read_back_and_goes_with_the_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(read(folder.path()), None);
    let live = Live::start(folder.path(), || vec![status()]).expect("a thread");
    while read(folder.path()).is_none() {
        thread::yield_now();
    }
    assert_eq!(read(folder.path()), Some(vec![status()]));
    drop(live);
    assert_eq!(read(folder.path()), None);
}

#[test]
fn what_is_no_status_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(FILE), "[{}]").expect("written");
    assert_eq!(read(folder.path()), None);
}

#[test]
fn people_are_shown_each_node_with_its_disk_and_its_peers() {
    let text = text(&[status()]);
    assert_eq!(
        text,
        "  n1 follows in t0, has applied i0\n    \
         well, a write takes 0 us, 0 of 5 late turns in 2000 ms\n    \
         sees n2 down, never heard, not connected"
    );
}
