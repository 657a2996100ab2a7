//! What a request prefers (RFC 7240): not to wait, or to wait for so long at the most.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const RESPOND_ASYNC: &str = "respond-async";
const WAIT: &str = "wait";

/// The preferences that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// Rather a promise now than an answer later.
    pub respond_async: bool,
    /// How long the client would wait all the same, in whole seconds.
    pub wait: Option<Duration>,
}

impl Preferences {
    /// Of a request. What cannot be read is no preference; of two that differ the first counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut found = Self::default();
        for (name, value) in values.flat_map(split).map(read) {
            if name.eq_ignore_ascii_case(RESPOND_ASYNC) {
                found.respond_async |= value.is_empty();
            } else if name.eq_ignore_ascii_case(WAIT) && found.wait.is_none() {
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                found.wait = value.parse::<u32>().ok().filter(|_| is_number).map(|n| Duration::from_secs(n.into()));
            }
        }
        found
    }

    /// Removes the preferences that were met here; others are the app's.
    pub fn remove(headers: &mut HeaderMap) {
        let values: Vec<HeaderValue> = headers.get_all(PREFER).iter().cloned().collect();
        headers.remove(PREFER);
        for value in values {
            let Ok(text) = value.to_str() else { continue };
            let others = split(text).filter(|preference| {
                let (name, _) = read(preference);
                !name.is_empty() && !name.eq_ignore_ascii_case(RESPOND_ASYNC) && !name.eq_ignore_ascii_case(WAIT)
            });
            let others = others.map(str::trim).collect::<Vec<_>>().join(", ");
            if let (false, Ok(others)) = (others.is_empty(), HeaderValue::from_str(&others)) {
                headers.append(PREFER, others);
            }
        }
    }
}

/// Whether a header of a request that nobody has parsed yet asks for a job.
pub fn asks_for_background(name: &str, value: &[u8]) -> bool {
    name.eq_ignore_ascii_case(PREFER.as_str())
        && HeaderValue::from_bytes(value)
            .is_ok_and(|value| Preferences::of(&HeaderMap::from_iter([(PREFER, value)])).respond_async)
}

/// The preferences of one header value. Commas in quotes are text.
fn split(value: &str) -> impl Iterator<Item = &str> {
    pieces(value, b',')
}

/// Name and value of one preference, without its parameters.
fn read(preference: &str) -> (&str, &str) {
    let preference = pieces(preference, b';').next().unwrap_or_default();
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    (name.trim(), value.trim().trim_matches('"'))
}

/// Splits at a separator outside quotes.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let was_escaped = std::mem::take(&mut escaped);
            match byte {
                b'\\' if quoted => escaped = !was_escaped,
                b'"' if !was_escaped => quoted = !quoted,
                _ => return byte == separator && !quoted,
            }
            false
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(end.map_or(text, |end| &text[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (PREFER, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn read_all(values: &[&str]) -> (bool, Option<u64>) {
        let found = Preferences::of(&headers(values));
        (found.respond_async, found.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn both_preferences_are_found_in_any_spelling_and_place() {
        assert_eq!(read_all(&["respond-async, wait=10"]), (true, Some(10)));
        assert_eq!(read_all(&["return=minimal; x=\"a,b\"", "Wait = \"5\" , RESPOND-ASYNC; foo"]), (true, Some(5)));
        assert_eq!(read_all(&["respond-async=\"\""]), (true, None));
        assert_eq!(read_all(&["wait=1, wait=2"]), (false, Some(1)));
        assert_eq!(read_all(&[]), (false, None));
    }

    #[test]
    fn what_only_looks_like_a_preference_is_none() {
        for other in ["x=\"respond-async\"", "x=\"a, respond-async, b\"", "respond-asynchronously", "a; respond-async"]
        {
            assert_eq!(read_all(&[other]), (false, None), "{other}");
        }
        for unreadable in ["wait", "wait=", "wait=-1", "wait=+1", "wait=1.5", "wait=soon", "wait=99999999999"] {
            assert_eq!(read_all(&[unreadable]), (false, None), "{unreadable}");
        }
    }

    #[test]
    fn preferences_that_siding_does_not_meet_reach_the_app() {
        let mut map =
            headers(&["respond-async, return=minimal;a=\"b,c\", wait=3", "handling=lenient", "respond-async"]);
        Preferences::remove(&mut map);
        let left: Vec<_> = map.get_all(PREFER).iter().collect();
        assert_eq!(left, ["return=minimal;a=\"b,c\"", "handling=lenient"]);
    }

    #[test]
    fn a_raw_header_is_judged_like_a_parsed_one() {
        assert!(asks_for_background("PREFER", b"wait=1, respond-async"));
        assert!(!asks_for_background("Prefer", b"wait=1"));
        assert!(!asks_for_background("X-Prefer", b"respond-async"));
        assert!(!asks_for_background("Prefer", b"\0"));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[ -~]{0,60}") {
            let mut map = headers(&[&value]);
            let _ = Preferences::of(&map);
            Preferences::remove(&mut map);
            prop_assert!(!Preferences::of(&map).respond_async);
        }
    }
}
