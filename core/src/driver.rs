//! The only door to the core. Production and simulation run this same loop.
//!
//! The contract of a host:
//!
//! 1. It calls [`Driver::turn`] with what happened, and with no events when
//!    [`Driver::deadline`] has come.
//! 2. Time never goes backwards.
//! 3. It performs every action of a turn, in any order, except writes among
//!    themselves; it may lose a `Say`, and nothing else. Parts of a snapshot are
//!    performed in the order of the turns that gave them, and the last one after
//!    every body of an earlier turn.
//! 4. It reports a write as durable only when it and all before it survive a
//!    loss of power, and reports a failed one as failed, once, for ever.
//!    Requests that are kept for clients may be written and dropped in any order.
//!    [`Action::Work`] it does beside the turns, for it may take a minute.
//! 5. After `Halt`, and after a failed write, it performs nothing more.
//! 6. A start gets what the disk holds: everything that was reported durable,
//!    and of the rest any prefix. Of snapshots it gets one that was whole: the
//!    last that was reported saved, or a later one; never a beginning. Of clients'
//!    requests it gets all that were reported kept and not to be dropped. What was
//!    durable and is damaged is told in the hard state
//!    ([`crate::entry::HardState::repairing`]) before anything is written behind it.

use crate::action::{Action, Violation};
use crate::config::Config;
use crate::event::{Event, Now};
use crate::manager::ContextManager;
pub use crate::manager::{Kept, RecoverError, Recovered};
use crate::time::Time;
use crate::view::View;

/// What carries out actions.
pub trait Host {
    /// Carries out one action, or sees to it that it is carried out.
    fn perform(&mut self, action: Action);
}

/// One node.
#[derive(Clone, Debug)]
pub struct Driver {
    manager: ContextManager,
    actions: Vec<Action>,
}

impl Driver {
    /// A node that starts with what its disk holds.
    ///
    /// # Errors
    /// If the configuration is none, or the disk's content is no node's.
    pub fn recover(config: Config, recovered: Recovered, now: Now) -> Result<Driver, RecoverError> {
        let manager = ContextManager::recover(config, recovered, now)?;
        Ok(Driver {
            manager,
            actions: Vec::new(),
        })
    }

    /// Takes in events in order, then settles once: what they cause together
    /// is one write and one round of messages.
    pub fn turn(
        &mut self,
        now: Now,
        events: impl IntoIterator<Item = Event>,
        host: &mut impl Host,
    ) {
        if self.manager.halted().is_some() {
            return;
        }
        self.manager.begin(now);
        for event in events {
            self.manager.step(now, event);
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.manager.settle(now, &mut actions);
        for action in actions.drain(..) {
            host.perform(action);
        }
        self.actions = actions;
    }

    /// When a turn is due even if nothing happens; none once it has halted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.manager
            .halted()
            .is_none()
            .then(|| self.manager.deadline())
    }

    /// Was the node told to end, by [`crate::event::Order::Stop`], and has
    /// nothing left to wait for? A turn is due at [`Driver::ends_by`] at the latest.
    #[must_use]
    pub fn may_end(&self, now: Time) -> bool {
        self.manager.may_end(now)
    }

    /// When a node that was told to end may do so at the latest.
    #[must_use]
    pub fn ends_by(&self) -> Option<Time> {
        self.manager.ends_by()
    }

    /// The node, to be looked at.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View(&self.manager)
    }

    /// Why it speaks no more, if it does not.
    #[must_use]
    pub fn halted(&self) -> Option<&Violation> {
        self.manager.halted()
    }
}

#[cfg(test)]
mod tests;
