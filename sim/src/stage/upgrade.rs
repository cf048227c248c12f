//! An operator replaces the program of a cluster, node by node: forward, and in
//! some runs back and forward again, and in some an old program is started by
//! mistake when the cluster has gone on. Meanwhile messages are real bytes, some
//! of which are damaged, go astray, or come again on a later connection.

use precentor_core::event::Event;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::NodeId;
use precentor_core::message::Message;
use precentor_core::wire::message::decode;

use super::{Happening, Stage};
use crate::check::{Checker, Verdict, ensure};
use crate::chronicle::Lane;
use crate::marks::Mark;
use crate::network::{Place, lane};
use crate::scenario::UpgradeOptions;
use crate::tape::Domain;
use crate::wires::{Letter, Program, Refused};

/// How long the operator waits for the level before the next look.
const LOOK_US: u64 = 200_000;
/// The same of one who errs as soon as some node has it: the others may not even
/// know that it is committed.
const HASTY_LOOK_US: u64 = 2_000;

/// What the operator does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The `nth` replacement of the plan.
    Replace { nth: usize },
    /// All programs are new: the level must rise.
    Watch {
        /// Nothing is left to do wrong.
        erred: bool,
    },
    /// An old program is started by mistake, and soon replaced again.
    Mistake { place: Place },
    /// The right one is put back.
    Correct { place: Place },
}

/// The replacements in order. Back goes only what went forward, and never all:
/// the level must not have been raised in between.
fn plan(options: UpgradeOptions, nodes: usize) -> Vec<(Place, Program)> {
    let order = |nth: usize| (nth + options.first) % nodes;
    let forth = |count: usize| (0..count).map(move |nth| (order(nth), Program::NEW));
    let back = options.back.min(nodes - 1);
    let mut plan: Vec<_> = forth(back).collect();
    plan.extend((0..back).rev().map(|nth| (order(nth), Program::OLD)));
    plan.extend(forth(nodes));
    plan
}

impl Stage {
    pub(super) fn begin_upgrade(&mut self) {
        if let Some(upgrade) = self.scenario.upgrade {
            let begin = Happening::Upgrade(Step::Replace { nth: 0 });
            self.agenda.put(upgrade.at_us, begin);
        }
    }

    pub(super) fn on_upgrade(&mut self, step: Step) {
        let Some(upgrade) = self.scenario.upgrade else {
            return;
        };
        let (in_us, next) = match step {
            Step::Replace { nth } => {
                let plan = plan(upgrade, self.scenario.nodes);
                let (place, program) = plan[nth];
                if program == Program::OLD {
                    self.marks.hit(Mark::RolledBack);
                }
                self.replace(place, program);
                let next = match nth + 1 < plan.len() {
                    true => Step::Replace { nth: nth + 1 },
                    false => Step::Watch { erred: false },
                };
                (upgrade.gap_us, next)
            }
            Step::Watch { erred } => {
                let mistake = upgrade.mistake.filter(|_| !erred && !self.healed);
                // The time between two steps says what kind of operator it is.
                let is_hasty = mistake.is_some() && upgrade.gap_us.is_multiple_of(2);
                match mistake {
                    _ if !self.is_level_raised(is_hasty) => {
                        (if is_hasty { HASTY_LOOK_US } else { LOOK_US }, step)
                    }
                    Some(place) if is_hasty => (0, Step::Mistake { place }),
                    Some(place) => (upgrade.gap_us, Step::Mistake { place }),
                    None => {
                        self.marks.hit(Mark::UpgradeReachedLevel);
                        self.upgraded = true;
                        return;
                    }
                }
            }
            Step::Mistake { place } => {
                self.checks.levels.on_mistake(place, true);
                self.replace(place, Program::OLD);
                (upgrade.gap_us, Step::Correct { place })
            }
            Step::Correct { place } => {
                self.checks.levels.on_mistake(place, false);
                self.replace(place, Program::NEW);
                (upgrade.gap_us, Step::Watch { erred: true })
            }
        };
        self.agenda
            .put(self.now_us + in_us, Happening::Upgrade(next));
    }

    fn replace(&mut self, place: Place, program: Program) {
        self.tell_deed(Lane::Node(place), || {
            format!("gets a program of {}", program.supports)
        });
        self.wires.install(place, program);
        self.checks.levels.on_program(place, program.supports);
        // A node that is down comes back with it.
        self.stop(place);
    }

    /// Is the level in force at all nodes, or at some?
    fn is_level_raised(&self, at_some: bool) -> bool {
        let mut machines = self.machines.iter().map(|machine| {
            let driver = machine.driver.as_ref();
            driver.is_some_and(|driver| driver.view().queue().level() == FeatureLevel::LATEST)
        });
        match at_some {
            true => machines.any(|is_raised| is_raised),
            false => machines.all(|is_raised| is_raised),
        }
    }

    /// The two ends of a new connection introduce themselves. False if one hangs up.
    pub(super) fn greet(&mut self, a: Place, b: Place) -> bool {
        let level = |place: Place| {
            let driver = self.machines[place].driver.as_ref();
            driver.map(|driver| (place, driver.view().queue().level()))
        };
        let (Some(here), Some(there)) = (level(a), level(b)) else {
            return false;
        };
        if let Err(error) = self.wires.greet(here, there) {
            self.tell_fault(Lane::World, || format!("no connection: {error}"));
            self.marks.hit(Mark::HelloRefused);
            return false;
        }
        let supports = |place: Place| self.wires.program(place).supports;
        if supports(a) != supports(b) {
            self.marks.hit(Mark::ProgramsMixed);
        }
        self.replay_kept(a, b);
        self.replay_kept(b, a);
        true
    }

