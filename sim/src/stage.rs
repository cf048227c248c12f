//! The cluster, its clients and its workers under one agenda. Runs one
//! scenario: chaos first, then everything heals and must come to its end.
//! Moves things and asks the judges; decides nothing about right and wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precentor_core::event::Event;
use precentor_core::ids::Ticket;
use precentor_core::message::Message;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::status::RoleName;

use crate::agenda::Agenda;
use crate::check::topology::Seen;
use crate::check::{Checker, Checks, Failure, Moment, Verdict, ensure};
use crate::chronicle::{Lane, Sort};
use crate::desk::{Errand, lane_of_client, lane_of_worker};
use crate::disk::Disk;
use crate::host::{Disks, Machine, Notebook};
use crate::marks::Marks;
use crate::network::{Network, Place};
use crate::operator::Operator;
use crate::scenario::Scenario;
use crate::sightings::Sighting;
use crate::tape::{Domain, Tape};
use crate::trace::Trace;
use crate::wires::{Letter, Program, Wires};
use crate::workers::Worker;
use crate::workload::{Client, Tree};

mod actors;
mod disaster;
mod hangs;
mod nemesis;
mod operator;
mod perform;
mod rehearsal;
mod start;
mod telling;
mod topology;
mod upgrade;

use self::telling::panic_text;

/// Which planted bug a run has, in a build that has them.
#[cfg(feature = "planted-bugs")]
pub type Planted = Option<precentor_core::planted::Bug>;
/// A build without planted bugs has none to choose.
#[cfg(not(feature = "planted-bugs"))]
pub type Planted = Option<std::convert::Infallible>;

/// What is on the agenda.
#[derive(Debug)]
enum Happening {
    Turn {
        place: Place,
        life: u32,
    },
    Wake {
        place: Place,
        life: u32,
        at_us: u64,
    },
    Arrive {
        from: Place,
        to: Place,
        generation: u32,
        message: Message,
    },
    Letter {
        from: Place,
        to: Place,
        generation: u32,
        letter: Box<Letter>,
    },
    Connect {
        a: Place,
        b: Place,
    },
    Hangup {
        place: Place,
        life: u32,
        peer: Place,
    },
    Synced {
        place: Place,
        life: u32,
    },
    SyncFailed {
        place: Place,
        life: u32,
        write: precentor_core::ids::WriteId,
    },
    Saved {
        place: Place,
        life: u32,
    },
    Installed {
        place: Place,
        life: u32,
    },
    Report {
        place: Place,
        life: u32,
        event: Event,
    },
    Ask {
        place: Place,
        ticket: Ticket,
        principal: Principal,
        request: Request,
    },
    Tell {
        ticket: Ticket,
        reply: Reply,
    },
    Alarm {
        lane: u32,
        alarm: u64,
    },
    Start {
        place: Place,
        life: u32,
    },
    Resume {
        place: Place,
        life: u32,
    },
    Nemesis(nemesis::Kind),
    Walls(nemesis::Walls),
    Topology(topology::Act),
    LoseDisk,
    Disaster(disaster::Step),
    Upgrade(upgrade::Step),
    Heal,
    Judge(nemesis::Progress),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What was wrong, if anything.
    pub failure: Option<Failure>,
    /// Events that the cores took.
    pub events: u64,
    /// Steps of the agenda.
    pub steps: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Entries that were committed.
    pub committed: u64,
    /// The faults that happened.
    pub tape: Tape,
    /// What was reached.
    pub marks: Marks,
    /// What was seen of a shape that was put up, if one was.
    pub sighting: Option<Sighting>,
    /// The hash and story.
    pub trace: Trace,
}

/// The whole simulated world.
#[derive(Debug)]
pub struct Stage {
    scenario: Scenario,
    #[cfg_attr(not(feature = "planted-bugs"), allow(dead_code))]
    planted: Planted,
    now_us: u64,
    agenda: Agenda<Happening>,
    machines: Vec<Machine>,
    disks: Disks,
    network: Network,
    wires: Wires,
    clients: Vec<Client>,
    workers: Vec<Worker>,
    tree: Tree,
    operator: Option<Operator>,
    tape: Tape,
    checks: Checks,
    marks: Marks,
    trace: Trace,
    notebook: Notebook,
    errands: Vec<Errand>,
    events: u64,
    steps: u64,
    messages: u64,
    healed: bool,
    content: bool,
    /// The operator has replaced all programs.
    upgraded: bool,
    standing: topology::Standing,
    disaster: disaster::Disaster,
    /// Counts how often all walls fell at once.
    era: u32,
    /// Who was woken last, when, and how often at that moment.
    woken: (Place, u64),
    spins: u32,
    /// When a leader served last, or none could, for one.
    seen: hangs::Seen,
}

