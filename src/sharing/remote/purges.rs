//! Purges by any process, in the order in which Redis was told of them. What is stored says which purge was the last
//! that was known when the work for it began; so whatever a later purge meant is not served, whenever it was written.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::cache::{Selector, Stored};
use crate::redis::{self, Redis, Unavailable};
use crate::sharing::Common;
use crate::time::{Duration, sleep};

/// Purges that are remembered. What began before the oldest of so many is not served.
const MOST: usize = 10_000;
/// Purges that wait for Redis; more become one of everything.
const MOST_WAITING: usize = 1000;
/// Between two looks for purges of which the bell was missed.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Purges {
    redis: Redis,
    stream: String,
    channel: String,
    known: Mutex<Known>,
    /// Of which Redis could not be told.
    waiting: Mutex<VecDeque<Selector>>,
}

#[derive(Debug)]
struct Known {
    last: Identity,
    /// Older ones are forgotten, once there were so many.
    oldest: Option<Identity>,
    by_selector: HashMap<Selector, Identity>,
    /// The session of Redis in which they were read.
    session: Option<u64>,
}

/// A purge's number, as Redis gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity(u64, u64);

impl Identity {
    fn read(text: &str) -> Option<Self> {
        let (millis, number) = text.split_once('-')?;
        Some(Self(millis.parse().ok()?, number.parse().ok()?))
    }
}

impl Purges {
    pub(super) fn new(redis: Redis) -> Self {
        let known = Known { last: Identity(0, 0), oldest: None, by_selector: HashMap::new(), session: None };
        Self {
            stream: redis.name("purges", "all"),
            channel: redis.name("purged", "all"),
            redis,
            known: Mutex::new(known),
            waiting: Mutex::default(),
        }
    }

    /// Whether every purge is known that Redis knew of when it was connected to.
    pub(super) fn is_current(&self) -> bool {
        self.known.lock().session == Some(self.redis.session())
    }

    /// The last purge that is known.
    pub(super) fn last(&self) -> String {
        let Identity(millis, number) = self.known.lock().last;
        format!("{millis}-{number}")
    }

    /// Whether a purge meant something, for which the work began when `since` was the last one known.
    pub(super) fn meant(&self, stored: &Stored, since: &str) -> bool {
        let Some(since) = Identity::read(since) else { return true };
        let known = self.known.lock();
        let later = |selector: &Selector| known.by_selector.get(selector).is_some_and(|purge| *purge > since);
        let forgotten = known.oldest.is_some_and(|oldest| since < oldest);
        forgotten
            || later(&Selector::All)
            || match stored {
                Stored::Varies(_) => false,
                Stored::Entry(entry) => {
                    later(&Selector::Key(entry.meaning))
                        || later(&Selector::Origin(entry.origin.clone()))
                        || entry.tags.iter().any(|tag| later(&Selector::Tag(tag.clone())))
                }
            }
    }

    /// Tells the others, now or when Redis answers again. `true` when it was now.
    pub(super) async fn tell(&self, selector: &Selector) -> bool {
        let is_told = self.add(selector).await.is_ok();
        if !is_told {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= MOST_WAITING {
                waiting.clear();
                waiting.push_back(Selector::All);
            } else {
                waiting.push_back(selector.clone());
            }
        }
        is_told
    }

    async fn add(&self, selector: &Selector) -> Result<(), Unavailable> {
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("MAXLEN").arg("~").arg(MOST).arg("*").arg("s").arg(selector.to_string());
        let _: String = self.redis.run(&add).await?;
        self.redis.run(redis::cmd("PUBLISH").arg(&self.channel).arg("")).await
    }

    /// Reads what others purge, for as long as it runs.
    pub(super) async fn hear(&self, common: &Common) {
        let bell = self.redis.listen(self.channel.clone());
        loop {
            let rung = bell.rung();
            if self.tell_waiting().await.is_ok() && self.read(common).await.is_err() {
                tracing::debug!("purges of other processes cannot be read");
            }
            tokio::select! {
                () = rung => {}
                () = sleep(PATIENCE) => {}
            }
        }
    }

    async fn tell_waiting(&self) -> Result<(), Unavailable> {
        loop {
            let Some(selector) = self.waiting.lock().front().cloned() else { return Ok(()) };
            self.add(&selector).await?;
            self.waiting.lock().pop_front();
        }
    }

    async fn read(&self, common: &Common) -> Result<(), Unavailable> {
        let session = self.redis.session();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(&self.stream).arg(format!("({}", self.last())).arg("+").arg("COUNT").arg(MOST / 10);
            let found: Vec<(String, Vec<String>)> = self.redis.run(&range).await?;
            if found.is_empty() {
                break;
            }
            for (identity, fields) in found {
                let Some(identity) = Identity::read(&identity) else { continue };
                // One that cannot be read may mean anything.
                let selector = fields.get(1).and_then(|text| text.parse().ok()).unwrap_or(Selector::All);
                {
                    let mut known = self.known.lock();
                    known.last = identity;
                    known.by_selector.insert(selector.clone(), identity);
                }
                common.purge_here(&selector).await;
            }
        }
        self.forget().await?;
        self.known.lock().session = Some(session);
        Ok(())
    }

    /// What Redis has forgotten is forgotten here.
    async fn forget(&self) -> Result<(), Unavailable> {
        if self.known.lock().by_selector.is_empty() {
            return Ok(());
        }
        let length: usize = self.redis.run(redis::cmd("XLEN").arg(&self.stream)).await?;
        if length < MOST {
            return Ok(());
        }
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.stream).arg("-").arg("+").arg("COUNT").arg(1);
        let found: Vec<(String, Vec<String>)> = self.redis.run(&range).await?;
        let oldest = found.first().and_then(|(identity, _)| Identity::read(identity));
        let mut known = self.known.lock();
        known.oldest = oldest;
        known.by_selector.retain(|_, purge| oldest.is_none_or(|oldest| *purge >= oldest));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let read = |text| Identity::read(text).unwrap();
        assert!(read("9-0") < read("10-0"));
        assert!(read("9-2") < read("9-10"));
        assert!(read("0-0") < read("0-1"));
        assert_eq!(Identity::read("9"), None);
    }
}
