//! When a result that is there answers a request (QUEUE C2). For now one mode:
//! the same input and the same generator as the published context.

use crate::digest::Digest;
use crate::job::Generator;

use super::QueueManager;
use super::contexts::{Context, PlaceId};

impl QueueManager {
    /// The published context, if it answers a request for this input.
    pub(super) fn hit(
        &self,
        place: PlaceId,
        subject: Digest,
        generator: &Generator,
    ) -> Option<&Context> {
        self.places
            .context(place)
            .filter(|context| context.subject == subject && context.origin.generator == *generator)
    }
}
