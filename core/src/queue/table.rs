//! Ordered tables that know the hash of their content. Every change goes
//! through the table, so neither the state hash nor an image under way can be
//! forgotten. Knows nothing of what the rows mean.
//!
//! The hash of a table is the wrapping sum of its rows' hashes: it does not
//! depend on the order of changes, and a change costs two row hashes. It finds
//! replicas that differ by accident; it is no proof against a forger.

use std::ops::RangeBounds;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::frozen::Frozen;
use super::rows::Rows;

/// Rows by key, and the hash of all of them.
#[derive(Clone, Debug)]
pub(super) struct Table<K, V> {
    rows: Rows<K, V>,
    hash: u128,
    /// Keeps equal rows of different tables apart.
    tag: u64,
    /// What an image under way has not given out of this table. Boxed: nearly
    /// always there is none, and a change then costs one look at it.
    frozen: Option<Box<Frozen<K, V>>>,
}

impl<K: Ord + Copy + Serialize, V: Clone + Serialize> Table<K, V> {
    pub(super) fn new(tag: u64) -> Table<K, V> {
        Table::from_rows(tag, Rows::new())
    }

    /// A table of rows that came from outside: the hash is computed anew.
    pub(super) fn from_rows(tag: u64, rows: Rows<K, V>) -> Table<K, V> {
        let mut table = Table {
            rows,
            hash: 0,
            tag,
            frozen: None,
        };
        table.hash = table.hash_anew();
        table
    }

    /// The hash as it is computed from the rows alone.
    pub(super) fn hash_anew(&self) -> u128 {
        self.rows.iter().fold(0u128, |sum, (key, row)| {
            sum.wrapping_add(hash_of(self.tag, &(key, row)))
        })
    }

    pub(super) fn rows(&self) -> &Rows<K, V> {
        &self.rows
    }

    pub(super) fn hash(&self) -> u128 {
        self.hash
    }

    pub(super) fn len(&self) -> u64 {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.rows.contains(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    pub(super) fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(range)
    }

    /// The row with this key, or the last one before it.
    pub(super) fn at_or_before(&self, key: &K) -> Option<(&K, &V)> {
        self.rows.at_or_before(key)
    }

    pub(super) fn first(&self) -> Option<(&K, &V)> {
        self.rows.first()
    }

    /// Puts a row in, in the place of an older one with its key.
    pub(super) fn insert(&mut self, key: K, row: V) -> Option<V> {
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(&key, self.rows.get(&key));
        }
        self.hash = self.hash.wrapping_add(hash_of(self.tag, &(&key, &row)));
        let old = self.rows.insert(key, row);
        if let Some(old) = &old {
            self.hash = self.hash.wrapping_sub(hash_of(self.tag, &(&key, old)));
        }
        old
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(key, Some(&row));
        }
        self.hash = self.hash.wrapping_sub(hash_of(self.tag, &(key, &row)));
        Some(row)
    }

    /// A row of which nothing is changed that goes into its wire bytes: what is
    /// derived from other rows is no part of the hash, nor of an image.
    pub(super) fn derived_mut(&mut self, key: &K) -> Option<&mut V> {
        self.rows.get_mut(key)
    }

    /// Changes a row in place; none if there is none.
    pub(super) fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let row = self.rows.get_mut(key)?;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(key, Some(row));
        }
        let before = hash_of(self.tag, &(key, &*row));
        let answer = change(row);
        let after = hash_of(self.tag, &(key, &*row));
        self.hash = self.hash.wrapping_sub(before).wrapping_add(after);
        Some(answer)
    }
}

/// What an image asks of a table, whatever its rows are (see [`super::parts`]).
pub(super) trait Imaged {
    /// From now on until it is given out, the content of this moment is kept.
    fn freeze(&mut self);

    /// That moment's content is not needed any more.
    fn thaw(&mut self);

    /// Gives out the next rows of that moment (see [`Frozen::give_out`]).
    fn give_out(&mut self, out: &mut Vec<u8>, budget: &mut u64) -> bool;

    /// Rows that are kept aside.
    fn kept_count(&self) -> u64;

    /// Planted: changes go into the image that was begun before.
    #[cfg(feature = "planted-bugs")]
    fn forget_changes(&mut self, forgets: bool);
}

impl<K: Ord + Copy + Serialize, V: Clone + Serialize> Imaged for Table<K, V> {
    fn freeze(&mut self) {
        self.frozen = Some(Box::new(Frozen::new(&self.rows, self.hash)));
    }

    fn thaw(&mut self) {
        self.frozen = None;
    }

    fn give_out(&mut self, out: &mut Vec<u8>, budget: &mut u64) -> bool {
        let Some(frozen) = &mut self.frozen else {
            return true;
        };
        let done = frozen.give_out(&self.rows, self.tag, out, budget);
        if done {
            self.frozen = None;
        }
        done
    }

    fn kept_count(&self) -> u64 {
        self.frozen.as_ref().map_or(0, |frozen| frozen.kept_count())
    }

