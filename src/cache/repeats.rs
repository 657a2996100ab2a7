//! What requests meant that came before, by all their bytes. Found by a fast hash and told apart by comparing every byte,
//! which for large requests costs a fifth of a cryptographic digest.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use equivalent::Equivalent;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::Key;
use super::memory::ENTRY_OVERHEAD;
use crate::time::Duration;

/// How long a meaning is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// Bytes that are compared at once.
const STRIDE: usize = size_of::<u128>();

/// Meanings by bytes, bounded in memory.
#[derive(Clone, Debug)]
pub struct Repeats(Cache<Bytes, Key, RandomState>);

impl Repeats {
    /// Nothing remembered, at most `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        let weigher = |bytes: &Bytes, _: &Key| u32::try_from(bytes.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        let cache = Cache::builder().max_capacity(capacity).weigher(weigher).time_to_live(REMEMBERED_FOR);
        Self(cache.build_with_hasher(RandomState::default()))
    }

    /// Remembers.
    pub fn put(&self, bytes: Bytes, meaning: Key) {
        self.0.insert(bytes, meaning);
    }

    /// What these bytes meant.
    pub fn get(&self, bytes: &[u8]) -> Option<Key> {
        self.0.get(&Sought(bytes))
    }
}

/// Bytes that are looked for.
struct Sought<'a>(&'a [u8]);

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Bytes> for Sought<'_> {
    fn equivalent(&self, remembered: &Bytes) -> bool {
        are_same(self.0, remembered)
    }
}

/// Slices are compared by the C library, which in the static binary does so byte by byte: a third of a hit's time at 16 KiB.
/// Numbers are not.
fn are_same(one: &[u8], other: &[u8]) -> bool {
    let ((one, one_end), (other, other_end)) = (one.as_chunks::<STRIDE>(), other.as_chunks::<STRIDE>());
    let is_same =
        |(one, other): (&[u8; STRIDE], &[u8; STRIDE])| u128::from_ne_bytes(*one) == u128::from_ne_bytes(*other);
    one.len() == other.len() && one_end == other_end && one.iter().zip(other).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_bytes_mean_the_same() {
        let repeats = Repeats::new(10_000);
        let meaning = Key::of([b"meaning".as_slice()]);
        repeats.put(Bytes::from_static(b"GET / HTTP/1.1"), meaning);
        assert_eq!(repeats.get(b"GET / HTTP/1.1"), Some(meaning));
        assert_eq!(repeats.get(b"GET / HTTP/1.0"), None);
        assert_eq!(repeats.get(b"GET / HTTP/1.1 "), None);
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let text: Vec<u8> = (0..200).collect();
        for length in 0..text.len() {
            let bytes = &text[..length];
            assert!(are_same(bytes, &Bytes::copy_from_slice(bytes)));
            assert!(!are_same(bytes, &text[..=length]));
            for at in 0..length {
                let mut other = bytes.to_vec();
                other[at] ^= 1;
                assert!(!are_same(bytes, &other), "byte {at} of {length}");
            }
        }
    }
}
