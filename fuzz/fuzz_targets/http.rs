//! What a client sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    precentor_fuzz::http::http(data);
});
