//! What a peer says first.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| precentor_fuzz::targets::hello(data));
