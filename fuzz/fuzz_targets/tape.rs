//! Which faults happen in a world.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| precentor_fuzz::tape::tape(data));
