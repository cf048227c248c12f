//! The part of a node that makes records: engines, and the form in which their
//! records are stored. Knows nothing of the cluster that asks for them.

pub mod engine;
pub mod exec;
pub mod local;
pub mod openai;
pub mod outline;
pub mod reading;
pub mod record;
mod words;
