//! The model of what workers have and the engine needs.

use proptest::prelude::*;

use super::against::Pair;
use super::*;

const TAGS: [&str; 2] = ["checkout", "gpu"];

/// What the one engine needs, and what workers have.
#[derive(Clone, Debug, Default)]
pub(super) struct Fitted {
    needs: Needs,
    offers: BTreeMap<u64, Offer>,
}

/// Something about what workers have.
#[derive(Clone, Debug)]
pub(super) enum Fitting {
    Need([bool; 2], u64),
    Offer(u64, u64, [bool; 2], u64),
}

pub(super) fn fitting() -> impl Strategy<Value = Fitting> {
    let tags = || prop::array::uniform2(prop::bool::weighted(0.3));
    let had = prop::array::uniform2(prop::bool::weighted(0.8));
    prop_oneof![
        2 => Just(Fitting::Need([false; 2], 0)),
        2 => (tags(), 0..3u64).prop_map(|(tags, memory)| Fitting::Need(tags, memory)),
        4 => (1..3u64, 1..3u64, had, 1..6u64)
            .prop_map(|(worker, life, tags, memory)| Fitting::Offer(worker, life, tags, memory)),
    ]
}

fn named(tags: [bool; 2]) -> Vec<String> {
    let named = TAGS.iter().zip(tags).filter(|(_, is)| *is);
    named.map(|(tag, _)| (*tag).to_owned()).collect()
}

impl Model {
    /// Has a worker what one more job needs?
    pub(super) fn is_fit(&self, by: u64) -> bool {
        let Fitted { needs, offers } = &self.fitted;
        let offer = offers.get(&by).cloned().unwrap_or_default();
        let held = self.tasks.values().filter(|task| task.is_run_by(by));
        let all = needs.memory_mib * (held.count() as u64 + 1);
        needs.tags.iter().all(|tag| offer.tags.contains(tag))
            && (needs.memory_mib == 0 || all <= offer.memory_mib)
    }

    pub(super) fn forget_offer(&mut self, worker: u64) {
        self.fitted.offers.remove(&worker);
    }
}

impl Pair {
    pub(super) fn take_fitting(&mut self, step: Fitting) {
        match step {
            Fitting::Need(tags, memory_mib) => {
                let needs = Needs {
                    tags: named(tags),
                    memory_mib,
                };
                let before = std::mem::replace(&mut self.model.fitted.needs, needs.clone());
                let engine = spec("a", 1).generator.engine;
                let outcome = self.world.apply(Command::PutNeeds { engine, needs });
                assert_eq!(outcome, Outcome::NeedsPut(before));
            }
            Fitting::Offer(id, life, tags, memory_mib) => {
                let offer = Offer {
                    tags: named(tags),
                    memory_mib,
                };
                let outcome = self.world.apply(Command::PutOffer {
                    worker: WorkerId(id),
                    incarnation: WorkerIncarnation(life),
                    offer: offer.clone(),
                });
                if self.model.incarnations.get(&id) != Some(&life) {
                    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
                    return;
                }
                let before = self.model.fitted.offers.insert(id, offer);
                assert_eq!(outcome, Outcome::OfferPut(before.unwrap_or_default()));
            }
        }
    }
}
