//! Helpers of the tests.

pub mod fuzz;
