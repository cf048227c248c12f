use super::*;
use crate::entry::{ChainHash, EntryKind, HardState, LogEntry, WriteBatch};
use crate::ids::{ClusterId, NodeId};
use crate::wire::log_writer::{SEGMENT_BYTES_MIN, Step};
use crate::wire::record::{ENTRY_PREFIX_BYTES, HARD_STATE_BYTES, SEGMENT_BODY_BYTES};

pub(super) const SEGMENT: u32 = SEGMENT_BYTES_MIN;
pub(super) const NODE: LogIdentity = LogIdentity {
    cluster: ClusterId([7; 16]),
    node: NodeId(1),
    incarnation: 11,
};

/// A disk that does as it is told.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) writer: LogWriter,
    pub(super) files: Vec<(u64, Vec<u8>)>,
    recycled: bool,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let mut disk = Disk {
            writer: LogWriter::create(NODE, SEGMENT),
            files: Vec::new(),
            recycled: false,
        };
        let steps = disk.writer.encode_roll();
        disk.perform(steps);
        disk
    }

    pub(super) fn perform(&mut self, steps: Vec<Step>) {
        self.write(steps);
        self.writer.mark_durable(self.writer.last_record());
    }

    pub(super) fn write(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Begin {
                    segment,
                    mut header,
                } => {
                    header.recycled = self.recycled;
                    let mut bytes = match self.recycled {
                        true => self.files.remove(0).1,
                        false => vec![0; SEGMENT as usize],
                    };
                    bytes[..BLOCK_BYTES as usize].copy_from_slice(&header.encode());
                    self.files.push((segment, bytes));
                }
                Step::Write {
                    segment,
                    offset,
                    bytes,
                } => {
                    let file = self.file(segment);
                    file[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }

    pub(super) fn file(&mut self, segment: u64) -> &mut Vec<u8> {
        &mut self
            .files
            .iter_mut()
            .find(|(number, _)| *number == segment)
            .unwrap()
            .1
    }

    pub(super) fn append(&mut self, batch: &WriteBatch<'_>) {
        let steps = self.writer.encode(batch).unwrap();
        self.perform(steps);
    }

    pub(super) fn entries(&mut self, term: u64, indexes: std::ops::RangeInclusive<u64>) {
        self.append(&WriteBatch {
            entries: &entries(term, indexes),
            ..WriteBatch::default()
        });
    }

    pub(super) fn recover(&self) -> Result<Recovered, RecoverError> {
        recover(
            NODE,
            SEGMENT,
            self.files
                .iter()
                .map(|(number, bytes)| (*number, &bytes[..])),
        )
    }
}

pub(super) fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    let entry = |index: u64| LogEntry {
        index: LogIndex(index),
        term: Term(term),
        chain: ChainHash(0),
        kind: EntryKind::Command,
        body: format!("entry {index} of term {term}").as_bytes().into(),
    };
    indexes.map(entry).collect()
}

pub(super) fn voted(term: u64, node: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(NodeId(node)),
        commit: LogIndex(0),
        repairing: None,
    }
}

pub(super) fn last(recovered: &Recovered) -> (u64, u64) {
    let map = recovered.writer.map();
    (map.last_index().0, map.last_term().0)
}

#[test]
fn a_log_reads_back_over_several_files() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(2, 3)),
        ..WriteBatch::default()
    });
    for index in 1..=40 {
        disk.entries(2, index..=index);
    }
    assert!(disk.files.len() > 5, "{} files", disk.files.len());
    let recovered = disk.recover().unwrap();
    assert_eq!(recovered.writer.map(), disk.writer.map());
    assert_eq!(recovered.writer.hard_state(), voted(2, 3));
    assert_eq!((recovered.torn, recovered.void_segments), (None, vec![]));
    // Only the last write has nobody to vouch for it.
    assert_eq!(recovered.unproven.len(), 1);
    assert_eq!(recovered.unproven[0].bytes, BLOCK_BYTES);
}

#[test]
fn a_recovered_log_goes_on_as_if_nothing_had_happened() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=3);
    let mut other = disk.clone();
    other.writer = disk.recover().unwrap().writer;
    other.writer.mark_durable(other.writer.last_record());
    disk.entries(1, 4..=6);
    other.entries(1, 4..=6);
    assert_eq!(disk.files, other.files);
}

#[test]
fn no_file_at_all_is_not_an_empty_log() {
    assert_eq!(
        recover(NODE, SEGMENT, []).unwrap_err(),
        RecoverError::NoSegments
    );
}

