//! One simulated machine: its clock, disk, inbox, and the process on it that
//! drives the core, as long as it lives.

use precentor_core::action::Action;
use precentor_core::driver::{Driver, Host};
use precentor_core::event::Event;

use crate::clock::Clock;
use crate::disk::Disk;

/// Takes a turn's actions down, to be performed one by one.
#[derive(Debug, Default)]
pub struct Notebook(pub Vec<Action>);

impl Host for Notebook {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The process; none while it is down.
    pub driver: Option<Box<Driver>>,
    /// How long the last one that stopped waited for its leader, at the most.
    pub patience_left_us: u64,
    /// Counts the process's lives: what was meant for an earlier one is lost.
    pub life: u32,
    /// What waits to be taken.
    pub inbox: Vec<Event>,
    /// A turn is on the agenda.
    pub turn_due: bool,
    /// The process stands still until then.
    pub paused_until_us: u64,
    /// When it is to be woken, if it is.
    pub wake_us: Option<u64>,
    /// Its clocks.
    pub clock: Clock,
}

impl Machine {
    /// A machine that was not started yet.
    #[must_use]
    pub fn new() -> Machine {
        Machine {
            driver: None,
            patience_left_us: 0,
            life: 0,
            inbox: Vec::new(),
            turn_due: false,
            paused_until_us: 0,
            wake_us: None,
            clock: Clock::start(0, 0, 1_000_000, 0),
        }
    }

    /// The process is gone, and all that it had in memory.
    pub fn stop(&mut self) {
        if let Some(driver) = self.driver.take() {
            self.patience_left_us = driver.view().election_timeout().1.0;
        }
        self.life += 1;
        self.inbox.clear();
        self.turn_due = false;
        self.paused_until_us = 0;
        self.wake_us = None;
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

/// All disks of a cluster: they outlive the processes.
pub type Disks = Vec<Disk>;
