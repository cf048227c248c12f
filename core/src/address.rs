//! placeholder: replaced by the grammar's owner.
use serde::{Deserialize, Serialize};
/// A UCXL address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address(String);
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::str::FromStr for Address {
    type Err = std::convert::Infallible;
    fn from_str(s: &str) -> Result<Address, Self::Err> {
        Ok(Address(s.into()))
    }
}
impl Address {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