#[test]
fn every_flipped_bit_of_a_durable_record_is_damage() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(1, 1)),
        ..WriteBatch::default()
    });
    disk.entries(1, 1..=2);
    let steps = disk.writer.encode_mark();
    disk.perform(steps);
    let hard_state = 64 + HARD_STATE_BYTES as usize;
    let entry = 64 + 17;
    let block = BLOCK_BYTES as usize;
    // Vote, its copy, two entries: as they were written.
    for (start, len) in [
        (block, hard_state),
        (2 * block, hard_state),
        (3 * block, 2 * entry),
    ] {
        for bit in start * 8..(start + len) * 8 {
            let mut damaged = disk.clone();
            damaged.file(1)[bit / 8] ^= 1 << (bit % 8);
            let found = damaged.recover().unwrap();
            let cover = found.damage.map(|damage| damage.must_cover);
            assert_eq!(cover, Some(LogIndex(2)), "bit {bit}");
            let promised = HardState {
                repairing: cover,
                ..voted(1, 1)
            };
            let state = found.writer.hard_state();
            assert_eq!((state, found.torn), (promised, None), "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_segment_header_is_noticed() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    for bit in 0..(HEADER_BYTES + SEGMENT_BODY_BYTES) * 8 {
        let mut damaged = disk.clone();
        damaged.file(1)[bit as usize / 8] ^= 1 << (bit % 8);
        // Nothing else in the log says what was promised.
        assert_eq!(
            damaged.recover().unwrap_err(),
            RecoverError::Lost {
                fault: Fault::SegmentHeader,
                segment: 1,
                offset: 0
            }
        );
    }
}

/// Records begin in the next block: what fills the first one says nothing.
#[test]
fn a_flipped_bit_of_the_padding_behind_a_segment_header_costs_nothing() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=2);
    let whole = disk.recover().unwrap();
    for at in HEADER_BYTES + SEGMENT_BODY_BYTES..BLOCK_BYTES {
        let mut damaged = disk.clone();
        damaged.file(1)[at as usize] ^= 0xff;
        let found = damaged.recover().unwrap();
        assert_eq!(last(&found), last(&whole), "byte {at}");
        assert!(found.torn.is_none(), "byte {at}");
    }
}

#[test]
fn damage_names_the_entry_when_only_its_body_is_bad() {
    let mut disk = Disk::new();
    disk.entries(3, 1..=2);
    disk.entries(3, 3..=3);
    let place = *disk.writer.map().get(LogIndex(2)).unwrap();
    disk.file(1)[(place.offset + HEADER_BYTES) as usize] ^= 1;
    let expected = Damage {
        fault: Fault::Record,
        segment: 1,
        offset: BLOCK_BYTES + HEADER_BYTES + ENTRY_PREFIX_BYTES + 17,
        bytes: BLOCK_BYTES,
        record: 2,
        index: Some(LogIndex(2)),
        term: Some(Term(3)),
        must_cover: LogIndex(3),
    };
    let found = disk.recover().unwrap();
    let damage = found.damage.unwrap();
    assert_eq!(
        Damage {
            bytes: BLOCK_BYTES,
            ..damage
        },
        expected
    );
    assert_eq!(last(&found), (1, 3));
    let text = damage.to_string();
    assert!(
        text.contains("record 2, entry i2 of t3") && text.contains("up to i3"),
        "{text}"
    );
}

#[test]
fn damage_in_an_older_file_is_damage() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    disk.entries(1, 2..=2);
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    let place = *disk.writer.map().get(LogIndex(2)).unwrap();
    disk.file(1)[place.offset as usize..][..100].fill(0);
    let found = disk.recover().unwrap();
    let damage = found.damage.unwrap();
    assert_eq!((damage.segment, damage.record), (1, 2));
    assert_eq!((last(&found), damage.must_cover), ((1, 1), LogIndex(2)));
    assert_eq!(found.damaged_segments, [2]);
}

#[test]
fn a_torn_tail_is_cut_where_it_was_torn_and_what_came_before_stays() {
    let mut whole = Disk::new();
    whole.entries(1, 1..=2);
    let before = whole.clone();
    let steps = whole.writer.encode(&WriteBatch {
        entries: &entries(1, 3..=6),
        ..WriteBatch::default()
    });
    whole.write(steps.unwrap());
    const RECORD: u32 = HEADER_BYTES + ENTRY_PREFIX_BYTES + 17;
    let start = before.writer.map().get(LogIndex(1)).unwrap().offset + BLOCK_BYTES;
    for cut in start..start + 4 * RECORD {
        let mut torn = whole.clone();
        torn.file(1)[cut as usize..].fill(0);
        let recovered = torn.recover().unwrap();
        let survived = u64::from((cut - start) / RECORD);
        // The last byte of a body is a digit, so a cut anywhere before it shows.
        assert_eq!(last(&recovered).0, 2 + survived, "cut at {cut}");
        let clean = (cut - start).is_multiple_of(RECORD);
        assert_eq!(
            recovered.torn.is_none(),
            clean,
            "cut at {cut}: {:?}",
            recovered.torn
        );
    }
}