/// A deadline that is still due after so many turns would burn a real host's core.
const SPINS_MAX: u32 = 100;

impl Stage {
    /// A world as a seed draws it.
    #[must_use]
    pub fn new(scenario: Scenario, mut tape: Tape, planted: Planted, trace: Trace) -> Stage {
        let count = scenario.machines();
        let network = Network::new(count, scenario.network, &mut tape);
        let disks = (0..count)
            .map(|place| {
                let mut options = scenario.disk;
                if let Some((slow, factor)) = scenario.slow_disk
                    && slow == place
                {
                    options.sync_us_min *= factor;
                    options.sync_us_max *= factor;
                }
                #[cfg_attr(not(feature = "planted-bugs"), allow(unused_mut))]
                let mut disk = Disk::new(options, place as u32);
                #[cfg(feature = "planted-bugs")]
                disk.plant(planted);
                disk
            })
            .collect();
        let (knobs, two_engines) = (scenario.knobs, scenario.workers.two_engines);
        let program = match scenario.upgrade {
            Some(_) => Program::OLD,
            None => Program::NEW,
        };
        let mut checks = Checks::new(count, scenario.nodes, &knobs);
        (0..count).for_each(|place| checks.levels.on_program(place, program.supports));
        Stage {
            wires: Wires::new(count, program, ignores_agreements(planted)),
            planted,
            now_us: 0,
            agenda: Agenda::default(),
            machines: vec![Machine::new(); count],
            disks,
            network,
            clients: (0..scenario.clients.count)
                .map(|n| Client::new(lane_of_client(n), scenario.clients, two_engines))
                .collect(),
            workers: (0..scenario.workers.count)
                .map(|n| Worker::new(n as u64, scenario.workers, knobs.worker_poll_ms))
                .collect(),
            tree: Tree::default(),
            operator: scenario.operator.map(Operator::new),
            tape,
            checks,
            marks: Marks::default(),
            trace,
            notebook: Notebook::default(),
            errands: Vec::new(),
            events: 0,
            steps: 0,
            messages: 0,
            healed: false,
            content: false,
            upgraded: false,
            standing: topology::Standing::default(),
            disaster: disaster::Disaster::default(),
            era: 0,
            woken: (0, 0),
            spins: 0,
            seen: hangs::Seen::default(),
            scenario,
        }
    }

    /// Runs to the end, or to the first failure.
    #[must_use]
    pub fn run(mut self) -> Ending {
        let failure = self.play().err();
        (0..self.machines.len()).for_each(|place| self.mark_life(place));
        if let Some(failure) = &failure {
            self.trace
                .tell(self.now_us, Lane::World, Sort::Failure, || {
                    failure.to_string()
                });
        }
        Ending {
            failure,
            events: self.events,
            steps: self.steps,
            virtual_us: self.now_us,
            committed: self.checks.logs.committed().0,
            tape: self.tape,
            marks: self.marks,
            sighting: self.standing.sighting,
            trace: self.trace,
        }
    }

