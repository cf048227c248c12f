//! Segment files of a log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| precentor_fuzz::targets::recovery(data));
