//! Every order of everything, up to a depth. The real core is searched, three
//! nodes of it and no model: breadth first over all arrivals, losses,
//! duplicates, timeouts, completed writes, losses of power, restarts and
//! proposals, with every rule judged in every world.
//!
//! A world is three nodes (each the core, its disk and its clock), the messages
//! on their way, and what judges remember. Any message on its way may arrive
//! next, at once, late or never: a loss needs no choice of its own, because what
//! never arrives is lost. A turn takes one event. Time passes at one node alone,
//! to its deadline or, for a follower, so long that it trusts its leader no more.
//!
//! What makes it fast, and why it may: [`tables`] and [`portrait`]. What is
//! searched: [`plan`] and [`starts`]. What must hold: [`rules`].
//!
//! What it does not know: more than three nodes, snapshots, workers and jobs,
//! disks that lie. Those are the simulator's.

mod disk;
mod fold;
mod known;
mod local;
mod plan;
mod portrait;
mod rules;
mod search;
mod starts;
mod state;
mod tables;
mod walk;

pub use plan::{PLANS, Plan};
pub use rules::{Broken, Rule};
pub use search::{Bounds, End, Finding, Level, Report, check_names, replay, search};
pub use starts::Start;
pub use state::Budget;
