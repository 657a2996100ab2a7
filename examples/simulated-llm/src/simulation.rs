//! What every connection shares: the default behaviour, the counters and the recorded requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::behaviour::Behaviour;
use crate::recorder::Recorder;
use crate::tally::Tally;

/// The state of one simulated LLM.
pub struct Simulation {
    defaults: Mutex<Defaults>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) recorder: Recorder,
}

/// How calls behave unless their prompt says otherwise.
#[derive(Clone, Default)]
pub(crate) struct Defaults {
    /// Set by flags, changed by `POST /sim/config`.
    pub(crate) behaviour: Behaviour,
    /// Directives that every call obeys before its own.
    pub(crate) directives: String,
}

impl Simulation {
    /// A simulation in which calls behave like `behaviour` unless their prompt says otherwise.
    pub fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self {
            defaults: Mutex::new(Defaults { behaviour, directives: String::new() }),
            tally: Arc::default(),
            recorder: Recorder::default(),
        })
    }

    pub(crate) fn defaults(&self) -> MutexGuard<'_, Defaults> {
        unpoisoned(&self.defaults)
    }
}

/// Counters stay usable after a panic in another task.
pub(crate) fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
