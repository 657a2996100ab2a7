//! When a stream's events were sent, in a comment at the beginning of each, for whoever measures their way.
//!
//! Both ends are on one machine, so its clock tells how long the way took. Readers of events skip comments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The times of one event, since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the call that is answered was here whole.
    pub received: Duration,
    /// When the event was sent.
    pub sent: Duration,
}

impl Stamp {
    /// The comment, with its line end.
    pub(crate) fn line(&self) -> String {
        format!(": received {} sent {}\n", self.received.as_nanos(), self.sent.as_nanos())
    }

    /// Reads it off an event's first line; `None` where there is none.
    pub fn of(event: &str) -> Option<Self> {
        let times = event.lines().next()?.strip_prefix(": received ")?;
        let (received, sent) = times.split_once(" sent ")?;
        let time = |nanos: &str| nanos.parse().ok().map(Duration::from_nanos);
        Some(Self { received: time(received)?, sent: time(sent)? })
    }
}

/// The time, as stamps tell it.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stamped_on_an_event_can_be_read_off_it() {
        let stamp = Stamp { received: Duration::from_nanos(1_790_000_000_123_456_789), sent: now() };
        assert_eq!(Stamp::of(&format!("{}data: {{}}\n\n", stamp.line())), Some(stamp));
    }

    #[test]
    fn an_event_without_a_stamp_has_none() {
        for event in ["data: 1\n\n", ": keep-alive\n\n", ": received 1\n", ": received x sent 2\n", ""] {
            assert_eq!(Stamp::of(event), None, "{event:?}");
        }
    }
}
