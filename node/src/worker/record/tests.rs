use precentor_core::address::Address;
use precentor_core::context::{
    ContextKind, LineRange, Provenance, SliceDigest, Symbol, SymbolKind, Visibility,
};
use precentor_core::digest::Digest;

use super::*;

fn record(symbols: u32) -> ContextRecord {
    let uri = Address::parse("ucxl://p/a.rs").expect("good");
    let provenance = Provenance {
        generator: "test".to_owned(),
        version: 1,
    };
    let mut record = ContextRecord::new(uri, ContextKind::File, Digest::of(b"a"), provenance);
    let symbol = |number: u32| Symbol {
        name: format!("symbol_{number}"),
        kind: SymbolKind::Function,
        visibility: Visibility::Public,
        // Text that does not compress.
        signature: Digest::of(&number.to_le_bytes()).to_string(),
        doc: String::new(),
        range: LineRange {
            start: number,
            end: number,
        },
        parent: String::new(),
        digest: SliceDigest::of(&number.to_le_bytes()),
        rank: number % 7,
    };
    record.symbols = (1..=symbols).map(symbol).collect();
    record
}

#[test]
fn a_record_reads_back_as_it_was() {
    for symbols in [0, 1, 500] {
        let record = record(symbols);
        assert_eq!(decode(&encode(&record)), Ok(record));
    }
}

#[test]
fn a_large_record_loses_its_least_symbols_and_says_so() {
    let whole = record(9_000);
    let bytes = encode(&whole);
    assert!(
        bytes.len() as u64 <= RESULT_BYTES_MAX,
        "{} bytes",
        bytes.len()
    );
    let short = decode(&bytes).expect("a record");
    assert!(
        short.symbols.len() > 1_000,
        "{} symbols left",
        short.symbols.len()
    );
    let dropped = whole.symbols.len() - short.symbols.len();
    assert!(dropped > 0);
    assert!(
        short.warnings[0].contains(&format!("{dropped} symbols")),
        "{:?}",
        short.warnings
    );
    let least = short
        .symbols
        .iter()
        .map(|symbol| symbol.rank)
        .min()
        .expect("some");
    let above = |record: &ContextRecord| {
        record
            .symbols
            .iter()
            .filter(|symbol| symbol.rank > least)
            .count()
    };
    assert_eq!(
        above(&short),
        above(&whole),
        "a symbol of higher rank was dropped"
    );
    assert!(short.symbols.is_sorted_by_key(|symbol| symbol.range.start));
}

#[test]
fn even_a_tiny_limit_gives_a_record_that_says_why_it_is_empty() {
    let short = decode(&encode_within(&record(100), 10)).expect("a record");
    assert!(short.symbols.is_empty());
    assert!(
        short.warnings[0].contains("does not fit"),
        "{:?}",
        short.warnings
    );
}

#[test]
fn damaged_bytes_are_refused_with_the_reason() {
    let good = encode(&record(20));
    assert_eq!(decode(&[]), Err(RecordError::TooShort { found: 0 }));
    let mut other = good.clone();
    other[0] = 9;
    assert_eq!(decode(&other), Err(RecordError::OtherFormat { found: 9 }));
    let mut huge = good.clone();
    huge[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decode(&huge),
        Err(RecordError::TooLarge {
            found: u64::from(u32::MAX)
        })
    );
    for length in 0..good.len() {
        assert!(decode(&good[..length]).is_err(), "cut to {length} bytes");
    }
    // A changed byte inside may still be a record, but must never panic.
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let _ = decode(&bytes);
    }
}
