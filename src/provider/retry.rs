//! When a call is tried again. Retries spend from a budget that calls fill, so that a provider in trouble is
//! not hit harder the more of its answers fail (as tower's retry budget argues: a maximum per call multiplies
//! the load exactly when there is too much of it).

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::Failure;
use crate::time::{Duration, unix_seconds};

/// The most that can be saved up, so the largest burst of retries.
const MOST_SAVED: f64 = 10.0;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, and the longest Retry-After that is waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest Retry-After that is believed.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// Retries that may still be made.
#[derive(Debug)]
pub(super) struct Budget {
    per_call: f64,
    saved: Mutex<f64>,
}

impl Budget {
    pub(super) fn new(per_call: f64) -> Self {
        Self { per_call, saved: Mutex::new(if per_call > 0.0 { MOST_SAVED } else { 0.0 }) }
    }

    /// A call begins.
    pub(super) fn deposit(&self) {
        let mut saved = self.saved.lock();
        *saved = (*saved + self.per_call).min(MOST_SAVED);
    }

    /// Takes one retry out, if there is one.
    pub(super) fn withdraw(&self) -> bool {
        let mut saved = self.saved.lock();
        let enough = *saved >= 1.0;
        if enough {
            *saved -= 1.0;
        }
        enough
    }
}

/// Whether another try may help after this response: overload, rate limits and faults of the provider pass;
/// a provider that says so itself in `x-should-retry` is believed.
pub(super) fn may_help(status: StatusCode, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").map(|value| value.as_bytes()) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => is_transient(status),
    }
}

/// Whether a status tells of trouble that may pass.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 429 | 500 | 502 | 503 | 504 | 529)
}

/// Whether another try may help after this failure: only where no byte of an answer was seen.
pub(super) fn may_help_after(failure: &Failure) -> bool {
    matches!(failure, Failure::Connect { .. } | Failure::ConnectTimeout(_) | Failure::FirstByteTimeout(_))
}

/// How long to pause before try number `attempt` (the first retry is 1): what the provider asked for, else
/// exponential with full jitter over its upper half. `None` when it asked for more than is worth waiting for.
pub(super) fn pause(attempt: u32, headers: Option<&HeaderMap>) -> Option<Duration> {
    if let Some(asked) = headers.and_then(retry_after) {
        return (asked <= LONGEST_PAUSE).then_some(asked);
    }
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    Some(doubled.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0))
}

/// The three spellings: `retry-after-ms`, and `Retry-After` in seconds (also fractional) or as a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|_| text.starts_with(|first: char| first.is_ascii_digit()));
    // What no clock can count is long, not unsaid.
    let asked = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_ASKED).min(LONGEST_ASKED);
    if let Some(millis) = text("retry-after-ms").and_then(number) {
        return Some(asked(millis / 1000.0));
    }
    let value = text("retry-after")?;
    if let Some(seconds) = number(value) {
        return Some(asked(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_secs(unix_seconds())).min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn all_spellings_of_retry_after_are_read() {
        let pause_of = |name, value: &str| pause(1, Some(&headers(name, value)));
        assert_eq!(pause_of("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(pause_of("retry-after", "1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(pause_of("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(10));
        let asked = pause_of("retry-after", &date).unwrap();
        assert!(asked > Duration::from_secs(7) && asked <= Duration::from_secs(10), "{asked:?}");
        assert_eq!(pause_of("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for long in ["3600", "18446744073709551616", "1e400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(pause_of("retry-after", long), None, "{long}: not worth waiting for");
        }
        for nonsense in ["", "-1", "soon", "NaN", "inf"] {
            let jittered = pause_of("retry-after", nonsense).unwrap();
            assert!(jittered >= FIRST_PAUSE / 2 && jittered <= FIRST_PAUSE, "{nonsense}: {jittered:?}");
        }
    }

    #[test]
    fn the_budget_allows_a_burst_and_then_its_share_of_calls() {
        let budget = Budget::new(0.1);
        let burst = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(burst, 10);
        let later = (0..100)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        assert!((9..=10).contains(&later), "{later}");
        assert!(!Budget::new(0.0).withdraw());
    }

    #[test]
    fn a_provider_that_forbids_retries_is_obeyed() {
        assert!(may_help(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()));
        assert!(!may_help(StatusCode::TOO_MANY_REQUESTS, &headers("x-should-retry", "false")));
        assert!(!may_help(StatusCode::BAD_REQUEST, &HeaderMap::new()));
    }
}