#[test]
fn a_log_goes_on_in_a_new_file_after_a_torn_tail_and_recovers_again_and_again() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=2);
    let steps = disk.writer.encode(&WriteBatch {
        entries: &entries(1, 3..=6),
        ..WriteBatch::default()
    });
    disk.write(steps.unwrap());
    disk.file(1)[(2 * BLOCK_BYTES + 100) as usize] ^= 0xff;
    for _ in 0..2 {
        let recovered = disk.recover().unwrap();
        assert_eq!(last(&recovered), (3, 1));
        assert_eq!(recovered.torn.map(|torn| torn.record), Some(4));
    }
    disk.writer = disk.recover().unwrap().writer;
    disk.writer.mark_durable(disk.writer.last_record());
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    disk.entries(2, 4..=5);
    disk.entries(2, 6..=6);
    let recovered = disk.recover().unwrap();
    assert_eq!(last(&recovered), (6, 2));
    assert_eq!(
        recovered.torn, None,
        "the torn tail is void once the log went on"
    );
    assert_eq!(recovered.writer.map().term_at(LogIndex(4)), Some(Term(2)));
}

#[test]
fn unsynced_writes_that_reached_the_disk_out_of_order_are_torn_and_not_damage() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=2);
    let batch = entries(1, 3..=3);
    let lost = disk.writer.encode(&WriteBatch {
        entries: &batch,
        ..WriteBatch::default()
    });
    assert!(lost.is_ok());
    let batch = entries(1, 4..=4);
    let kept = disk.writer.encode(&WriteBatch {
        entries: &batch,
        ..WriteBatch::default()
    });
    disk.write(kept.unwrap());
    let recovered = disk.recover().unwrap();
    assert_eq!(last(&recovered), (2, 1));
    assert_eq!(recovered.torn.map(|torn| torn.record), Some(3));
}

#[test]
fn a_vote_survives_damage_to_either_of_its_copies() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    disk.append(&WriteBatch {
        hard_state: Some(voted(5, 2)),
        ..WriteBatch::default()
    });
    for block in [2, 3] {
        let mut damaged = disk.clone();
        damaged.file(1)[(block * BLOCK_BYTES) as usize..][..512].fill(0xee);
        let recovered = damaged.recover().unwrap();
        assert_eq!(recovered.writer.hard_state(), voted(5, 2), "block {block}");
        assert!(recovered.torn.is_some());
    }
}

#[test]
fn a_promise_from_a_torn_tail_is_still_there_after_the_log_went_on() {
    let mut disk = Disk::new();
    disk.append(&WriteBatch {
        hard_state: Some(voted(5, 2)),
        ..WriteBatch::default()
    });
    disk.file(1)[BLOCK_BYTES as usize] ^= 1;
    disk.writer = disk.recover().unwrap().writer;
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    assert_eq!(disk.recover().unwrap().writer.hard_state(), voted(5, 2));
}

#[test]
fn a_truncation_replaces_the_suffix_for_good() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=5);
    let batch = entries(2, 3..=3);
    disk.append(&WriteBatch {
        truncate_from: Some(LogIndex(3)),
        reset: None,
        entries: &batch,
        ..WriteBatch::default()
    });
    let recovered = disk.recover().unwrap();
    assert_eq!(last(&recovered), (3, 2));
    assert_eq!(recovered.writer.map(), disk.writer.map());
}

#[test]
fn a_truncation_to_before_the_oldest_kept_file_is_understood() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=5);
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    let batch = entries(2, 3..=4);
    disk.append(&WriteBatch {
        truncate_from: Some(LogIndex(3)),
        reset: None,
        entries: &batch,
        ..WriteBatch::default()
    });
    assert_eq!(disk.writer.forget_up_to(LogIndex(2)), 2);
    disk.files.remove(0);
    let recovered = disk.recover().unwrap();
    assert_eq!(recovered.writer.map(), disk.writer.map());
    assert_eq!(last(&recovered), (4, 2));
}

#[test]
fn old_records_of_a_recycled_file_never_come_back() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=150);
    disk.recycled = true;
    disk.writer.forget_up_to(LogIndex(150));
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    for index in 151..=153 {
        disk.entries(1, index..=index);
        let recovered = disk.recover().unwrap();
        assert_eq!(last(&recovered), (index, 1));
        assert_eq!(recovered.torn, None);
    }
}

