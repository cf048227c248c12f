//! The functions that ordinary tests replay, without the crates that those
//! tests need besides: a fuzzer is built with instrumentation, from nothing.

#[path = "../../tests/src/fuzz.rs"]
pub mod targets;
