//! Collections from outside that may not grow beyond a bound: the bound is
//! looked at before an element gets its place, so that a message of many tiny
//! elements costs no more memory than a legitimate one. Knows no format.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `MAX` elements.
///
/// # Errors
/// If there are more.
pub fn list<'de, D, T, const MAX: u64>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MAX: u64>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: u64> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            // What is announced need not come: room is made as elements do.
            let mut list = Vec::new();
            while let Some(element) = seq.next_element()? {
                if list.len() as u64 >= MAX {
                    return Err(A::Error::invalid_length(list.len() + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}

/// A map of at most `MAX` pairs.
///
/// # Errors
/// If there are more.
pub fn map<'de, D, K, V, const MAX: u64>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct Map<K, V, const MAX: u64>(PhantomData<(K, V)>);
    impl<'de, K, V, const MAX: u64> Visitor<'de> for Map<K, V, MAX>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        type Value = BTreeMap<K, V>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} pairs")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            let mut count = 0;
            while let Some((key, value)) = pairs.next_entry()? {
                count += 1;
                if count > MAX {
                    return Err(A::Error::invalid_length(map.len() + 1, &self));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Map::<K, V, MAX>(PhantomData))
}