#[test]
fn a_torn_record_in_a_recycled_file_is_reported() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=150);
    disk.recycled = true;
    let steps = disk.writer.encode_roll();
    disk.perform(steps);
    disk.entries(1, 151..=151);
    let place = *disk.writer.map().get(LogIndex(151)).unwrap();
    disk.file(place.segment)[place.offset as usize + 70] ^= 1;
    let recovered = disk.recover().unwrap();
    assert_eq!(last(&recovered), (150, 1));
    assert_eq!(recovered.torn.map(|torn| torn.offset), Some(place.offset));
}

#[test]
fn files_of_others_are_refused_by_name() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    let bytes = &disk.files[0].1;
    let refused = |identity| recover(identity, SEGMENT, [(1, &bytes[..])]).unwrap_err();
    let cluster = ClusterId([8; 16]);
    assert!(matches!(
        refused(LogIdentity { cluster, ..NODE }),
        RecoverError::WrongCluster {
            found: ClusterId([7, ..]),
            ..
        }
    ));
    assert!(matches!(
        refused(LogIdentity {
            node: NodeId(2),
            ..NODE
        }),
        RecoverError::WrongNode {
            found: NodeId(1),
            ..
        }
    ));
    assert!(matches!(
        refused(LogIdentity {
            incarnation: 12,
            ..NODE
        }),
        RecoverError::WrongIncarnation { found: 11, .. }
    ));
    let error = recover(NODE, SEGMENT, [(2, &bytes[..])]).unwrap_err();
    assert_eq!(error, RecoverError::Misnamed { named: 2, found: 1 });
}

#[test]
fn another_version_is_named_and_not_called_damage() {
    let mut disk = Disk::new();
    let file = disk.file(1);
    file[4] = 9;
    let crc = crc32c::crc32c(&file[..60]).to_le_bytes();
    file[60..64].copy_from_slice(&crc);
    let expected = RecoverError::OtherVersion {
        segment: 1,
        found: 9,
    };
    assert_eq!(disk.recover().unwrap_err(), expected);
}

#[test]
fn a_missing_file_in_the_middle_is_damage() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    for _ in 0..2 {
        let steps = disk.writer.encode_roll();
        disk.perform(steps);
        let next = disk.writer.map().last_index().0 + 1;
        disk.entries(1, next..=next);
    }
    disk.files.remove(1);
    let found = disk.recover().unwrap();
    let damage = found.damage.unwrap();
    assert_eq!((damage.fault, damage.record), (Fault::Missing, 2));
    assert_eq!((last(&found), damage.must_cover), ((1, 1), LogIndex(3)));
}

#[test]
fn a_last_file_whose_end_was_cut_off_is_lost() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=1);
    disk.file(1).truncate(2 * BLOCK_BYTES as usize);
    assert!(matches!(
        disk.recover(),
        Err(RecoverError::Lost {
            fault: Fault::CutOff,
            segment: 1,
            ..
        })
    ));
}

#[test]
fn a_batch_that_contradicts_the_log_is_refused_and_changes_nothing() {
    let mut disk = Disk::new();
    let commit = HardState {
        commit: LogIndex(2),
        ..voted(3, 1)
    };
    disk.entries(3, 1..=3);
    disk.append(&WriteBatch {
        hard_state: Some(commit),
        ..WriteBatch::default()
    });
    let before = disk.writer.clone();
    let gap = entries(3, 5..=5);
    let back = entries(2, 4..=4);
    let batches = [
        WriteBatch {
            entries: &gap,
            ..WriteBatch::default()
        },
        WriteBatch {
            entries: &back,
            ..WriteBatch::default()
        },
        WriteBatch {
            truncate_from: Some(LogIndex(2)),
            ..WriteBatch::default()
        },
        WriteBatch {
            truncate_from: Some(LogIndex(4)),
            ..WriteBatch::default()
        },
        WriteBatch {
            hard_state: Some(voted(3, 2)),
            ..WriteBatch::default()
        },
        WriteBatch {
            hard_state: Some(voted(2, 1)),
            ..WriteBatch::default()
        },
    ];
    for batch in batches {
        assert!(disk.writer.encode(&batch).is_err(), "{batch:?} was taken");
        assert_eq!(disk.writer, before);
    }
}

#[test]
fn a_reset_begins_the_log_after_a_snapshot() {
    let mut disk = Disk::new();
    disk.entries(1, 1..=3);
    disk.append(&WriteBatch {
        reset: Some((LogIndex(90), Term(4))),
        entries: &entries(4, 91..=92),
        ..WriteBatch::default()
    });
    let found = disk.recover().unwrap();
    assert_eq!(found.writer.map().base_index(), LogIndex(90));
    assert_eq!(last(&found), (92, 4));
}
