//! Values of header fields, each in the hands of whoever reads it.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use siding::background::{Preferences, asks_for_background};
use siding::cache::{Lifetimes, RequestDirectives, ResponseDirectives, is_unchanged};
use siding::exchange::Grant;
use siding::provider::{RateLimits, retry_after};
use siding::telemetry::Registry;
use siding::time::Instant;
use siding::trace::{Config, Resource, Tracer};
use siding::{hop_by_hop, media_type};

use crate::choice;

const DAY: Duration = Duration::from_secs(24 * 3600);
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const GRANT: HeaderName = HeaderName::from_static("siding-authorization");
const LIMITS: [[&str; 3]; 3] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
];

type Values<'a> = &'a [HeaderValue];

/// A letter for the field, then its values, one a line.
pub fn field(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let values: Vec<HeaderValue> =
        rest.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).take(8).collect();
    let readers: [fn(Values<'_>); 9] = [
        retry_after_is_bounded,
        limits_are_waited_for,
        cache_control_of_requests,
        cache_control_of_responses,
        conditions,
        preferences,
        traceparent,
        grant,
        connection,
    ];
    choice(*kind, &readers)(&values);
}

fn all(name: &HeaderName, values: Values<'_>) -> HeaderMap {
    values.iter().map(|value| (name.clone(), value.clone())).collect()
}

/// Whether values in one line mean what they mean in several: quotes that are open would swallow what follows.
fn joined(values: Values<'_>) -> Option<HeaderValue> {
    let are_closed = values.iter().all(|value| !value.as_bytes().contains(&b'"') && value.to_str().is_ok());
    let texts: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&texts.join(&b","[..])).ok().filter(|_| are_closed)
}

fn retry_after_is_bounded(values: Values<'_>) {
    let named =
        [header::RETRY_AFTER, HeaderName::from_static("retry-after-ms")].into_iter().zip(values.iter().cloned());
    let asked = retry_after(&named.collect());
    assert!(asked.is_none_or(|asked| asked <= DAY), "{asked:?}");
    let [value] = values else { return };
    let Ok(text) = value.to_str() else { return };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && text.len() < 16 {
        assert_eq!(asked, text.parse().ok().map(|seconds| Duration::from_secs(seconds).min(DAY)));
    } else if digits {
        assert_eq!(asked, Some(DAY).filter(|_| !text.starts_with('0')).or(asked));
    } else if let Ok(date) = httpdate::parse_http_date(text.trim()) {
        let from_now = date.duration_since(SystemTime::now()).unwrap_or_default().min(DAY);
        let second = Duration::from_secs(2);
        assert!(date < SystemTime::UNIX_EPOCH || asked.is_some_and(|asked| asked.abs_diff(from_now) <= second));
        assert_eq!(httpdate::parse_http_date(&httpdate::fmt_http_date(date)).ok(), Some(date));
    }
}

/// Nobody waits for longer than a day, and whoever goes makes nobody's wait shorter.
fn limits_are_waited_for(values: Values<'_>) {
    for names in LIMITS {
        let named = names.map(HeaderName::from_static).into_iter().zip(values.iter().cloned());
        let now = Instant::now();
        let Some(mut limits) = RateLimits::read(&named.collect(), now) else { continue };
        let before = limits.ready_at(10.0, now);
        limits.take(10.0, now);
        let after = limits.ready_at(10.0, now);
        assert!(before >= now && after >= before && after <= now + DAY, "{:?} {:?}", before - now, after - now);
        assert!(limits.is_scarce() || after == now);
        assert!(limits.ready_at(10.0, now + 3 * DAY) <= now + 4 * DAY);
    }
}

fn cache_control_of_requests(values: Values<'_>) {
    let read = |values: Values<'_>| RequestDirectives::of(&all(&header::CACHE_CONTROL, values));
    let said = read(values);
    if let Some(one) = joined(values).filter(|_| !values.is_empty()) {
        assert_eq!(said, read(&[one]));
    }
    assert_eq!(said, read(&shouted(values)));
}

fn cache_control_of_responses(values: Values<'_>) {
    let read = |values: Values<'_>| ResponseDirectives::of(&all(&header::CACHE_CONTROL, values));
    let said = read(values);
    if let Some(one) = joined(values).filter(|_| !values.is_empty()) {
        assert_eq!(said, read(&[one]));
    }
    assert_eq!(said, read(&shouted(values)));
    let lifetimes = Lifetimes { ttl: DAY, stale_while_revalidate: DAY, stale_if_error: DAY }.obey(&said);
    for chance in [0.0, 0.5, 1.0] {
        let shortened = lifetimes.with_jitter(chance);
        assert!(shortened.ttl <= lifetimes.ttl && shortened.longest() <= lifetimes.longest());
    }
    let is_forbidden = said.no_store || said.no_cache;
    assert!(!is_forbidden || lifetimes.ttl.is_zero());
}

/// In capitals, which mean the same.
fn shouted(values: Values<'_>) -> Vec<HeaderValue> {
    let capitals = |value: &HeaderValue| HeaderValue::from_bytes(&value.as_bytes().to_ascii_uppercase()).ok();
    values.iter().filter_map(capitals).collect()
}

