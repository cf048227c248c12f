//! Carries messages between clients, workers and nodes. Knows whose ticket is
//! whose, and nothing of what is asked.

use precentor_core::ids::Ticket;
use precentor_core::request::Reply;

use super::{Happening, Stage};
use crate::check::{Checker, Failure, Verdict};
use crate::chronicle::{Lane, Sort};
use crate::desk::{Actor, Errand, OPERATOR, desk};
use crate::tape::Domain;

impl Stage {
    pub(super) fn on_reply(&mut self, ticket: Ticket, reply: Reply) -> Verdict {
        let lane = crate::desk::lane_of(ticket);
        if let Some(chronicle) = self.trace.chronicle() {
            let text = format!("is told {reply:?}");
            chronicle.note(self.now_us, Lane::of_actor(lane), Sort::Asked, text);
        }
        if lane == super::topology::PROBE || lane == super::disaster::RESCUER {
            // What it made the leader commit is its answer, or the judges read it.
            return Ok(());
        }
        if lane == OPERATOR {
            self.on_operators_reply(ticket, &reply);
            self.run_errands();
            return Ok(());
        }
        let mut desk = desk!(self);
        let told = match Actor::of_lane(lane) {
            Actor::Worker(number) => {
                self.workers[number].on_reply(ticket, reply, &mut desk);
                Ok(())
            }
            Actor::Client(number) => self.clients[number].on_reply(ticket, reply, &mut desk),
        };
        self.run_errands();
        told.map_err(|text| Failure {
            checker: Checker::ClientView,
            text,
        })
    }

    pub(super) fn on_alarm(&mut self, lane: u32, alarm: u64) {
        if lane == OPERATOR {
            self.on_operators_alarm();
            return self.run_errands();
        }
        let mut desk = desk!(self);
        match Actor::of_lane(lane) {
            Actor::Worker(number) => self.workers[number].on_alarm(alarm, &mut desk),
            Actor::Client(number) => {
                self.clients[number].on_alarm(&mut desk, &mut self.tree);
            }
        }
        self.run_errands();
    }

    fn run_errands(&mut self) {
        let mut errands = std::mem::take(&mut self.errands);
        for errand in errands.drain(..) {
            match errand {
                Errand::Later { lane, in_us, alarm } => {
                    self.agenda
                        .put(self.now_us + in_us, Happening::Alarm { lane, alarm });
                }
                Errand::Ask {
                    place,
                    ticket,
                    principal,
                    request,
                } => {
                    let lane = crate::desk::lane_of(ticket);
                    let at_us = self.client_arrival(lane);
                    if let Some(chronicle) = self.trace.chronicle() {
                        let (who, node) = (Lane::of_actor(lane), Lane::Node(place));
                        chronicle.sent((who, node), self.now_us, at_us, &request);
                        let text = format!("asks {node}: {request:?}");
                        chronicle.note(self.now_us, who, Sort::Asked, text);
                    }
                    if let Some(at_us) = at_us {
                        self.agenda.put(
                            at_us,
                            Happening::Ask {
                                place,
                                ticket,
                                principal,
                                request,
                            },
                        );
                    }
                }
            }
        }
        self.errands = errands;
    }

    /// When a message between an actor and a node arrives; none if it is lost.
    pub(super) fn client_arrival(&mut self, lane: u32) -> Option<u64> {
        if self
            .tape
            .fault(Domain::ClientLoss, lane, self.scenario.clients.loss_ppm)
            .is_some()
        {
            return None;
        }
        let delay_us = self.tape.roll(Domain::ClientDelay, lane).between(50, 800);
        Some(self.now_us + delay_us)
    }
}
