//! The model of the texts that are kept: it counts anew who counts on them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::tests::{subject, text};
use super::against::Pair;
use super::*;
use crate::digest::Digest;
use crate::limits::SOURCE_ROW_BYTES;

/// What each of the model's texts counts for.
const COST: u64 = SOURCE_ROW_BYTES + 1;
const INPUTS: std::ops::Range<u8> = 1..7;

/// The texts that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// By input: when it was used, and the last job that was accepted before it was kept.
    texts: BTreeMap<u8, (u64, u64)>,
    /// As many as may be kept.
    most: Option<u64>,
    /// Inputs of jobs that were made in this step: they may be over already.
    pub(super) made: BTreeSet<u8>,
}

/// Something about what is kept.
#[derive(Clone, Debug)]
pub(super) enum Keeping {
    Keep(Vec<u8>),
    Budget(u64),
}

pub(super) fn keeping() -> impl Strategy<Value = Keeping> {
    prop_oneof![
        4 => prop::collection::vec(INPUTS, 1..4).prop_map(Keeping::Keep),
        1 => (0..5u64).prop_map(Keeping::Budget),
    ]
}

impl Model {
    /// The texts that unfinished jobs count on.
    pub(super) fn held_sources(&self) -> BTreeSet<u8> {
        let is_held = |input: u8, since: u64| {
            let mut tasks = self.tasks.iter();
            tasks.any(|(id, task)| task.input == input && *id > since && !task.is_over())
        };
        let texts = self.kept.texts.iter();
        let held = texts.filter(|(input, (_, since))| is_held(**input, *since));
        held.map(|(input, _)| *input).collect()
    }

    /// Keeps texts at an index; says how many are new.
    fn keep(&mut self, inputs: &[u8], index: u64) -> Result<u32, ()> {
        let held = self.held_sources();
        let asked: BTreeSet<u8> = inputs.iter().copied().collect();
        let kept = &mut self.kept;
        let is_new = |input: &u8| !kept.texts.contains_key(input);
        let fresh: Vec<u8> = asked.iter().copied().filter(is_new).collect();
        let (before, most) = (kept.texts.len() as u64, kept.most.unwrap_or(u64::MAX));
        let mut count = before + fresh.len() as u64;
        let mut idle: Vec<(u64, Digest, u8)> = kept
            .texts
            .iter()
            .filter(|(input, _)| !held.contains(input) && !asked.contains(input))
            .map(|(input, (used, _))| (*used, subject(*input), *input))
            .collect();
        idle.sort();
        let mut gone = Vec::new();
        for (_, _, input) in idle {
            if count > most {
                gone.push(input);
                count -= 1;
            }
        }
        if count > most.max(before) {
            return Err(());
        }
        for input in gone {
            kept.texts.remove(&input);
        }
        for input in &asked {
            let accepted = self.accepted;
            kept.texts.entry(*input).or_insert((index, accepted)).0 = index;
        }
        Ok(fresh.len() as u32)
    }
}

impl Pair {
    pub(super) fn take_keeping(&mut self, step: Keeping) {
        match step {
            Keeping::Keep(inputs) => {
                let sources = inputs.iter().map(|input| text(*input)).collect();
                let outcome = self.world.apply(Command::KeepSources { sources });
                match self.model.keep(&inputs, self.world.index) {
                    Ok(fresh) => assert_eq!(outcome, Outcome::SourcesKept { fresh }),
                    Err(()) => assert!(
                        matches!(outcome, Outcome::Rejected(Rejection::SourcesFull { .. })),
                        "the model refuses, the queue says {outcome:?}"
                    ),
                }
            }
            Keeping::Budget(texts) => {
                let before = self.model.kept.most.replace(texts);
                let bytes_max = texts * COST;
                let outcome = self.world.apply(Command::PutSourceBudget { bytes_max });
                match (before, outcome) {
                    (Some(texts), outcome) => {
                        let before = texts * COST;
                        assert_eq!(outcome, Outcome::SourceBudgetPut { before });
                    }
                    (None, outcome) => {
                        assert!(matches!(outcome, Outcome::SourceBudgetPut { .. }));
                    }
                }
            }
        }
    }

    /// What nobody counts on any more was used until now.
    pub(super) fn note_released(&mut self, before: &BTreeSet<u8>) {
        let after = self.model.held_sources();
        let made = std::mem::take(&mut self.model.kept.made);
        for input in before.union(&made).filter(|input| !after.contains(input)) {
            if let Some((used, _)) = self.model.kept.texts.get_mut(input) {
                *used = self.world.index;
            }
        }
    }

    /// The same texts are kept, and count for as much.
    pub(super) fn compare_sources(&self) {
        let all: Vec<Digest> = INPUTS.map(subject).collect();
        let view = self.world.queue.sources_view(&all);
        let texts = &self.model.kept.texts;
        let lacking = INPUTS.filter(|input| !texts.contains_key(input));
        assert_eq!(view.lacking, lacking.map(subject).collect::<Vec<_>>());
        let held = self.model.held_sources().len() as u64;
        assert_eq!(
            (view.bytes, view.bytes_held),
            (texts.len() as u64 * COST, held * COST)
        );
    }
}
