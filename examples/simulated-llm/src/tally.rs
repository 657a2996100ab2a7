//! Counters: in all, per endpoint and per prompt.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::simulation::unpoisoned;

/// Prompts counted one by one; the oldest is forgotten beyond that.
const PROMPTS: usize = 200_000;

/// Every call is in flight until it is exactly one of completed, broken or cancelled.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) in_flight: u64,
    pub(crate) max_in_flight: u64,
    /// Answered to the end, whatever the status.
    pub(crate) completed: u64,
    /// Ended by a fault that was asked for.
    pub(crate) broken: u64,
    /// The client went away before the end.
    pub(crate) cancelled: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Completed,
    Broken,
    Cancelled,
}

impl Counts {
    fn begin(&mut self) {
        self.total += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
    }

    fn end(&mut self, ending: Ending) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match ending {
            Ending::Completed => self.completed += 1,
            Ending::Broken => self.broken += 1,
            Ending::Cancelled => self.cancelled += 1,
        }
    }
}

#[derive(Default)]
struct Counters {
    /// Raised by a reset, so that calls begun before it are not counted down after it.
    epoch: u64,
    all: Counts,
    endpoints: BTreeMap<&'static str, Counts>,
    prompts: HashMap<u64, Counts>,
    order: VecDeque<u64>,
    connections: u64,
}

#[derive(Default)]
pub(crate) struct Tally(Mutex<Counters>);

/// What `GET /sim/stats` shows.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    all: Counts,
    connections: u64,
    endpoints: BTreeMap<&'static str, Counts>,
}

impl Tally {
    pub(crate) fn connected(&self) {
        unpoisoned(&self.0).connections += 1;
    }

    /// Counts a call; it is in flight until the returned value is ended or dropped.
    pub(crate) fn begin(self: &Arc<Self>, endpoint: &'static str, fingerprint: &str) -> InFlight {
        let prompt = key(fingerprint);
        let mut counters = unpoisoned(&self.0);
        counters.all.begin();
        counters.endpoints.entry(endpoint).or_default().begin();
        if !counters.prompts.contains_key(&prompt) {
            counters.order.push_back(prompt);
            if counters.order.len() > PROMPTS
                && let Some(oldest) = counters.order.pop_front()
            {
                counters.prompts.remove(&oldest);
            }
        }
        let counts = counters.prompts.entry(prompt).or_default();
        counts.begin();
        let ordinal = counts.total;
        InFlight {
            tally: Arc::clone(self),
            epoch: counters.epoch,
            endpoint,
            prompt,
            ordinal,
            sequence: counters.all.total,
            ended: false,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let counters = unpoisoned(&self.0);
        Snapshot { all: counters.all.clone(), connections: counters.connections, endpoints: counters.endpoints.clone() }
    }

    pub(crate) fn of_prompt(&self, fingerprint: &str) -> Counts {
        unpoisoned(&self.0).prompts.get(&key(fingerprint)).cloned().unwrap_or_default()
    }

    pub(crate) fn reset(&self) {
        let mut counters = unpoisoned(&self.0);
        *counters = Counters { epoch: counters.epoch + 1, ..Counters::default() };
    }

    fn end(&self, call: &InFlight, ending: Ending) {
        let mut counters = unpoisoned(&self.0);
        if counters.epoch != call.epoch {
            return;
        }
        counters.all.end(ending);
        if let Some(counts) = counters.endpoints.get_mut(call.endpoint) {
            counts.end(ending);
        }
        if let Some(counts) = counters.prompts.get_mut(&call.prompt) {
            counts.end(ending);
        }
    }
}

/// Twelve hex digits as a number, to keep a counted prompt small.
fn key(fingerprint: &str) -> u64 {
    u64::from_str_radix(fingerprint, 16).unwrap_or(0)
}

/// A call being answered. Dropping it means that the client went away.
pub(crate) struct InFlight {
    tally: Arc<Tally>,
    epoch: u64,
    endpoint: &'static str,
    prompt: u64,
    /// The how-manieth call with this prompt.
    pub(crate) ordinal: u64,
    /// The how-manieth call in all.
    pub(crate) sequence: u64,
    ended: bool,
}

impl InFlight {
    pub(crate) fn end(mut self, ending: Ending) {
        self.ended = true;
        self.tally.end(&self, ending);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.tally.end(self, Ending::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_ends_once_and_a_dropped_one_is_cancelled() {
        let tally = Arc::new(Tally::default());
        let first = tally.begin("openai.chat", "00000000000a");
        let second = tally.begin("openai.chat", "00000000000a");
        assert_eq!((first.ordinal, second.ordinal), (1, 2));
        first.end(Ending::Completed);
        drop(second);
        let counts = tally.of_prompt("00000000000a");
        assert_eq!(counts, Counts { total: 2, in_flight: 0, max_in_flight: 2, completed: 1, broken: 0, cancelled: 1 });
    }

    #[test]
    fn a_call_begun_before_a_reset_does_not_disturb_the_new_counts() {
        let tally = Arc::new(Tally::default());
        let call = tally.begin("openai.chat", "1");
        tally.reset();
        let _new = tally.begin("openai.chat", "1");
        drop(call);
        assert_eq!(tally.of_prompt("1").in_flight, 1);
    }
}
