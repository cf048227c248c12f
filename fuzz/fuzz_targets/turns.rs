//! What happens to one node.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    precentor_fuzz::targets::turns(data);
});
