//! Bells: channels of publish and subscribe that carry no message, only that there is something to look at.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::link::Connection;

/// Channels that somebody listens to.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<String, Listened>>);

#[derive(Debug)]
struct Listened {
    listeners: usize,
    rung: Arc<Notify>,
}

/// Hears a channel until it is dropped.
#[derive(Debug)]
pub struct Bell {
    bells: Arc<Bells>,
    channel: String,
    rung: Arc<Notify>,
    connection: Option<Connection>,
}

impl Bells {
    pub(super) fn listen(self: &Arc<Self>, channel: String, connection: Option<Connection>) -> Bell {
        let mut bells = self.0.lock();
        let rung = match bells.entry(channel.clone()) {
            Entry::Occupied(mut listened) => {
                listened.get_mut().listeners += 1;
                Arc::clone(&listened.get().rung)
            }
            Entry::Vacant(vacant) => {
                if let Some(mut connection) = connection.clone() {
                    let channel = channel.clone();
                    tokio::spawn(async move { connection.subscribe(&channel).await });
                }
                let rung = Arc::default();
                vacant.insert(Listened { listeners: 1, rung: Arc::clone(&rung) });
                rung
            }
        };
        Bell { bells: Arc::clone(self), channel, rung, connection }
    }

    /// Something was published.
    pub(super) fn ring(&self, channel: &str) {
        if let Some(listened) = self.0.lock().get(channel) {
            listened.rung.notify_waiters();
        }
    }

    /// What was missed is looked at.
    pub(super) fn ring_all(&self) {
        self.0.lock().values().for_each(|listened| listened.rung.notify_waiters());
    }

    pub(super) fn channels(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Bell {
    /// Resolves when the bell rings after this was called, or earlier for no reason. Whoever waits looks again now and
    /// then all the same: a ring can be missed.
    ///
    /// # Cancel safety
    /// Rings before the next call are missed.
    pub fn rung(&self) -> impl Future<Output = ()> + '_ {
        self.rung.notified()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut bells = self.bells.0.lock();
        let Entry::Occupied(mut listened) = bells.entry(std::mem::take(&mut self.channel)) else { return };
        listened.get_mut().listeners -= 1;
        if listened.get().listeners > 0 {
            return;
        }
        let (channel, _) = listened.remove_entry();
        if let (Some(mut connection), Ok(runtime)) = (self.connection.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { connection.unsubscribe(&channel).await });
        }
    }
}
