//! What requests meant that came before, by all their bytes. Found by a fast hash and told apart by comparing every byte,
//! which for large requests costs a fifth of a cryptographic digest.

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::Key;
use super::memory::ENTRY_OVERHEAD;
use crate::time::Duration;

/// How long a meaning is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

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
        self.0.get(bytes)
    }
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
}
