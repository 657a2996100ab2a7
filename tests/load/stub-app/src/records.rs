//! How long requests took here, by exchange.

use std::collections::HashMap;
use std::fmt::Write;

use parking_lot::Mutex;
use tokio::time::Duration;

/// What one exchange cost app and provider.
#[derive(Clone, Copy, Default)]
struct Record {
    /// Requests.
    legs: u32,
    /// From the last byte of each request to the first of its answer, when everything but sending was done.
    to_first: Duration,
    /// And to the last.
    to_last: Duration,
}

/// All since they were last asked for.
#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<String, Record>>);

impl Records {
    /// One more request of an exchange.
    pub(crate) fn add(&self, exchange: &str, to_first: Duration, to_last: Duration) {
        let mut all = self.0.lock();
        let record = all.entry(exchange.to_owned()).or_default();
        record.legs += 1;
        record.to_first += to_first;
        record.to_last += to_last;
    }

    /// A line for each: name, requests, nanoseconds to the first and to the last byte. They are forgotten.
    pub(crate) fn take(&self) -> String {
        let all = std::mem::take(&mut *self.0.lock());
        all.iter().fold(String::new(), |mut text, (exchange, Record { legs, to_first, to_last })| {
            let (first, last) = (to_first.as_nanos(), to_last.as_nanos());
            writeln!(text, "{exchange} {legs} {first} {last}").expect("strings take everything");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_of_an_exchange_add_up_and_are_told_once() {
        let records = Records::default();
        records.add("a", Duration::from_nanos(5), Duration::from_nanos(7));
        records.add("a", Duration::from_nanos(10), Duration::from_nanos(10));
        assert_eq!((records.take().as_str(), records.take().as_str()), ("a 2 15 17\n", ""));
    }
}