/// The first value is the answer's tag and date, the others are what the client has.
fn conditions(values: Values<'_>) {
    let Some((of_answer, of_request)) = values.split_first() else { return };
    let mut answer = all(&header::ETAG, std::slice::from_ref(of_answer));
    let request = all(&header::IF_NONE_MATCH, of_request);
    let has_it = is_unchanged(&request, &answer);
    let is_text = of_answer.to_str().is_ok();
    assert!(is_text || !has_it, "a tag that is no text is nobody's");
    let everything = all(&header::IF_NONE_MATCH, &[HeaderValue::from_static("*")]);
    assert_eq!(is_unchanged(&everything, &answer), is_text);
    answer.insert(header::LAST_MODIFIED, of_answer.clone());
    let date = of_answer.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    assert_eq!(
        is_unchanged(&all(&header::IF_MODIFIED_SINCE, std::slice::from_ref(of_answer)), &answer),
        date.is_some()
    );
}

fn preferences(values: Values<'_>) {
    let mut headers = all(&PREFER, values);
    let found = Preferences::of(&headers);
    if let [value] = values {
        assert_eq!(asks_for_background("Prefer", value.as_bytes()), found.respond_async);
    }
    if let Some(one) = joined(values) {
        assert_eq!(found, Preferences::of(&all(&PREFER, &[one])));
    }
    Preferences::remove(&mut headers);
    assert_eq!(Preferences::of(&headers), Preferences::default(), "{headers:?}");
    let once = headers.clone();
    Preferences::remove(&mut headers);
    assert_eq!(headers, once);
}

static TRACER: LazyLock<Tracer> = LazyLock::new(|| {
    let resource = Resource::new(None, "");
    let config = Config { sample: 0.5, providers: true, endpoint: None, resource };
    let made = Tracer::new(config, &Registry::new().expect("a fresh registry takes everything"));
    made.expect("no collector, no TLS").0
});

/// A trace is continued exactly where its only value is one that the recommendation allows.
fn traceparent(values: Values<'_>) {
    let context = TRACER.root(&all(&TRACEPARENT, values), "exchange", SystemTime::now()).context();
    let told = context.header().expect("every exchange has a trace");
    let told = told.to_str().expect("it is ASCII");
    let given = if let [value] = values { valid(value.as_bytes()) } else { None };
    assert_eq!(context.is_new(), given.is_none(), "{values:?}");
    if let Some((trace, is_sampled)) = given {
        assert_eq!((&told[3..35], context.is_sampled()), (trace, is_sampled), "{values:?}");
    }
    let mut headers = HeaderMap::new();
    context.put(&mut headers);
    let child = TRACER.root(&headers, "exchange", SystemTime::now()).context();
    assert_eq!((child.trace_id(), child.is_sampled()), (context.trace_id(), context.is_sampled()));
    assert_ne!(child.header(), context.header());
}

/// The trace, and whether it is sampled (W3C Trace Context, section 3.2).
fn valid(value: &[u8]) -> Option<(&str, bool)> {
    let text = std::str::from_utf8(value.get(..55)?).ok()?;
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = fields[..] else { return None };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let are_long = [2, 32, 16, 2] == [version, trace, span, flags].map(str::len);
    let is_something = |text: &str| text.bytes().any(|byte| byte != b'0');
    let end = &value[55..];
    let is_version = version != "ff" && (end.is_empty() || (version != "00" && end[0] == b'-'));
    let is_valid = are_long && fields.iter().all(|field| is_hex(field)) && is_version;
    let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    (is_valid && is_something(trace) && is_something(span)).then_some((trace, is_sampled))
}

/// What cannot be understood grants nothing; what is understood is within the bounds of names.
fn grant(values: Values<'_>) {
    let Ok(granted) = Grant::of(&all(&GRANT, values)) else {
        assert!(!values.is_empty(), "an app that says nothing grants everything");
        return;
    };
    assert!(values.len() <= 1, "it was said twice");
    let user = granted.user.as_deref();
    assert!(user.is_none_or(|user| (1..=128).contains(&user.len()) && !user.contains(char::is_control)));
    assert!(granted.max_concurrent.is_none() || user.is_some());
    assert!(granted.said.tags.len() <= 16 && granted.said.tags.iter().all(|tag| (1..=64).contains(&tag.len())));
}

fn connection(values: Values<'_>) {
    let mut headers = all(&header::CONNECTION, values);
    for name in ["host", "content-length", "x-forwarded-for", "te", "keep-alive", "transfer-encoding", "x-a"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }
    headers.extend(all(&header::CONTENT_TYPE, values));
    assert!(!media_type::of(&headers).contains(';'));
    let options: Vec<String> = hop_by_hop::connection_options(&headers).map(str::to_owned).collect();
    hop_by_hop::remove(&mut headers);
    for name in ["host", "content-length", "x-forwarded-for"] {
        assert!(headers.contains_key(name), "{name} was nominated");
    }
    for name in ["connection", "te", "keep-alive", "transfer-encoding"] {
        assert!(!headers.contains_key(name), "{name} went on");
    }
    let is_nominated = options.iter().any(|option| option.eq_ignore_ascii_case("x-a"));
    assert_eq!(headers.contains_key("x-a"), !is_nominated);
}
