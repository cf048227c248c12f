//! The simulator: drives the same core as production through partitions,
//! crashes and disk faults in virtual time, and judges every turn. A run is a
//! pure function of its seed (and, in a build that has them, of the planted
//! bug). Read `scenario`, then `stage`, then `check`.

pub mod agenda;
pub mod campaign;
pub mod check;
pub mod chronicle;
pub mod clock;
pub mod core_clock;
pub mod desk;
pub mod disk;
pub mod host;
pub mod marks;
pub mod network;
pub mod operator;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod readings;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod sightings;
pub mod stage;
pub mod tape;
pub mod timeline;
pub mod topology;
pub mod trace;
pub mod wires;
pub mod workers;
pub mod workload;
