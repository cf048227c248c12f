//! Hosts under test.

pub(crate) mod node;
pub(crate) mod sim;
