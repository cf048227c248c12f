//! When what is known answers a request (QUEUE C2, R4): the same input and the same
//! generator as the published context, if that is not invalid, or as a job that failed
//! for good; the latter from
//! [`FeatureLevel::WORK_LIMITED`](crate::feature::FeatureLevel) on. Other ways to ask are
//! in `asking`, what makes a context invalid is in `invalidation`.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::ids::JobId;
use crate::job::{DeadReason, Generator, JobSpec, JobState};

use super::QueueManager;
use super::accounts::holds_limits;
use super::contexts::{Context, PlaceId};

/// Dead letters of one address that are looked at for one request: the newest ones.
const LETTERS_LOOKED_AT_MAX: usize = 16;

/// The dead letters that answer requests, by their address: they failed for good, were
/// not redriven, and depend on nothing that could have changed since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Hopeless(BTreeSet<(PlaceId, JobId)>);

impl QueueManager {
    /// The published context, if it answers a request for this input.
    pub(super) fn hit(
        &self,
        place: PlaceId,
        subject: Digest,
        generator: &Generator,
    ) -> Option<&Context> {
        let is_same = |context: &&Context| {
            context.subject == subject && context.origin.generator == *generator
        };
        let context = self.places.context(place).filter(is_same)?;
        #[cfg(feature = "planted-bugs")]
        if self.is_planted(crate::planted::Bug::InvalidatedAnswers) {
            return Some(context);
        }
        (!self.is_invalid(place, context)).then_some(context)
    }

    /// The published context, if it is not invalid.
    pub(super) fn valid_context(&self, place: PlaceId) -> Option<&Context> {
        let context = self.places.context(place)?;
        (!self.is_invalid(place, context)).then_some(context)
    }

    /// Does anything valid stand at a place, for others to depend on?
    pub(super) fn is_there(&self, place: PlaceId) -> bool {
        self.valid_context(place).is_some()
    }

    /// Why the very same failed for good before, if it did.
    pub(super) fn failed_before(&self, place: PlaceId, item: &JobSpec) -> Option<DeadReason> {
        if !holds_limits(self.level) || !item.dependencies.is_empty() {
            return None;
        }
        let of_place = (place, JobId(0))..=(place, JobId(u64::MAX));
        let letters = self.hopeless.0.range(of_place).rev();
        let mut letters = letters.take(LETTERS_LOOKED_AT_MAX).map(|(_, id)| *id);
        let same = |id: &JobId| {
            let (finished, letter) = (self.finished.get(*id), self.letters.get(*id));
            let subject = finished.is_some_and(|finished| finished.subject == item.subject);
            #[cfg(feature = "planted-bugs")]
            let subject = subject || self.is_planted(crate::planted::Bug::FailureOfAnotherInput);
            subject && letter.is_some_and(|letter| letter.origin.generator == item.generator)
        };
        let id = letters.find(same)?;
        let JobState::Dead(DeadReason::Permanent { message }) = &self.finished.get(id)?.state
        else {
            panic!("{id} did not fail for good, and is held to be hopeless");
        };
        Some(DeadReason::Permanent {
            message: format!("{message} ({id} failed so; redrive that one to try it again)"),
        })
    }

    /// It is known that nothing will come of it.
    pub(super) fn answer_with_failure(
        &mut self,
        id: JobId,
        item: &JobSpec,
        place: PlaceId,
        reason: DeadReason,
    ) {
        self.be_born_finished(id, item, place, JobState::Dead(reason));
    }

    /// A dead letter came, or went, or was redriven: does it answer requests from now on?
    pub(super) fn note_hopeless(&mut self, id: JobId, place: PlaceId) {
        match self.is_hopeless(id) {
            true => self.hopeless.0.insert((place, id)),
            false => self.hopeless.0.remove(&(place, id)),
        };
    }

    fn is_hopeless(&self, id: JobId) -> bool {
        let finished = self.finished.get(id).map(|finished| &finished.state);
        let permanent = matches!(finished, Some(JobState::Dead(DeadReason::Permanent { .. })));
        let letter = self.letters.get(id);
        permanent && letter.is_some_and(|letter| letter.redriven.is_none() && letter.edges == 0)
    }

    /// Those that are to be there, by the letters themselves.
    pub(super) fn find_hopeless(&self) -> Hopeless {
        let ids = self.letters.rows.iter().map(|(id, _)| *id);
        let places = ids.filter(|id| self.is_hopeless(*id)).filter_map(|id| {
            let finished = self.finished.get(id)?;
            Some((finished.place, id))
        });
        Hopeless(places.collect())
    }
}
