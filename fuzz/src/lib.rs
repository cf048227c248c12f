//! The functions that ordinary tests replay, without the crates that those tests need
//! besides: a fuzzer is built with instrumentation, from nothing. What needs more than the
//! core is built when it is asked for.

#[path = "../../tests/src/fuzz.rs"]
pub mod targets;

#[cfg(feature = "http")]
#[path = "../../tests/src/fuzz_http.rs"]
pub mod http;
#[cfg(feature = "tape")]
#[path = "../../tests/src/fuzz_tape.rs"]
pub mod tape;
