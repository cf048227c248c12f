//! A process starts: with the clocks and the disk of its machine, and with
//! connections to make.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precentor_core::config::Config;
use precentor_core::digest::Digest;
use precentor_core::driver::{Driver, RecoverError};
use precentor_core::event::Event;
use precentor_core::ids::{Incarnation, NodeId};

use super::{Happening, Stage, panic_text};
use crate::check::{Checker, Failure, Verdict};
use crate::chronicle::Lane;
use crate::clock::Clock;
use crate::marks::Mark;
use crate::network::Place;
use crate::tape::Domain;
use crate::wires::CLUSTER;

impl Stage {
    pub(super) fn start(&mut self, place: Place) -> Verdict {
        let mut roll = self.tape.roll(Domain::Clock, place as u32);
        let drift = self.scenario.drift;
        let rate = 1_000_000 - drift + roll.below(2 * drift + 1);
        if drift > 0 && !self.healed {
            self.tape.count(Domain::ClockDrift);
        }
        let wall_ms = roll.below(self.scenario.wall_ms_max + 1);
        let clock = Clock::start(self.now_us, roll.below(1_000_000_000), rate, wall_ms);
        let life = self.machines[place].life;
        let seed = self.tape.roll(Domain::Seed, place as u32).bits();
        // Whoever was not there at the founding, or lost what it had, has to be told.
        let founders = match place < self.scenario.nodes && self.disks[place].is_first() {
            true => (1..=self.scenario.nodes as u64).map(NodeId).collect(),
            false => Vec::new(),
        };
        #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
        let mut config = Config::new(CLUSTER, NodeId(place as u64 + 1), founders, seed);
        if self.operator.is_some() {
            config.incarnation = Incarnation(self.disks[place].incarnation());
        }
        config.knobs = self.scenario.knobs;
        config.supports = self.wires.program(place).supports;
        #[cfg(feature = "planted-bugs")]
        {
            config.planted = self.planted;
        }
        if let Some(damage) = self.disks[place].damage() {
            return Err(Failure {
                checker: Checker::RecordFormat,
                text: format!("n{}: {damage}", place + 1),
            });
        }
        let recovered = self.disks[place].recover();
        if recovered.snapshot.is_some() {
            self.marks.hit(Mark::RecoveredFromSnapshot);
        }
        self.tell_fault(Lane::Node(place), || "starts".to_owned());
        self.chronicle_up(place);
        let now = clock.now(self.now_us);
        let started = catch_unwind(AssertUnwindSafe(|| Driver::recover(config, recovered, now)));
        let driver = match started {
            Ok(Ok(driver)) => driver,
            // Damage took it back to when it was alone. It is no member any more:
            // whoever wants it again gives it another disk.
            Ok(Err(RecoverError::NobodyToRepairFrom { .. })) if !self.is_member(place) => {
                return Ok(());
            }
            Ok(Err(RecoverError::LevelBeyondProgram { .. }))
                if self.checks.levels.may_refuse_to_start(place) =>
            {
                // It is tried again, until the operator has put the right one in place.
                self.marks.hit(Mark::OldProgramHalted);
                let again = Happening::Start { place, life };
                self.agenda.put(self.now_us + 50_000, again);
                return Ok(());
            }
            Ok(Err(error)) => {
                return Err(Failure {
                    checker: Checker::CoreAssertion,
                    text: format!("n{} cannot start: {error}", place + 1),
                });
            }
            Err(panic) => {
                return Err(Failure {
                    checker: Checker::CoreAssertion,
                    text: format!(
                        "n{} panicked at its start: {}",
                        place + 1,
                        panic_text(&*panic)
                    ),
                });
            }
        };
        // Not all that went before a crash was dropped.
        let state = driver.view();
        let is_spoken_of = |digest: &Digest| state.queue().has_source(digest);
        self.disks[place].shelf.keep_sources(is_spoken_of);
        // What survivors have written since, the judges did not see.
        if !self.disaster.has_struck() {
            self.checks
                .on_recovered(place, &driver.view(), &self.disks)?;
        }
        self.checks
            .local
            .on_recovered(place, &driver.view(), &mut self.marks)?;
        let machine = &mut self.machines[place];
        machine.driver = Some(Box::new(driver));
        // Whoever stopped a process stopped the one before.
        machine.paused_until_us = 0;
        machine.clock = clock;
        debug_assert_eq!(machine.life, life);
        machine.inbox.push(Event::Wake);
        machine.turn_due = true;
        self.agenda
            .put(self.now_us, Happening::Turn { place, life });
        for peer in 0..self.machines.len() {
            self.network.tell(place, peer, false);
            if peer != place {
                self.dial(place, peer, 0);
            }
        }
        Ok(())
    }
}
