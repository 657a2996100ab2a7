//! A store in this process's memory, bounded in bytes.

use moka::sync::Cache;

use super::Key;
use crate::time::Duration;

/// What an entry takes, in bytes.
pub trait Weigh: Clone + Send + Sync + 'static {
    /// Bytes, roughly; fixed costs included by the store.
    fn weight(&self) -> usize;
}

/// Bytes an entry costs besides its content: key, links, frequency sketch.
const ENTRY_OVERHEAD: usize = 256;

/// Entries by key, the least useful ones dropped first.
#[derive(Clone, Debug)]
pub struct Memory<V: Weigh>(Cache<Key, V>);

impl<V: Weigh> Memory<V> {
    /// An empty store of `capacity` bytes whose entries live for `ttl`.
    pub fn new(capacity: u64, ttl: Duration) -> Self {
        let weigher = |_: &Key, value: &V| u32::try_from(value.weight() + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(capacity).weigher(weigher).time_to_live(ttl).build())
    }

    /// Keeps a value.
    pub fn put(&self, key: Key, value: V) {
        self.0.insert(key, value);
    }

    /// Takes a value out.
    pub fn take(&self, key: &Key) -> Option<V> {
        self.0.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn a_value_is_taken_once() {
        let memory = Memory::new(10_000, Duration::from_secs(60));
        let key = Key::of([b"k".as_slice()]);
        memory.put(key, vec![1]);
        assert_eq!(memory.take(&key), Some(vec![1]));
        assert_eq!(memory.take(&key), None);
    }
}
