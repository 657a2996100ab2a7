//! Server-sent events as they arrive: when each did, and how long it was on its way where the simulated LLM stamped it.

use std::time::Duration;

use serde::Serialize;
use simulated_llm::stamp::{self, Stamp};

use crate::distribution::Distribution;

/// One stream while it is read.
pub(crate) struct Listener {
    began: Duration,
    events: Vec<Event>,
    /// All bytes so far; those from `from` on are an event's that is not here whole.
    received: Vec<u8>,
    from: usize,
}

struct Event {
    /// Since the Unix epoch, as in stamps.
    arrived: Duration,
    stamp: Option<Stamp>,
}

impl Listener {
    /// Before the request is made.
    pub(crate) fn new() -> Self {
        Self { began: stamp::now(), events: Vec::new(), received: Vec::new(), from: 0 }
    }

    /// Takes what has just arrived.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let arrived = stamp::now();
        // An end may have begun in what was here before.
        let mut searched = self.received.len().saturating_sub(END.len() - 1).max(self.from);
        self.received.extend_from_slice(bytes);
        while let Some(found) = self.received[searched..].windows(END.len()).position(|window| window == END) {
            let end = searched + found + END.len();
            let text = String::from_utf8_lossy(&self.received[self.from..end]);
            // Comments that keep a connection alive are no events.
            if text.lines().any(|line| line.starts_with("data:")) {
                self.events.push(Event { arrived, stamp: Stamp::of(&text) });
            }
            (self.from, searched) = (end, end);
        }
    }

    /// Everything that was received.
    pub(crate) fn body(&self) -> &[u8] {
        &self.received
    }

    /// Whether any event came.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }
}

const END: &[u8] = b"\n\n";

/// The times of all streams, in milliseconds.
#[derive(Default, Serialize)]
pub(crate) struct Samples {
    /// From the beginning of the request to the first event.
    first_event: Vec<f64>,
    /// Of that, what the provider did not take itself.
    first_event_way: Vec<f64>,
    /// From each event's sending to its arrival.
    delay: Vec<f64>,
    /// From an event to the next.
    gap: Vec<f64>,
    /// What of it the provider had not left between them. Negative where an event was late and the next was not.
    stall: Vec<f64>,
}

/// What is told of streams.
#[derive(Serialize)]
pub(crate) struct Streams {
    events: u64,
    /// Events that did not say when they were sent.
    unstamped: u64,
    first_event_ms: Option<Distribution>,
    first_event_way_ms: Option<Distribution>,
    delay_ms: Option<Distribution>,
    gap_ms: Option<Distribution>,
    stall_ms: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<Samples>,
}

impl Samples {
    /// One more stream, which is over.
    pub(crate) fn add(&mut self, stream: &Listener) {
        let Some(first) = stream.events.first() else { return };
        let until_first = between(stream.began, first.arrived);
        self.first_event.push(until_first);
        self.first_event_way.extend(first.stamp.map(|stamp| until_first - between(stamp.received, stamp.sent)));
        self.delay.extend(stream.events.iter().filter_map(|event| Some(between(event.stamp?.sent, event.arrived))));
        for pair in stream.events.windows(2) {
            let gap = between(pair[0].arrived, pair[1].arrived);
            self.gap.push(gap);
            if let (Some(one), Some(next)) = (pair[0].stamp, pair[1].stamp) {
                self.stall.push(gap - between(one.sent, next.sent));
            }
        }
    }

    /// What there is to tell; everything itself too, if that is wanted.
    pub(crate) fn summary(&mut self, with_samples: bool) -> Streams {
        let events = (self.first_event.len() + self.gap.len()) as u64;
        Streams {
            events,
            unstamped: events - self.delay.len() as u64,
            first_event_ms: Distribution::of(&mut self.first_event),
            first_event_way_ms: Distribution::of(&mut self.first_event_way),
            delay_ms: Distribution::of(&mut self.delay),
            gap_ms: Distribution::of(&mut self.gap),
            stall_ms: Distribution::of(&mut self.stall),
            samples: with_samples.then(|| std::mem::take(self)),
        }
    }
}

impl Streams {
    /// The distributions by what they are of.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, &Distribution)> {
        let all = [
            ("first event", &self.first_event_ms),
            ("first event, without the provider's own time", &self.first_event_way_ms),
            ("events from their sending", &self.delay_ms),
            ("between events", &self.gap_ms),
            ("between events, beyond the provider's own spacing", &self.stall_ms),
        ];
        all.into_iter().filter_map(|(name, found)| Some((name, found.as_ref()?)))
    }
}

/// In milliseconds; negative if `to` is earlier.
fn between(from: Duration, to: Duration) -> f64 {
    let apart = from.abs_diff(to).as_secs_f64() * 1000.0;
    if to < from { -apart } else { apart }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn stamped(arrived: u64, received: u64, sent: u64) -> Event {
        Event { arrived: at(arrived), stamp: Some(Stamp { received: at(received), sent: at(sent) }) }
    }

    fn heard(pieces: &[&str]) -> Listener {
        let mut listener = Listener::new();
        pieces.iter().for_each(|piece| listener.hear(piece.as_bytes()));
        listener
    }

    #[test]
    fn events_are_told_apart_however_they_are_cut() {
        let stream = ": received 1 sent 2\ndata: a\n\n: keep-alive\n\nevent: x\ndata: b\n\ndata: cut";
        for at in 0..=stream.len() {
            let listener = heard(&[&stream[..at], &stream[at..]]);
            let stamps: Vec<_> = listener.events.iter().map(|event| event.stamp.map(|stamp| stamp.sent)).collect();
            assert_eq!(stamps, [Some(Duration::from_nanos(2)), None], "{at}");
            assert_eq!(listener.body(), stream.as_bytes());
        }
    }

    #[test]
    fn a_streams_times_are_its_clients_and_those_that_the_provider_did_not_take() {
        let events = vec![stamped(1_030, 1_005, 1_025), stamped(1_090, 1_005, 1_075), stamped(1_130, 1_005, 1_125)];
        let stream = Listener { began: at(1_000), events, received: Vec::new(), from: 0 };
        let mut samples = Samples::default();
        samples.add(&stream);
        let rounded = |all: &[f64]| all.iter().map(|ms| ms.round() as i64).collect::<Vec<_>>();
        assert_eq!((rounded(&samples.first_event), rounded(&samples.first_event_way)), (vec![30], vec![10]));
        assert_eq!(rounded(&samples.delay), [5, 15, 5]);
        assert_eq!((rounded(&samples.gap), rounded(&samples.stall)), (vec![60, 40], vec![10, -10]));
        assert_eq!(samples.summary(false).unstamped, 0);
    }

    #[test]
    fn events_without_stamps_are_counted_as_such() {
        let mut samples = Samples::default();
        samples.add(&heard(&["data: a\n\n", "data: b\n\n"]));
        let summary = samples.summary(true);
        assert_eq!((summary.events, summary.unstamped), (2, 2));
        assert!(summary.delay_ms.is_none() && summary.stall_ms.is_none() && summary.gap_ms.is_some());
        assert_eq!(summary.samples.map(|samples| samples.gap.len()), Some(1));
    }
}