    #[cfg(feature = "planted-bugs")]
    fn forget_changes(&mut self, forgets: bool) {
        if let Some(frozen) = &mut self.frozen {
            frozen.forgets = forgets;
        }
    }
}

/// The hash of one value: its wire bytes are streamed, never stored.
pub(super) fn hash_of<T: Serialize + ?Sized>(tag: u64, value: &T) -> u128 {
    postcard::serialize_with_flavor::<T, _, u128>(value, StateHasher(SipHasher::new(tag, 0)))
        .expect("a hasher takes any bytes, and our own types serialise")
}

/// The hash of the value whose wire bytes these are.
pub(super) fn hash_of_bytes(tag: u64, bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher::<1, 3>::new(tag, 0);
    hasher.extend(bytes);
    hasher.finish()
}

struct StateHasher(SipHasher<1, 3>);

impl Flavor for StateHasher {
    type Output = u128;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u128> {
        Ok(self.0.finish())
    }
}

/// SipHash with 128 bits of result (Aumasson and Bernstein, 2012; the 128-bit
/// variant as in their reference code), C rounds a word and D at the end.
struct SipHasher<const C: u32, const D: u32> {
    v: [u64; 4],
    tail: u64,
    count: u64,
}

impl<const C: u32, const D: u32> SipHasher<C, D> {
    fn new(k0: u64, k1: u64) -> SipHasher<C, D> {
        SipHasher {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            tail: 0,
            count: 0,
        }
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }

    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        for _ in 0..C {
            self.round();
        }
        self.v[0] ^= word;
    }

    fn push(&mut self, byte: u8) {
        self.tail |= u64::from(byte) << (8 * (self.count % 8));
        self.count += 1;
        if self.count.is_multiple_of(8) {
            let word = std::mem::take(&mut self.tail);
            self.word(word);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        // A word at a time, whatever is in the tail: the result must not
        // depend on how the bytes were cut into pieces.
        let shift = 8 * (self.count % 8);
        let mut words = bytes.chunks_exact(8);
        for chunk in &mut words {
            let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight is eight"));
            if shift == 0 {
                self.word(word);
            } else {
                let full = self.tail | (word << shift);
                self.tail = word >> (64 - shift);
                self.word(full);
            }
            self.count += 8;
        }
        for byte in words.remainder() {
            self.push(*byte);
        }
    }

    fn finish(mut self) -> u128 {
        let last = self.tail | (self.count << 56);
        self.word(last);
        self.v[2] ^= 0xee;
        for _ in 0..D {
            self.round();
        }
        let low = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        self.v[1] ^= 0xdd;
        for _ in 0..D {
            self.round();
        }
        let high = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        u128::from(low) | (u128::from(high) << 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash_128_as_its_authors_publish_it() {
        // vectors_sip128 of the reference code: key 00..0f, inputs of 0 and 1 bytes.
        let key = |from: u8| u64::from_le_bytes(std::array::from_fn(|i| from + i as u8));
        let empty = SipHasher::<2, 4>::new(key(0), key(8)).finish();
        assert_eq!(
            empty.to_le_bytes(),
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93
            ]
        );
        let mut one = SipHasher::<2, 4>::new(key(0), key(8));
        one.push(0);
        assert_eq!(
            one.finish().to_le_bytes(),
            [
                0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
                0xfc, 0x45
            ]
        );
    }

    #[test]
    fn the_hash_does_not_depend_on_how_bytes_are_cut() {
        let bytes: Vec<u8> = (0..41).collect();
        let whole = {
            let mut hasher = SipHasher::<1, 3>::new(7, 0);
            hasher.extend(&bytes);
            hasher.finish()
        };
        for cut in 0..bytes.len() {
            let mut hasher = SipHasher::<1, 3>::new(7, 0);
            hasher.extend(&bytes[..cut]);
            hasher.extend(&bytes[cut..]);
            assert_eq!(hasher.finish(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_hash_of_a_value_is_that_of_its_bytes_however_long() {
        for length in [0, 1, 100, 189, 190, 191, 192, 193, 500] {
            let value = (300u64, vec![7u8; length], "x".repeat(length), 9u32);
            let bytes = postcard::to_allocvec(&value).unwrap();
            assert_eq!(hash_of(5, &value), hash_of_bytes(5, &bytes), "{length}");
        }
    }

    #[test]
    fn a_table_s_hash_depends_on_its_rows_and_not_on_its_history() {
        let mut one: Table<u64, u64> = Table::new(1);
        one.insert(1, 10);
        one.insert(2, 20);
        let mut two: Table<u64, u64> = Table::new(1);
        two.insert(2, 7);
        two.insert(3, 30);
        two.insert(1, 10);
        two.update(&2, |row| *row = 20);
        assert_ne!(one.hash(), two.hash(), "a row more");
        two.remove(&3);
        assert_eq!(one.hash(), two.hash());
        assert_eq!(
            Table::from_rows(1, one.rows().clone()).hash(),
            one.hash(),
            "computed anew"
        );
        assert_ne!(
            Table::from_rows(2, one.rows().clone()).hash(),
            one.hash(),
            "another table's"
        );
    }
}