    fn play(&mut self) -> Verdict {
        for place in 0..self.machines.len() {
            self.agenda
                .put(place as u64 * 1_000, Happening::Start { place, life: 0 });
        }
        for lane in (0..self.clients.len()).map(lane_of_client) {
            let first = Happening::Alarm { lane, alarm: 0 };
            self.agenda.put(5_000 + u64::from(lane) * 977, first);
        }
        for lane in (0..self.workers.len()).map(lane_of_worker) {
            let first = Happening::Alarm { lane, alarm: 0 };
            self.agenda.put(3_000 + u64::from(lane) * 877, first);
        }
        self.summon_nemesis();
        self.summon_operator();
        self.begin_upgrade();
        self.foresee_disaster();
        self.agenda.put(self.scenario.chaos_us, Happening::Heal);
        while let Some((at_us, happening)) = self.agenda.pop() {
            self.now_us = at_us;
            self.steps += 1;
            self.trace.fold(at_us);
            self.happen(happening)?;
            self.trace.step();
            if self.content {
                break;
            }
        }
        self.rehearse()
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        match happening {
            Happening::Turn { place, life } => {
                if self.lives(place, life) && !self.is_paused(place) {
                    self.machines[place].turn_due = false;
                    return self.turn(place);
                }
                Ok(())
            }
            Happening::Wake { place, life, at_us } => {
                let machine = &mut self.machines[place];
                if machine.life != life || machine.wake_us != Some(at_us) {
                    return Ok(());
                }
                machine.wake_us = None;
                if self.is_paused(place) || self.machines[place].turn_due {
                    return Ok(());
                }
                let now = self.machines[place].clock.now(self.now_us).time;
                let due = self.machines[place]
                    .driver
                    .as_ref()
                    .and_then(|driver| driver.deadline());
                if due.is_some_and(|due| due <= now) {
                    self.spins = if self.woken == (place, self.now_us) {
                        self.spins + 1
                    } else {
                        0
                    };
                    self.woken = (place, self.now_us);
                    ensure(self.spins < SPINS_MAX, Checker::Spinning, || {
                        format!(
                            "n{} was woken {SPINS_MAX} times at {now:?} for {due:?}, which does not move",
                            place + 1
                        )
                    })?;
                    self.machines[place].inbox.push(Event::Wake);
                    return self.turn(place);
                }
                self.set_alarm(place);
                Ok(())
            }
            Happening::Arrive {
                from,
                to,
                generation,
                message,
            } => self.arrive(from, to, generation, message),
            Happening::Letter {
                from,
                to,
                generation,
                letter,
            } => self.on_letter(from, to, generation, *letter),
            Happening::Connect { a, b } => {
                self.connect(a, b);
                Ok(())
            }
            Happening::Hangup { place, life, peer } => {
                if self.lives(place, life) && !self.network.is_open(place, peer) {
                    self.tell_connected(place, peer, false);
                }
                Ok(())
            }
            Happening::Synced { place, life } => {
                if self.machines[place].life == life
                    && let Some(write) = self.disks[place].complete(self.now_us)
                {
                    self.deliver(place, Event::Durable { write });
                }
                Ok(())
            }
            Happening::SyncFailed { place, life, write } => {
                if self.machines[place].life == life {
                    self.deliver(place, Event::WriteFailed { write });
                }
                Ok(())
            }
            Happening::Saved { place, life } => {
                self.saved(place, life);
                Ok(())
            }
            Happening::Installed { place, life } => {
                self.installed(place, life);
                Ok(())
            }
            Happening::Report { place, life, event } => {
                self.reported(place, life, event);
                Ok(())
            }
            Happening::Ask {
                place,
                ticket,
                principal,
                request,
            } => {
                self.deliver(
                    place,
                    Event::Client {
                        ticket,
                        principal,
                        request,
                    },
                );
                Ok(())
            }
            Happening::Tell { ticket, reply } => self.on_reply(ticket, reply),
            Happening::Alarm { lane, alarm } => {
                self.on_alarm(lane, alarm);
                Ok(())
            }
            Happening::Start { place, life } if self.standing.is_frozen() => {
                self.agenda
                    .put(self.now_us + 10_000, Happening::Start { place, life });
                Ok(())
            }
            Happening::Start { place, life } => {
                let machine = &self.machines[place];
                let is_gone = self.disaster.took(place);
                if machine.life == life && machine.driver.is_none() && !is_gone {
                    return self.start(place);
                }
                Ok(())
            }
            Happening::Resume { place, life } => {
                if self.lives(place, life) && !self.is_paused(place) {
                    self.machines[place].turn_due = false;
                    self.machines[place].inbox.push(Event::Wake);
                    return self.turn(place);
                }
                Ok(())
            }
            Happening::Nemesis(kind) => self.strike(kind),
            Happening::Walls(walls) => {
                self.on_walls(walls);
                Ok(())
            }
            Happening::Topology(act) => self.on_topology(act),
            Happening::LoseDisk => {
                self.lose_disk();
                Ok(())
            }
            Happening::Disaster(step) => {
                self.on_disaster(step);
                Ok(())
            }
            Happening::Upgrade(step) => {
                self.on_upgrade(step);
                Ok(())
            }
            Happening::Heal => {
                self.end_chaos();
                Ok(())
            }
            Happening::Judge(progress) => self.judge(progress),
        }
    }

