//! What a provider says in its answers about how much it still takes: `x-ratelimit-*` (OpenAI and those who speak its
//! API), `anthropic-ratelimit-*`. Both describe token buckets that fill steadily and are full at their reset, so a call
//! need only wait until the bucket holds what it takes.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use crate::time::{Duration, Instant, unix_millis};

/// Below this share of its limit a bucket is worth remembering.
const SCARCE: f64 = 0.1;
/// The longest reset that is believed.
const LONGEST_RESET: Duration = Duration::from_secs(24 * 3600);

/// What is limited. Output is not known before it is there, so a call takes no more than one token of it.
#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
}

const KINDS: [Kind; 4] = [Kind::Requests, Kind::Tokens, Kind::InputTokens, Kind::OutputTokens];

/// The buckets of one account and model, as far as they are scarce.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits([Option<Bucket>; KINDS.len()]);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// What it held at `at`. Calls that went all the same can make it negative.
    level: f64,
    at: Instant,
    refill: Refill,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Refill {
    /// So much per second, up to the limit.
    Steady { rate: f64, limit: f64 },
    /// All at once: the provider did not name its limit.
    At(Instant),
}

impl Limits {
    /// Reads an answer's headers. `None` where they say nothing of limits.
    pub fn read(headers: &HeaderMap, now: Instant) -> Option<Self> {
        let said = KINDS.map(|kind| Said::read(headers, kind));
        said.iter().any(Option::is_some).then(|| Self(said.map(|said| said?.bucket(now))))
    }

    /// Whether anything is scarce.
    pub fn is_scarce(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// When a call of so many tokens may go.
    pub fn ready_at(&self, tokens: f64, now: Instant) -> Instant {
        let ready = |(kind, bucket): (Kind, &Option<Bucket>)| Some(bucket.as_ref()?.ready_at(cost(kind, tokens), now));
        KINDS.into_iter().zip(&self.0).filter_map(ready).max().unwrap_or(now).max(now)
    }

    /// A call of so many tokens goes.
    pub fn take(&mut self, tokens: f64, now: Instant) {
        for (kind, bucket) in KINDS.into_iter().zip(&mut self.0) {
            if let Some(bucket) = bucket {
                bucket.take(cost(kind, tokens), now);
            }
        }
    }
}

fn cost(kind: Kind, tokens: f64) -> f64 {
    match kind {
        Kind::Requests | Kind::OutputTokens => 1.0,
        Kind::Tokens | Kind::InputTokens => tokens,
    }
}

impl Bucket {
    fn level_at(&self, now: Instant) -> f64 {
        match self.refill {
            Refill::At(at) if at <= now => f64::INFINITY,
            Refill::At(_) => self.level,
            Refill::Steady { rate, limit } => {
                limit.min(self.level + rate * now.saturating_duration_since(self.at).as_secs_f64())
            }
        }
    }

    fn ready_at(&self, cost: f64, now: Instant) -> Instant {
        match self.refill {
            Refill::At(_) if self.level_at(now) >= cost => now,
            Refill::At(at) => at,
            Refill::Steady { rate, limit } => {
                // More than the bucket ever holds is not to be waited for.
                let missing = (cost.min(limit) - self.level_at(now)).max(0.0);
                now + Duration::try_from_secs_f64(missing / rate).map_or(LONGEST_RESET, |wait| wait.min(LONGEST_RESET))
            }
        }
    }

    fn take(&mut self, cost: f64, now: Instant) {
        self.level = self.level_at(now) - cost;
        self.at = now;
    }
}

/// What the headers say of one kind.
struct Said {
    limit: Option<f64>,
    remaining: f64,
    full_in: Duration,
}

impl Said {
    fn read(headers: &HeaderMap, kind: Kind) -> Option<Self> {
        let names = match kind {
            Kind::Requests => {
                ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
            }
            Kind::Tokens => ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
            Kind::InputTokens | Kind::OutputTokens => return Self::of_anthropic(headers, kind),
        };
        Self::of(headers, names, go_duration).or_else(|| Self::of_anthropic(headers, kind))
    }

    fn of_anthropic(headers: &HeaderMap, kind: Kind) -> Option<Self> {
        let kind = match kind {
            Kind::Requests => "requests",
            Kind::Tokens => "tokens",
            Kind::InputTokens => "input-tokens",
            Kind::OutputTokens => "output-tokens",
        };
        let names = ["limit", "remaining", "reset"].map(|what| format!("anthropic-ratelimit-{kind}-{what}"));
        Self::of(headers, names.each_ref().map(String::as_str), from_now)
    }

    fn of(headers: &HeaderMap, names: [&str; 3], duration: impl Fn(&str) -> Option<Duration>) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |name: &str| text(name)?.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
        let [limit, remaining, reset] = names;
        let full_in = duration(text(reset)?)?.min(LONGEST_RESET);
        Some(Self { limit: number(limit), remaining: number(remaining)?, full_in })
    }

