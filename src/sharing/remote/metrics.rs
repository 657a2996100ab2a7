//! Families about the second level.

use prometheus::{IntCounter, IntCounterVec};

use crate::telemetry::Registry;

/// What a look into the second level found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Hit,
    Miss,
    Purged,
    Corrupt,
    Unavailable,
}

/// What part this process had in a flight over several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Led,
    Followed,
    TookOver,
    Alone,
}

impl Looked {
    const ALL: [Looked; 5] = [Looked::Hit, Looked::Miss, Looked::Purged, Looked::Corrupt, Looked::Unavailable];

    fn as_str(self) -> &'static str {
        match self {
            Looked::Hit => "hit",
            Looked::Miss => "miss",
            Looked::Purged => "purged",
            Looked::Corrupt => "corrupt",
            Looked::Unavailable => "unavailable",
        }
    }
}

impl Part {
    const ALL: [Part; 4] = [Part::Led, Part::Followed, Part::TookOver, Part::Alone];

    fn as_str(self) -> &'static str {
        match self {
            Part::Led => "led",
            Part::Followed => "followed",
            Part::TookOver => "took_over",
            Part::Alone => "alone",
        }
    }
}

#[derive(Debug)]
pub(super) struct Metrics {
    lookups: IntCounterVec,
    writes: IntCounterVec,
    flights: IntCounterVec,
    fenced: IntCounter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            lookups: registry.counters(
                "second_level_lookups_total",
                "Looks for an answer in the store that processes share, by what was found.",
                "result",
                &Looked::ALL.map(Looked::as_str),
            ),
            writes: registry.counters(
                "second_level_writes_total",
                "Answers written to the store that processes share.",
                "result",
                &["ok", "unavailable"],
            ),
            flights: registry.counters(
                "shared_flights_total",
                "Flights over several processes by the part that this one had; alone: Redis was away.",
                "part",
                &Part::ALL.map(Part::as_str),
            ),
            fenced: registry.counter(
                "shared_flights_fenced_total",
                "Flights whose lease another process had taken when this one wanted to write.",
            ),
        }
    }

    pub(super) fn looked(&self, found: Looked) {
        self.lookups.with_label_values(&[found.as_str()]).inc();
    }

    pub(super) fn wrote(&self, is_written: bool) {
        self.writes.with_label_values(&[if is_written { "ok" } else { "unavailable" }]).inc();
    }

    pub(super) fn took_part(&self, part: Part) {
        self.flights.with_label_values(&[part.as_str()]).inc();
    }

    pub(super) fn fenced(&self) {
        self.fenced.inc();
    }
}
