//! What a host keeps for clients until there is a leader.

use std::collections::BTreeSet;

use precentor_core::action::Action;
use precentor_core::bytes::Bytes;
use precentor_core::event::Event;
use precentor_core::ids::LocalNumber;

use super::{Rig, await_durable, entry, write};

fn request(number: u64) -> (LocalNumber, Bytes) {
    let length = usize::try_from(number * 37 % 900).expect("it is small") + 1;
    let bytes = vec![u8::try_from(number % 251).expect("below 251"); length];
    (LocalNumber(number), bytes.into())
}

fn keep(rig: &mut impl Rig, number: u64) {
    let (number, entry) = request(number);
    rig.perform(Action::KeepRequest { number, entry });
}

/// What was reported kept a start finds as it was, in order, until it is let go; of the
/// rest it finds any, whole. The log is no worse for it.
pub fn requests_are_kept_until_they_are_dropped(rig: &mut impl Rig) {
    let mut kept = BTreeSet::new();
    for number in [3, 4, 7, 300] {
        keep(rig, number);
        kept.insert(number);
    }
    rig.perform(Action::Write(write(1, [entry(1, 1)])));
    let mut reported = BTreeSet::new();
    let mut is_written = false;
    while reported != kept || !is_written {
        match rig.report() {
            Event::RequestKept { number } => {
                assert!(reported.insert(number.0), "{number} is reported twice");
            }
            Event::Durable { .. } => is_written = true,
            other => panic!("requests should be kept, and the host reports {other:?}"),
        }
    }
    rig.perform(Action::DropRequest {
        number: LocalNumber(4),
    });
    keep(rig, 301);
    let found = rig.crash();
    assert_eq!(found.entries, [entry(1, 1)]);
    let must: Vec<_> = [3, 7, 300].map(request).to_vec();
    let may: Vec<_> = [3, 4, 7, 300, 301].map(request).to_vec();
    assert!(must.iter().all(|it| found.local.contains(it)), "{found:?}");
    assert!(found.local.iter().all(|it| may.contains(it)), "{found:?}");
    assert!(found.local.is_sorted_by_key(|(number, _)| *number));
    // And so in the next life.
    for (number, _) in found.local {
        rig.perform(Action::DropRequest { number });
    }
    keep(rig, 302);
    match rig.report() {
        Event::RequestKept {
            number: LocalNumber(302),
        } => {}
        other => panic!("the host reports {other:?}"),
    }
    assert!(rig.crash().local.contains(&request(302)));
    rig.perform(Action::Write(write(1, [entry(1, 2)])));
    await_durable(rig, 1);
}