    /// The bucket, where it is scarce.
    fn bucket(&self, now: Instant) -> Option<Bucket> {
        let refill = match self.limit {
            _ if self.full_in.is_zero() => return None,
            None => Refill::At(now + self.full_in),
            Some(limit) if self.remaining < limit * SCARCE => {
                Refill::Steady { rate: (limit - self.remaining) / self.full_in.as_secs_f64(), limit }
            }
            Some(_) => return None,
        };
        Some(Bucket { level: self.remaining, at: now, refill })
    }
}

/// Go's spelling of durations, `6m0s`, `20ms`, `1.5s`; or a number of seconds.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (value, after) = rest.split_at(number);
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, more) = after.split_at(unit);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += value.parse::<f64>().ok()? * scale;
        rest = more;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// A moment as RFC 3339 spells it, from now.
fn from_now(text: &str) -> Option<Duration> {
    let at: SystemTime = humantime::parse_rfc3339(text).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.saturating_sub(Duration::from_millis(unix_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn read(pairs: &[(&'static str, &str)], now: Instant) -> Option<Limits> {
        let header = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        };
        Limits::read(&pairs.iter().map(header).collect(), now)
    }

    fn openai(limit: &str, remaining: &str, reset: &str, now: Instant) -> Limits {
        let pairs = [
            ("x-ratelimit-limit-requests", limit),
            ("x-ratelimit-remaining-requests", remaining),
            ("x-ratelimit-reset-requests", reset),
        ];
        read(&pairs, now).unwrap()
    }

    fn about(ready: Instant, expected: Instant) -> bool {
        ready.saturating_duration_since(expected).max(expected.saturating_duration_since(ready))
            < Duration::from_millis(1)
    }

    #[test]
    fn durations_are_read_in_every_spelling() {
        for (text, millis) in
            [("1s", 1000), ("6m0s", 360_000), ("20ms", 20), ("1h0m0.5s", 3_600_500), ("7.66s", 7660), ("2", 2000)]
        {
            assert_eq!(go_duration(text).map(|read| read.as_millis()), Some(millis), "{text}");
        }
        for nonsense in ["", "s", "1x", "soon", "-1s", "1.2.3s", "m1"] {
            assert_eq!(go_duration(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_empty_bucket_without_a_limit_is_waited_for_to_its_reset() {
        let now = Instant::now();
        let pairs = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "20s")];
        let mut limits = read(&pairs, now).unwrap();
        assert_eq!(limits.ready_at(1.0, now), now + SECOND * 20);
        assert_eq!(limits.ready_at(1.0, now + SECOND * 20), now + SECOND * 20);
        limits.take(1.0, now + SECOND * 20);
        assert_eq!(limits.ready_at(1.0, now + SECOND * 20), now + SECOND * 20, "how many it takes then is not known");
    }

    #[test]
    fn a_bucket_with_a_limit_fills_steadily() {
        let now = Instant::now();
        let mut limits = openai("60", "0", "1m0s", now);
        assert!(about(limits.ready_at(0.0, now), now + SECOND), "one in a second");
        limits.take(0.0, now + SECOND);
        assert!(about(limits.ready_at(0.0, now + SECOND), now + SECOND * 2));
        let later = now + SECOND * 10;
        limits.take(0.0, later);
        assert_eq!(limits.ready_at(0.0, later), later);
    }

    #[test]
    fn what_is_left_goes_before_anybody_waits() {
        let now = Instant::now();
        let mut limits = openai("100", "2", "98s", now);
        for _ in 0..2 {
            assert_eq!(limits.ready_at(0.0, now), now);
            limits.take(0.0, now);
        }
        assert!(about(limits.ready_at(0.0, now), now + SECOND));
    }

    #[test]
    fn plenty_is_not_remembered_and_nothing_is_not_invented() {
        let now = Instant::now();
        assert!(!openai("60", "59", "1s", now).is_scarce());
        assert!(!openai("60", "0", "0s", now).is_scarce());
        assert_eq!(read(&[("x-ratelimit-remaining-requests", "0")], now), None, "for how long?");
        assert_eq!(read(&[("x-ratelimit-remaining-requests", "NaN"), ("x-ratelimit-reset-requests", "1s")], now), None);
    }

    #[test]
    fn tokens_are_waited_for_as_far_as_a_bucket_can_hold_them() {
        let now = Instant::now();
        let pairs = [
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "100s"),
        ];
        let limits = read(&pairs, now).unwrap();
        assert!(about(limits.ready_at(500.0, now), now + SECOND * 50));
        assert!(about(limits.ready_at(1e9, now), now + SECOND * 100));
    }

    #[test]
    fn anthropics_moments_are_read() {
        let now = Instant::now();
        let reset = humantime::format_rfc3339_seconds(SystemTime::now() + SECOND * 30).to_string();
        let pairs = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", reset.as_str()),
        ];
        let ready = read(&pairs, now).unwrap().ready_at(100.0, now);
        assert!(ready > now + SECOND * 27 && ready <= now + SECOND * 30);
    }
}
