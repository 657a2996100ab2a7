//! Clients that are turned away so that those who are here already can be served: each takes a descriptor, and a process
//! without any can neither reach the app nor be asked how it is.

use std::sync::atomic::{AtomicBool, Ordering};

use pingora::protocols::Stream;
use prometheus::IntCounter;

use crate::telemetry::Registry;
use crate::time::Duration;

/// The most that is left to the app, to providers and to operators.
const MOST_SPARED: u64 = 1024;

/// How long somebody who is turned away may take to read why, while there is room for that.
const PARTING: Duration = Duration::from_secs(1);

/// Who is let in.
#[derive(Debug)]
pub struct Crowd {
    /// Clients with this descriptor or a higher one are turned away.
    bound: u64,
    /// Those with this one or a higher one at once.
    full: u64,
    was_told: AtomicBool,
    refused: IntCounter,
}

impl Crowd {
    /// Of `descriptors`, an eighth is left to others.
    pub fn new(descriptors: u64, registry: &Registry) -> Self {
        let refused = registry.counter(
            "connections_refused_total",
            "Clients that were turned away with 503 because too few descriptors were left (RLIMIT_NOFILE).",
        );
        let spared = (descriptors / 8).min(MOST_SPARED);
        let (bound, full) = (descriptors - spared, descriptors - spared / 2);
        Self { bound, full, was_told: AtomicBool::new(false), refused }
    }

    /// `None` lets a client in; else it is how long it is given to read that it is not. A new descriptor is the lowest free
    /// number, so it tells how many are in use.
    pub(super) fn turns_away(&self, stream: &Stream) -> Option<Duration> {
        self.parting(u64::try_from(stream.id()).unwrap_or_default())
    }

    fn parting(&self, descriptor: u64) -> Option<Duration> {
        if descriptor < self.bound {
            return None;
        }
        self.refused.inc();
        if !self.was_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(bound = self.bound, "too few descriptors are left: clients are turned away, and counted");
        }
        Some(if descriptor < self.full { PARTING } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_of_the_descriptors_is_not_for_clients_and_half_of_it_not_for_words_to_them() {
        let registry = Registry::new().unwrap();
        let crowd = Crowd::new(800, &registry);
        let told = [0, 699, 700, 749, 750, 799].map(|descriptor| crowd.parting(descriptor));
        let (words, none) = (Some(PARTING), Some(Duration::ZERO));
        assert_eq!(told, [None, None, words, words, none, none]);
        assert!(registry.render().unwrap().contains("siding_connections_refused_total 4"));
        assert_eq!(Crowd::new(1 << 20, &registry).bound, (1 << 20) - MOST_SPARED);
        assert_eq!(Crowd::new(0, &registry).parting(0), none);
    }
}
