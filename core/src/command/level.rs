//! From which feature level on a command may be in a log.

use super::Command;
use crate::feature::FeatureLevel;

impl Command {
    /// May a node keep it for a client until there is a leader? What is right whenever it
    /// is done: not an order of an operator's, which is meant for now.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        matches!(
            self,
            Command::Submit { .. }
                | Command::Ask { .. }
                | Command::Leave { .. }
                | Command::Cancel { .. }
                | Command::Annotate { .. }
                | Command::Resolve { .. }
        )
    }

    /// The level from which on it may be in a log: programs that cannot do it
    /// cannot read it either.
    #[must_use]
    pub fn level(&self) -> FeatureLevel {
        match self {
            Command::Leave { .. } | Command::Cancel { .. } => FeatureLevel::JOBS_CANCELLED,
            Command::Redrive { .. }
            | Command::Purge { .. }
            | Command::Reprioritise { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Expel { .. } => FeatureLevel::QUEUE_OPERATED,
            Command::PutLimits { .. } => FeatureLevel::WORK_LIMITED,
            Command::Ask { .. }
            | Command::Invalidate { .. }
            | Command::PutBudget { .. }
            | Command::Evict { .. } => FeatureLevel::CACHE_CHOSEN,
            Command::PutRoles { .. } | Command::NoteDenials { .. } | Command::ClaimFrom { .. } => {
                FeatureLevel::ACCESS_CHECKED
            }
            Command::Annotate { .. } | Command::Resolve { .. } => FeatureLevel::CONTEXTS_EDITED,
            Command::ClaimTogether { .. } | Command::FailTogether { .. } => {
                FeatureLevel::JOBS_BATCHED
            }
            Command::PutNeeds { .. } | Command::PutOffer { .. } => FeatureLevel::WORKERS_FITTED,
            Command::KeepSources { .. } | Command::PutSourceBudget { .. } => {
                FeatureLevel::SOURCES_KEPT
            }
            Command::TakeOver { .. }
            | Command::OpenSession
            | Command::Submit { .. }
            | Command::Register { .. }
            | Command::Claim { .. }
            | Command::Complete { .. }
            | Command::Fail { .. }
            | Command::Release { .. }
            | Command::Expire { .. }
            | Command::Tick
            | Command::RaiseLevel { .. } => FeatureLevel::FOUNDING,
        }
    }
}
