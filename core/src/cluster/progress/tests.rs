use super::*;

fn streaming(durable: u64, in_flight: &[u64]) -> Progress {
    let last = in_flight.last().copied().unwrap_or(durable);
    Progress {
        heard: Time(0),
        incarnation: None,
        down: false,
        health: Health::Well,
        patience: Span::ZERO,
        round: 0,
        round_sent: 0,
        durable: LogIndex(durable),
        next: LogIndex(last + 1),
        flow: Flow::Stream {
            in_flight: in_flight
                .iter()
                .map(|last| InFlight {
                    last: LogIndex(*last),
                    bytes: 10,
                })
                .collect(),
            reading: None,
        },
    }
}

fn in_flight(progress: &Progress) -> usize {
    match &progress.flow {
        Flow::Stream { in_flight, .. } => in_flight.len(),
        Flow::Probe { .. } | Flow::Snapshot { .. } => panic!("it does not stream: {progress:?}"),
    }
}

fn probes(progress: &Progress) -> bool {
    progress.flow == Flow::Probe { asked: false }
}

#[test]
fn a_new_follower_is_asked_before_it_is_sent_anything() {
    let mut progress = Progress::new(LogIndex(9), Time(0));
    assert!(probes(&progress));
    progress.on_matched(LogIndex(8), LogIndex(5));
    assert_eq!(progress.next, LogIndex(9));
    assert_eq!(progress.durable, LogIndex(5), "only the disk counts");
    assert_eq!(in_flight(&progress), 0);
}

#[test]
fn an_answer_frees_the_window_up_to_it() {
    let mut progress = streaming(2, &[4, 6, 8]);
    progress.on_matched(LogIndex(6), LogIndex(2));
    assert_eq!(in_flight(&progress), 1);
    assert_eq!(
        progress.next,
        LogIndex(9),
        "what is on its way is not sent again"
    );
}

#[test]
fn late_answers_take_nothing_back() {
    let mut progress = streaming(6, &[8]);
    progress.on_matched(LogIndex(3), LogIndex(3));
    assert_eq!(progress.durable, LogIndex(6));
    assert_eq!(progress.next, LogIndex(9));
    assert_eq!(in_flight(&progress), 1);
}

#[test]
fn an_old_answer_to_a_probe_does_not_go_below_what_is_durable() {
    let mut progress = streaming(6, &[]);
    progress.on_reconnect();
    progress.on_matched(LogIndex(3), LogIndex(3));
    assert_eq!(progress.next, LogIndex(7));
}

#[test]
fn a_refusal_goes_back_to_asking() {
    let mut progress = streaming(2, &[4, 6]);
    progress.on_conflict(LogIndex(6), LogIndex(3));
    assert!(probes(&progress));
    assert_eq!(progress.next, LogIndex(4));
}

#[test]
fn a_refusal_always_goes_back_at_least_one() {
    let mut progress = Progress::new(LogIndex(9), Time(0));
    progress.on_conflict(LogIndex(8), LogIndex(20));
    assert_eq!(progress.next, LogIndex(8));
}

#[test]
fn a_refusal_of_what_was_confirmed_since_is_late() {
    let before = streaming(6, &[8]);
    let mut progress = before.clone();
    progress.on_conflict(LogIndex(6), LogIndex(1));
    assert_eq!(progress.next, before.next);
    assert_eq!(in_flight(&progress), 1);
}

#[test]
fn a_refusal_of_what_was_not_sent_is_ignored() {
    let mut progress = streaming(2, &[]);
    progress.on_conflict(LogIndex(3), LogIndex(1));
    assert_eq!(in_flight(&progress), 0, "it streams on");
    assert_eq!(progress.next, LogIndex(3));
}

#[test]
fn a_refusal_never_goes_below_what_is_durable() {
    let mut progress = streaming(5, &[8]);
    progress.on_conflict(LogIndex(7), LogIndex(1));
    assert_eq!(progress.next, LogIndex(6));
}

#[test]
fn a_broken_connection_forgets_what_was_on_its_way() {
    let mut progress = streaming(5, &[7, 8]);
    progress.on_reconnect();
    assert!(probes(&progress));
    assert_eq!(
        progress.durable,
        LogIndex(5),
        "what is on its disk stays there"
    );
}

#[test]
fn the_window_is_full_by_count_or_by_bytes_and_never_below_one_append() {
    let knobs = |count, bytes| Knobs {
        appends_in_flight_max: count,
        append_bytes_in_flight_max: bytes,
        ..Knobs::default()
    };
    let room = |sent: &[u64], count, bytes| match &streaming(2, sent).flow {
        Flow::Stream { in_flight, .. } => Progress::has_room(in_flight, &knobs(count, bytes)),
        Flow::Probe { .. } | Flow::Snapshot { .. } => panic!("it streams"),
    };
    assert!(room(&[], 1, 1), "one may always be on its way");
    assert!(room(&[4], 2, 11));
    assert!(!room(&[4, 6], 2, 1_000), "two are two");
    assert!(!room(&[4, 6], 9, 20), "twenty bytes are twenty");
    assert!(room(&[4, 6], 9, 21));
}
