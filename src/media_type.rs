//! The media type of a message, without its parameters.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Of the body that goes with these headers; empty where they do not say.
pub fn of(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn parameters_and_space_are_no_part_of_it() {
        let of = |value| of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])).to_owned();
        assert_eq!(of(" text/event-stream ; charset=utf-8"), "text/event-stream");
        assert_eq!(of("application/json"), "application/json");
        assert_eq!(super::of(&HeaderMap::new()), "");
    }
}