    /// One turn of a node's core, judged, and then performed.
    fn turn(&mut self, place: Place) -> Verdict {
        let mut driver = self.machines[place]
            .driver
            .take()
            .expect("only the living take turns");
        let now = self.machines[place].clock.now(self.now_us);
        let moment = Moment { place, now };
        let mut inbox = std::mem::take(&mut self.machines[place].inbox);
        self.events += inbox.len() as u64;
        self.trace.fold(place as u64 | (inbox.len() as u64) << 8);
        for event in &inbox {
            self.checks.on_event(moment, event, &driver.view());
            let lane = Lane::Node(place);
            self.trace
                .tell(self.now_us, lane, Sort::Event, || format!("{event:?}"));
        }
        let mut notebook = std::mem::take(&mut self.notebook);
        let taken = catch_unwind(AssertUnwindSafe(|| {
            driver.turn(now, inbox.drain(..), &mut notebook)
        }));
        if let Err(panic) = taken {
            return Err(Failure {
                checker: Checker::CoreAssertion,
                text: format!("n{} panicked: {}", place + 1, panic_text(&*panic)),
            });
        }
        self.machines[place].inbox = inbox;
        let view = driver.view();
        if let Some(chronicle) = self.trace.chronicle() {
            chronicle.on_turn(self.now_us, place, &view);
        }
        self.trace
            .fold(view.term().0 << 32 ^ view.commit().0 << 8 ^ view.last().index.0);
        self.judge_turn(moment, &view, &notebook.0)?;
        self.standing
            .on_turn(self.now_us, place, || Seen::of(&driver.view()));
        let halted = driver.halted().is_some();
        self.machines[place].driver = Some(driver);
        self.perform(place, &mut notebook.0)?;
        notebook.0.clear();
        self.notebook = notebook;
        if halted && self.machines[place].driver.is_some() {
            // Its disk failed: the process ends, as the contract says.
            self.stop(place);
        }
        self.set_alarm(place);
        Ok(())
    }

    /// An event for a node: it is taken in the node's next turn.
    fn deliver(&mut self, place: Place, event: Event) {
        let machine = &mut self.machines[place];
        if machine.driver.is_none() {
            return;
        }
        machine.inbox.push(event);
        if machine.turn_due || self.now_us < machine.paused_until_us {
            return;
        }
        machine.turn_due = true;
        let life = machine.life;
        let wait_us = self
            .tape
            .roll(Domain::Service, place as u32)
            .below(self.scenario.service_us_max + 1);
        self.agenda
            .put(self.now_us + wait_us, Happening::Turn { place, life });
    }

    fn set_alarm(&mut self, place: Place) {
        let machine = &mut self.machines[place];
        let Some(deadline) = machine.driver.as_ref().and_then(|driver| driver.deadline()) else {
            return;
        };
        let at_us = machine.clock.when(deadline, self.now_us);
        if machine.wake_us.is_none_or(|wake_us| at_us < wake_us) {
            machine.wake_us = Some(at_us);
            let life = machine.life;
            self.agenda
                .put(at_us, Happening::Wake { place, life, at_us });
        }
    }

    fn lives(&self, place: Place, life: u32) -> bool {
        self.machines[place].life == life && self.machines[place].driver.is_some()
    }

    fn is_paused(&self, place: Place) -> bool {
        self.now_us < self.machines[place].paused_until_us
    }

    fn leader(&self) -> Option<Place> {
        let leads = |machine: &Machine| {
            let view = machine.driver.as_ref()?.view();
            (view.role() == RoleName::Leader).then_some(view.term())
        };
        (0..self.machines.len())
            .filter_map(|place| Some((leads(&self.machines[place])?, place)))
            .max()
            .map(|(_, place)| place)
    }
}

/// Is it planted that nodes speak their highest wire version to everybody?
fn ignores_agreements(planted: Planted) -> bool {
    #[cfg(feature = "planted-bugs")]
    let ignores = planted == Some(precentor_core::planted::Bug::VersionNotAgreed);
    #[cfg(not(feature = "planted-bugs"))]
    let ignores = planted.is_some();
    ignores
}
