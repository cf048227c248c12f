//! The level in force never goes beyond what a member's program can do, and
//! never back. Knows which programs the operator put where.

use precentor_core::action::Violation;
use precentor_core::command::Command;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{LogIndex, NodeId};
use precentor_core::view::View;

use super::logs::Logs;
use super::{Checker, Failure, Verdict, ensure};
use crate::marks::{Mark, Marks};
use crate::network::Place;

/// The judge of levels.
#[derive(Clone, Debug)]
pub struct Levels {
    programs: Vec<FeatureLevel>,
    /// Where an old program was started by mistake: it must halt, and may.
    mistaken: Vec<bool>,
    raised: FeatureLevel,
    /// What each node showed last.
    shown: Vec<FeatureLevel>,
}

impl Levels {
    pub(super) fn new(count: usize) -> Levels {
        Levels {
            programs: vec![FeatureLevel::LATEST; count],
            mistaken: vec![false; count],
            raised: FeatureLevel::FOUNDING,
            shown: vec![FeatureLevel::FOUNDING; count],
        }
    }

    /// The operator put a program in place.
    pub fn on_program(&mut self, place: Place, supports: FeatureLevel) {
        self.programs[place] = supports;
    }

    /// The operator makes a mistake, or corrects it.
    pub fn on_mistake(&mut self, place: Place, mistaken: bool) {
        self.mistaken[place] = mistaken;
    }

    pub(super) fn on_recovered(&mut self, place: Place) {
        self.shown[place] = FeatureLevel::FOUNDING;
    }

    /// An entry was committed: one that raises the level must be one that all
    /// members can follow. Who runs an old program by mistake came later.
    pub(super) fn on_committed(
        &mut self,
        index: LogIndex,
        logs: &Logs,
        view: &View<'_>,
    ) -> Verdict {
        let command = logs.get(index).and_then(|committed| committed.command());
        let Some(Command::RaiseLevel { to }) = command else {
            return Ok(());
        };
        if *to <= self.raised {
            return Ok(());
        }
        self.raised = *to;
        let can = |node: NodeId| {
            let supports = self.programs.get(node.0 as usize - 1);
            supports.is_none_or(|supports| supports >= to)
        };
        let behind: Vec<NodeId> = view.membership().nodes().filter(|n| !can(*n)).collect();
        ensure(behind.is_empty(), Checker::LevelOfAll, || {
            format!("entry {index} raises the cluster to {to}, which {behind:?} cannot do")
        })
    }

    pub(super) fn on_turn(&mut self, place: Place, view: &View<'_>) -> Verdict {
        let level = view.queue().level();
        let (before, supports) = (self.shown[place], self.programs[place]);
        self.shown[place] = level;
        ensure(
            level >= before && level <= supports,
            Checker::LevelOfAll,
            || {
                format!(
                    "n{} is at {level} after {before}, and its program can do {supports}",
                    place + 1
                )
            },
        )
    }

    /// A node halted because the level is beyond its program.
    pub(super) fn on_halt(
        &self,
        place: Place,
        violation: &Violation,
        marks: &mut Marks,
    ) -> Verdict {
        if self.mistaken[place] {
            marks.hit(Mark::OldProgramHalted);
            return Ok(());
        }
        Err(Failure {
            checker: Checker::LevelOfAll,
            text: format!("the core halted: {violation}"),
        })
    }

    /// May a node not start because a snapshot's level is beyond its program?
    #[must_use]
    pub fn may_refuse_to_start(&self, place: Place) -> bool {
        self.mistaken[place]
    }
}