    /// What was kept of an earlier connection comes on this one.
    fn replay_kept(&mut self, from: Place, to: Place) {
        if !self.wires.is_sealed(from, to) {
            return;
        }
        if let Some(letter) = self.wires.take_kept(from, to) {
            self.post(self.now_us + 1_000, from, to, letter);
        }
    }

    fn post(&mut self, at_us: u64, from: Place, to: Place, letter: Letter) {
        let generation = self.network.generation(from, to);
        let letter = Box::new(letter);
        self.agenda.put(
            at_us,
            Happening::Letter {
                from,
                to,
                generation,
                letter,
            },
        );
    }

    /// Sends a message in its bytes, where a program is being replaced.
    pub(super) fn write_letter(&mut self, from: Place, to: Place, message: Message) {
        let Some(upgrade) = self.scenario.upgrade else {
            return;
        };
        // Its words are of use after its bytes are made of it, if somebody listens.
        let told = self.trace.chronicle().map(|_| message.clone());
        let Some(letter) = self.wires.write(from, to, message) else {
            return;
        };
        let arrivals = self.network.send(from, to, self.now_us, &mut self.tape);
        if let Some(message) = told {
            self.chronicle_message(from, to, &arrivals, &message);
        }
        if let Some(at_us) = arrivals.second_us {
            self.post(at_us, from, to, letter.clone());
        }
        let Some(at_us) = arrivals.first_us else {
            return;
        };
        let way = lane(from, to);
        if self.wires.is_sealed(from, to) {
            if self
                .tape
                .fault(Domain::WireReplay, way, upgrade.replay_ppm)
                .is_some()
            {
                self.wires.keep(from, to, &letter);
            }
            if let Some(mut roll) = self.tape.fault(Domain::WireStray, way, upgrade.stray_ppm) {
                let stray = roll.below(self.scenario.nodes as u64) as usize;
                // At the sender itself, or over a connection without seals, nothing
                // could tell that it went astray: TCP does not do that.
                if stray != from && stray != to && self.wires.is_sealed(from, stray) {
                    self.post(at_us, from, stray, letter.clone());
                }
            }
        }
        let mut letter = letter;
        if let Some(mut roll) = self.tape.fault(Domain::WireDamage, way, upgrade.damage_ppm) {
            let at = roll.below(letter.bytes.len() as u64) as usize;
            if roll.chance(300_000) {
                letter.bytes.truncate(at);
            } else {
                letter.bytes[at] ^= 1 << roll.below(8);
            }
            // Behind the checksum too no bytes may do harm, whatever they decode to.
            let _ = decode(letter.bytes.get(8..).unwrap_or_default(), letter.version);
        }
        self.post(at_us, from, to, letter);
    }

    /// A letter arrives, and is opened as its receiver agreed to.
    pub(super) fn on_letter(
        &mut self,
        from: Place,
        to: Place,
        generation: u32,
        letter: Letter,
    ) -> Verdict {
        if !self.gets_through(from, to, generation) {
            return Ok(());
        }
        let current = self.is_current(from, to, generation);
        match self.wires.open(from, to, &letter) {
            Ok(message) => {
                ensure(message == letter.message, Checker::Wire, || {
                    format!(
                        "{:?} came back from its bytes as {message:?}",
                        letter.message
                    )
                })?;
                let from = NodeId(from as u64 + 1);
                self.deliver(to, Event::Peer { from, message });
            }
            Err(refused) => {
                // Whoever sends what was agreed on is understood, unless it was damaged.
                let versions = self.wires.program(to).versions;
                let spoken = versions.min <= letter.version && letter.version <= versions.max;
                let agreed = self.wires.agreement(to, from);
                let agreed = agreed.is_none_or(|agreed| agreed.version == letter.version);
                ensure(!current || spoken && agreed, Checker::AgreedWire, || {
                    format!(
                        "n{} sent wire version {} to n{}, which speaks {versions}",
                        from + 1,
                        letter.version,
                        to + 1
                    )
                })?;
                // What is late does not come over the connection that is open now.
                self.refuse(from, to, refused, current);
            }
        }
        Ok(())
    }

    /// The receiver hangs up on bytes that it must not take, as a real one does.
    fn refuse(&mut self, from: Place, to: Place, refused: Refused, current: bool) {
        self.tell_fault(Lane::Node(to), || {
            format!("hangs up on n{}: {refused:?}", from + 1)
        });
        self.marks.hit(match refused {
            Refused::Frame | Refused::Message => Mark::FrameRefused,
            Refused::Cut => Mark::FrameCut,
        });
        if current && self.network.close(from, to) {
            self.tell_connected(from, to, false);
            self.tell_connected(to, from, false);
            self.dial(from, to, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_never_goes_back_from_all_and_ends_with_all() {
        for (nodes, back) in [(1, 0), (1, 3), (3, 0), (3, 2), (3, 9), (5, 2)] {
            let options = UpgradeOptions {
                first: 1,
                back,
                ..UpgradeOptions::default()
            };
            let mut programs = vec![Program::OLD; nodes];
            for (place, program) in plan(options, nodes) {
                let all = programs.iter().all(|program| *program == Program::NEW);
                assert!(!all || program == Program::NEW, "back from all");
                programs[place] = program;
            }
            assert_eq!(programs, vec![Program::NEW; nodes]);
        }
    }
}
