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
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
