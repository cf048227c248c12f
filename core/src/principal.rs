//! Who asks. The transport proves it; the core writes it into the entry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of whoever made a request, as the transport authenticated it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Principal(pub String);

impl Principal {
    /// The cluster itself: the author of entries that no client asked for.
    #[must_use]
    pub fn cluster() -> Principal {
        Principal("cluster".into())
    }

    /// The cluster itself, where the entry alone would not say why it was made.
    #[must_use]
    pub fn cluster_because(reason: &str) -> Principal {
        Principal(format!("cluster: {reason}"))
    }

    /// Is it the cluster, with a reason or without? No client is.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        *self == Principal::cluster() || self.cluster_reason().is_some()
    }

    /// That reason, if this is the cluster with one.
    #[must_use]
    pub fn cluster_reason(&self) -> Option<&str> {
        self.0.strip_prefix("cluster: ")
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
