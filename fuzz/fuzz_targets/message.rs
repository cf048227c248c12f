//! Messages of a peer, in either version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| precentor_fuzz::targets::peer_message(data));
