//! Who waits for a provider. There may be many thousands, so they enter shard by shard, and the page gets numbers and the
//! few that wait longest.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use super::Kept;
use super::name::Text;

/// Locks. The first digit of an exchange's identity, which is random, says which.
const SHARDS: usize = 16;
/// Room that an empty shard keeps, in entries. That of a crowd is given back.
const ROOM: usize = 64;
/// Of so many that wait longest, more than the number is told.
const LONGEST: usize = 10;
/// Bytes of a provider's name.
const PROVIDER: usize = 32;

/// All who wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Arc<[Mutex<Slab<Entry>>; SHARDS]>);

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kept: Kept,
    pub(super) provider: Text<PROVIDER>,
    pub(super) calls: u32,
}

/// One who waits.
#[derive(Debug)]
pub struct Waiting {
    waits: Waits,
    shard: u8,
    key: usize,
}

/// Numbers about all, and the few that wait longest, in that order.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) total: usize,
    pub(super) by_provider: BTreeMap<String, usize>,
    pub(super) longest: Vec<Entry>,
}

impl Waits {
    pub(super) fn enter(&self, kept: Kept, provider: &str, calls: usize) -> Waiting {
        let shard = kept.id.as_str().chars().next().and_then(|digit| digit.to_digit(16)).unwrap_or_default() as usize;
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let key = self.0[shard].lock().insert(Entry { kept, provider: Text::of(provider), calls });
        Waiting { waits: self.clone(), shard: shard as u8, key }
    }

    /// Looks at all, one shard after the other.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for shard in &*self.0 {
            let shard = shard.lock();
            summary.total += shard.len();
            for (_, entry) in &*shard {
                summary.add(entry);
            }
        }
        summary
    }
}

impl Summary {
    fn add(&mut self, entry: &Entry) {
        match self.by_provider.get_mut(entry.provider.as_str()) {
            Some(count) => *count += 1,
            None => _ = self.by_provider.insert(entry.provider.as_str().to_owned(), 1),
        }
        let place = self.longest.partition_point(|other| other.kept.began <= entry.kept.began);
        if place < LONGEST {
            self.longest.insert(place, entry.clone());
            self.longest.truncate(LONGEST);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut shard = self.waits.0[usize::from(self.shard)].lock();
        shard.remove(self.key);
        if shard.is_empty() && shard.capacity() > ROOM {
            *shard = Slab::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Name, Subject};
    use crate::telemetry::outcome::Mode;
    use crate::time::Duration;
    use http::Method;
    use tokio::time::advance;

    fn enter(waits: &Waits, id: &str, provider: &str) -> Waiting {
        let subject = Subject { id, method: &Method::POST, name: Name::Hidden, mode: Mode::Replay };
        waits.enter(Kept::new(subject), provider, 2)
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_are_numbers_and_the_longest_few_are_told_in_order() {
        let waits = Waits::default();
        let mut held = Vec::new();
        for number in 0..3000 {
            let id = format!("{:032x}", fastrand::u128(..) & !0xffff | number);
            held.push(enter(&waits, &id, if number % 3 == 0 { "anthropic" } else { "openai" }));
            advance(Duration::from_millis(1)).await;
        }
        let summary = waits.summary();
        assert_eq!(summary.total, 3000);
        assert_eq!(summary.by_provider, BTreeMap::from([("anthropic".into(), 1000), ("openai".into(), 2000)]));
        let order: Vec<_> = summary.longest.iter().map(|entry| entry.kept.id.as_str()[28..].to_owned()).collect();
        assert_eq!(order, (0..LONGEST).map(|number| format!("{number:04x}")).collect::<Vec<_>>());
        drop(held.drain(..2999));
        assert_eq!((waits.summary().total, waits.summary().longest.len()), (1, 1));
        drop(held);
        assert_eq!(waits.summary().total, 0);
        assert!(waits.0.iter().all(|shard| shard.lock().capacity() <= ROOM));
    }
}
