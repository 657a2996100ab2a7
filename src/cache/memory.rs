//! A store in this process's memory, bounded in bytes.

use std::sync::Arc;

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::Key;
use crate::time::Duration;

/// What an entry takes, and for how long.
pub trait Weigh: Send + Sync + 'static {
    /// Bytes, roughly; fixed costs included by the store.
    fn weight(&self) -> usize;
    /// How long it is of any use.
    fn lifetime(&self) -> Duration;
}

/// Bytes an entry costs besides its content: key, links, frequency sketch.
pub(super) const ENTRY_OVERHEAD: usize = 256;
/// Longer than this nothing is kept; the clock's end is far.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Entries by key, the least useful ones dropped first.
#[derive(Clone, Debug)]
pub struct Memory<V: Weigh + Clone>(Cache<Key, V>);

/// Why a value was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// Others needed its place.
    Size,
    /// Its time was over.
    Expired,
}

impl Evicted {
    /// Both.
    pub const ALL: [Evicted; 2] = [Evicted::Size, Evicted::Expired];

    /// The word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Evicted::Size => "size",
            Evicted::Expired => "expired",
        }
    }
}

struct Lifetime;

impl<V: Weigh> Expiry<Key, V> for Lifetime {
    fn expire_after_create(&self, _: &Key, value: &V, _: std::time::Instant) -> Option<Duration> {
        Some(value.lifetime().min(LONGEST))
    }

    fn expire_after_update(&self, _: &Key, value: &V, _: std::time::Instant, _: Option<Duration>) -> Option<Duration> {
        Some(value.lifetime().min(LONGEST))
    }
}

impl<V: Weigh + Clone> Memory<V> {
    /// An empty store of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        Self::told(capacity, |_| ())
    }

    /// The same, which tells of each value that it lets go by itself.
    pub fn told(capacity: u64, evicted: impl Fn(Evicted) + Send + Sync + 'static) -> Self {
        let weigher = |_: &Key, value: &V| u32::try_from(value.weight() + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        let listener = move |_: Arc<Key>, _: V, cause: RemovalCause| match cause {
            RemovalCause::Size => evicted(Evicted::Size),
            RemovalCause::Expired => evicted(Evicted::Expired),
            RemovalCause::Explicit | RemovalCause::Replaced => {}
        };
        let cache = Cache::builder().max_capacity(capacity).weigher(weigher).expire_after(Lifetime);
        Self(cache.eviction_listener(listener).build())
    }

    /// Keeps a value.
    pub fn put(&self, key: Key, value: V) {
        self.0.insert(key, value);
    }

    /// A value, which stays.
    pub fn get(&self, key: &Key) -> Option<V> {
        self.0.get(key)
    }

    /// Takes a value out.
    pub fn take(&self, key: &Key) -> Option<V> {
        self.0.remove(key)
    }

    /// Takes out every value that is `meant`, and says how many there were.
    pub fn remove_if(&self, meant: impl Fn(&V) -> bool) -> u64 {
        let keys = self.0.iter().filter(|(_, value)| meant(value)).map(|(key, _)| *key);
        keys.filter(|key| self.0.remove(key).is_some()).count() as u64
    }

    /// Bytes in use, and entries, as of the last housekeeping.
    pub fn size(&self) -> (u64, u64) {
        self.0.run_pending_tasks();
        (self.0.weighted_size(), self.0.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }

        fn lifetime(&self) -> Duration {
            Duration::from_secs(60)
        }
    }

    fn key(number: u32) -> Key {
        Key::of([number.to_le_bytes().as_slice()])
    }

    #[test]
    fn a_value_is_taken_once() {
        let memory = Memory::new(10_000);
        memory.put(key(1), vec![1]);
        assert_eq!(memory.take(&key(1)), Some(vec![1]));
        assert_eq!(memory.take(&key(1)), None);
    }

    #[test]
    fn the_bound_is_in_bytes() {
        let memory = Memory::new(100_000);
        for number in 0..1_000 {
            memory.put(key(number), vec![0; 1_000]);
        }
        let (bytes, entries) = memory.size();
        assert!(bytes <= 100_000, "{bytes}");
        assert!((50..=80).contains(&entries), "{entries}");
    }

    #[test]
    fn what_is_meant_is_removed_and_counted() {
        let memory = Memory::new(100_000);
        for number in 0..10u8 {
            memory.put(key(number.into()), vec![number]);
        }
        assert_eq!(memory.remove_if(|value| value[0] % 2 == 0), 5);
        assert_eq!(memory.get(&key(2)), None);
        assert_eq!(memory.get(&key(3)), Some(vec![3]));
    }
}
