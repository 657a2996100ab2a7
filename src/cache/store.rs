//! Where entries are kept. `Store` is the seam: this process's memory is one, a store that pods share can be another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderName;
use parking_lot::RwLock;

use super::memory::Evicted;
use super::{Entry, Key, Memory, Weigh};
use crate::time::Duration;

/// Bounds of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of all entries.
    pub capacity: u64,
    /// Bytes of one entry's body.
    pub max_entry: usize,
}

/// What is found under a key.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A result.
    Entry(Arc<Entry>),
    /// Results depend on these request headers, so each is under a key of its own.
    Varies(Arc<[HeaderName]>),
}

/// Which entries are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Every one.
    All,
    /// The one with this key.
    Key(Key),
    /// Those with this tag.
    Tag(String),
    /// Those that came through this route or provider.
    Origin(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Key(key) => write!(f, "key:{key}"),
            Self::Tag(tag) => write!(f, "tag:{tag}"),
            Self::Origin(origin) => write!(f, "origin:{origin}"),
        }
    }
}

/// Not a selector as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSelector;

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("key", key)) => key.parse().map(Self::Key).map_err(|_| BadSelector),
            Some(("tag", tag)) => Ok(Self::Tag(tag.to_owned())),
            Some(("origin", origin)) => Ok(Self::Origin(origin.to_owned())),
            _ => Err(BadSelector),
        }
    }
}

/// How long is remembered on what results depend.
const VARIES_FOR: Duration = Duration::from_secs(24 * 3600);

/// A place for entries.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// What is under a key, fresh or not.
    async fn get(&self, key: &Key) -> Option<Stored>;

    /// Keeps something. `since` is [`Store::generation`] from before the work began: what was purged meanwhile must not
    /// come back. Whether it was kept.
    async fn put(&self, key: Key, stored: Stored, since: u64) -> bool;

    /// Counts purges.
    fn generation(&self) -> u64;

    /// Removes entries, and says how many.
    async fn purge(&self, selector: &Selector) -> u64;
}

/// Entries in this process's memory.
#[derive(Debug)]
pub struct LocalStore {
    memory: Memory<Stored>,
    /// Locked while something is put, so that no purge overlooks it.
    generation: RwLock<u64>,
}

impl LocalStore {
    /// Nothing stored yet.
    pub fn new(config: &Config) -> Self {
        Self::told(config, |_| ())
    }

    /// The same, which tells of each entry that it lets go by itself.
    pub fn told(config: &Config, evicted: impl Fn(Evicted) + Send + Sync + 'static) -> Self {
        Self { memory: Memory::told(config.capacity, evicted), generation: RwLock::new(0) }
    }

    /// What is under a key, at once.
    pub fn peek(&self, key: &Key) -> Option<Stored> {
        self.memory.get(key)
    }

    /// Bytes in use, and entries.
    pub fn size(&self) -> (u64, u64) {
        self.memory.size()
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, key: &Key) -> Option<Stored> {
        self.peek(key)
    }

    async fn put(&self, key: Key, stored: Stored, since: u64) -> bool {
        let generation = self.generation.read();
        let is_current = since == *generation;
        if is_current {
            self.memory.put(key, stored);
        }
        is_current
    }

    fn generation(&self) -> u64 {
        *self.generation.read()
    }

    async fn purge(&self, selector: &Selector) -> u64 {
        *self.generation.write() += 1;
        match selector {
            // Every variant of it.
            Selector::Key(key) => {
                let own = self.memory.take(key).is_some_and(|stored| stored.is(|_| true));
                u64::from(own) + self.memory.remove_if(|stored| stored.is(|entry| entry.meaning == *key))
            }
            Selector::All => {
                let count = self.memory.remove_if(|stored| stored.is(|_| true));
                self.memory.remove_if(|_| true); // on what answers depend is forgotten too, and not counted
                count
            }
            Selector::Tag(tag) => self.memory.remove_if(|stored| stored.is(|entry| entry.tags.contains(tag))),
            Selector::Origin(origin) => self.memory.remove_if(|stored| stored.is(|entry| entry.origin == *origin)),
        }
    }
}

impl Stored {
    /// The result, if it is one.
    pub fn entry(self) -> Option<Arc<Entry>> {
        match self {
            Stored::Entry(entry) => Some(entry),
            Stored::Varies(_) => None,
        }
    }

    fn is(&self, meant: impl Fn(&Entry) -> bool) -> bool {
        matches!(self, Stored::Entry(entry) if meant(entry))
    }
}

impl Weigh for Stored {
    fn weight(&self) -> usize {
        match self {
            Stored::Entry(entry) => entry.weight(),
            Stored::Varies(names) => names.iter().map(|name| name.as_str().len()).sum(),
        }
    }

    fn lifetime(&self) -> Duration {
        match self {
            Stored::Entry(entry) => entry.lifetime(),
            Stored::Varies(_) => VARIES_FOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn key(number: u8) -> Key {
        Key::of([[number].as_slice()])
    }

    async fn store_with_three() -> LocalStore {
        let store = LocalStore::new(&Config { capacity: 1 << 20, max_entry: 1 << 20 });
        for (number, tags) in [(1, &["a"][..]), (2, &["a", "b"]), (3, &[])] {
            store.put(key(number), Stored::Entry(Arc::new(entry(b"x", tags))), 0).await;
        }
        store
    }

    #[test]
    fn a_selector_reads_back_as_it_is_shown() {
        let tag = || Selector::Tag("a:b".into());
        for selector in [Selector::All, Selector::Key(key(1)), tag(), Selector::Origin("/a".into())] {
            assert_eq!(selector.to_string().parse(), Ok(selector));
        }
        assert_eq!("key:x".parse::<Selector>(), Err(BadSelector));
    }

    #[tokio::test]
    async fn a_purge_takes_what_is_meant_and_says_how_much() {
        for (selector, count) in [
            (Selector::All, 3),
            (Selector::Key(key(3)), 1),
            (Selector::Key(key(4)), 0),
            (Selector::Tag("a".into()), 2),
            (Selector::Tag("c".into()), 0),
            (Selector::Origin("origin".into()), 3),
            (Selector::Origin("other".into()), 0),
        ] {
            assert_eq!(store_with_three().await.purge(&selector).await, count, "{selector:?}");
        }
    }

    #[tokio::test]
    async fn what_was_fetched_before_a_purge_does_not_come_back_after_it() {
        let store = store_with_three().await;
        let since = store.generation();
        store.purge(&Selector::Tag("unrelated".into())).await;
        store.put(key(9), Stored::Entry(Arc::new(entry(b"old", &[]))), since).await;
        assert!(store.get(&key(9)).await.is_none());
        store.put(key(9), Stored::Entry(Arc::new(entry(b"new", &[]))), store.generation()).await;
        assert!(store.get(&key(9)).await.is_some());
    }
}
