//! A span's place in a trace, as it travels in the header `traceparent` (W3C Trace Context, section 3.2).

use std::fmt;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The header in which it travels.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What else the vendors of a trace's spans say to one another.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Characters of `traceparent` in version 00.
const LENGTH: usize = 55;
/// The flag: whoever began the trace may have recorded it.
const SAMPLED: u8 = 0b01;
/// The flag: the trace's identity is random (level 2 of the recommendation).
const RANDOM: u8 = 0b10;
/// Not a flag that travels: the trace began here.
const NEW: u8 = 0b1000_0000;

/// The identity of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The identities of a span and of its trace, and whether the trace is sampled. 25 bytes, none of them a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    pub(super) trace: TraceId,
    pub(super) span: [u8; 8],
    flags: u8,
}

impl TraceId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        f.write_str(hex_in(&self.0, &mut digits))
    }
}

impl SpanContext {
    /// Of nothing: where there is no trace.
    pub const NONE: Self = Self { trace: TraceId([0; 16]), span: [0; 8], flags: 0 };

    /// A new trace, which is sampled if `samples` says so of its identity.
    pub(super) fn begin(samples: impl FnOnce(&TraceId) -> bool) -> Self {
        let trace = TraceId(nonzero(|| fastrand::u128(..)).to_be_bytes());
        let sampled = if samples(&trace) { SAMPLED } else { 0 };
        Self { trace, span: span_id(), flags: NEW | sampled }
    }

    /// A new span of the same trace.
    pub(super) fn child(&self) -> Self {
        Self { span: span_id(), ..*self }
    }

    /// What a request's headers say. `None` where they say nothing, or not what the recommendation allows.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let parent = Self::parse(values.next()?.as_bytes())?;
        values.next().is_none().then_some(parent)
    }

    /// Reads a `traceparent`: of a version that is not known yet, what version 00 has.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = (text.get(..LENGTH)?, &text[LENGTH..]);
        let [version, trace, span, flags] = fields(known)?;
        let mut numbers = ([0; 1], [0; 16], [0; 8], [0; 1]);
        decode(version, &mut numbers.0)?;
        decode(trace, &mut numbers.1)?;
        decode(span, &mut numbers.2)?;
        decode(flags, &mut numbers.3)?;
        let ([version], trace, span, [flags]) = numbers;
        let is_whole = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let flags = if version == 0 { flags & (SAMPLED | RANDOM) } else { flags & SAMPLED };
        (is_whole && trace != [0; 16] && span != [0; 8]).then_some(Self { trace: TraceId(trace), span, flags })
    }

    /// Whether there is a trace.
    pub fn is_some(&self) -> bool {
        self.trace.0 != [0; 16]
    }

    /// The trace; `None` where there is none.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.is_some().then_some(self.trace)
    }

    /// Whether the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags that travel.
    pub(super) fn flags(&self) -> u8 {
        self.flags & !NEW
    }

    /// Tells a request whose span it belongs to. What a client said of a trace that is not continued goes.
    pub fn put(&self, headers: &mut HeaderMap) {
        if self.is_new() {
            headers.remove(&TRACESTATE);
        }
        if let Some(value) = self.header() {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Whether the trace began here, so that a client's `tracestate` is of another.
    pub fn is_new(&self) -> bool {
        self.flags & NEW != 0
    }

    /// As the header has it; `None` where there is no trace.
    pub fn header(&self) -> Option<HeaderValue> {
        if !self.is_some() {
            return None;
        }
        let (mut trace, mut span, mut flags) = ([0; 32], [0; 16], [0; 2]);
        let mut text = [b'-'; LENGTH];
        text[..2].copy_from_slice(b"00");
        text[3..35].copy_from_slice(hex_in(&self.trace.0, &mut trace).as_bytes());
        text[36..52].copy_from_slice(hex_in(&self.span, &mut span).as_bytes());
        text[53..].copy_from_slice(hex_in(&[self.flags()], &mut flags).as_bytes());
        HeaderValue::from_bytes(&text).ok()
    }
}

fn span_id() -> [u8; 8] {
    nonzero(|| fastrand::u64(..)).to_be_bytes()
}

/// All zeros are no identity.
fn nonzero<T: Default + PartialEq>(random: impl Fn() -> T) -> T {
    loop {
        let number = random();
        if number != T::default() {
            return number;
        }
    }
}

fn fields(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = text.split(|byte| *byte == b'-');
    let found = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    fields.next().is_none().then_some(found)
}

/// Reads hexadecimal digits, of which capitals are none here.
fn decode(digits: &[u8], into: &mut [u8]) -> Option<()> {
    let is_lower = digits.iter().all(|digit| !digit.is_ascii_uppercase());
    hex::decode_to_slice(digits, into).ok().filter(|()| is_lower)
}

fn hex_in<'a>(bytes: &[u8], digits: &'a mut [u8]) -> &'a str {
    hex::encode_to_slice(bytes, digits).expect("there are two digits for each byte");
    std::str::from_utf8(digits).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (TRACEPARENT, HeaderValue::from_str(value).unwrap())).collect()
    }

    fn read(value: &str) -> Option<SpanContext> {
        SpanContext::of(&headers(&[value]))
    }

    #[test]
    fn a_valid_traceparent_is_continued_under_a_new_span() {
        let parent = read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!((parent.trace_id().unwrap().to_string().as_str(), parent.is_sampled()), (TRACE, true));
        let child = parent.child();
        let mut sent = headers(&["anything"]);
        sent.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        child.put(&mut sent);
        let text = sent["traceparent"].to_str().unwrap();
        assert!(text.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && text.ends_with("-01"), "{text}");
        assert_ne!(child.span, parent.span);
        assert_eq!(sent["tracestate"], "vendor=1");
        assert_eq!(read(text), Some(child));
    }

    #[test]
    fn flags_that_are_known_travel_and_others_do_not() {
        for (flags, sampled, sent) in
            [("00", false, "00"), ("01", true, "01"), ("02", false, "02"), ("03", true, "03"), ("ff", true, "03")]
        {
            let context = read(&format!("00-{TRACE}-00f067aa0ba902b7-{flags}")).unwrap();
            assert_eq!(context.is_sampled(), sampled, "{flags}");
            assert!(context.header().unwrap().to_str().unwrap().ends_with(&format!("-{sent}")), "{flags}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for known in ["", "-", "-what-the-future-will-be-like"] {
            let context = read(&format!("cc-{TRACE}-00f067aa0ba902b7-01{known}"));
            assert!(context.is_some_and(|context| context.is_sampled()), "{known}");
        }
        assert_eq!(read(&format!("cc-{TRACE}-00f067aa0ba902b7-01.future")), None);
    }

    #[test]
    fn what_the_recommendation_forbids_is_not_continued() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-.1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7001",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(SpanContext::of(&headers(&[good, good])), None, "twice");
        assert_eq!(SpanContext::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_new_trace_drops_what_was_said_of_another() {
        let mut sent = headers(&["nonsense"]);
        sent.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        let new = SpanContext::begin(|_| false).child();
        new.put(&mut sent);
        assert!(!sent.contains_key("tracestate"));
        assert!(sent["traceparent"].to_str().unwrap().ends_with("-00"));
        assert_eq!(SpanContext::of(&sent).map(|context| context.trace), Some(new.trace));
    }

    #[test]
    fn where_there_is_no_trace_nothing_is_said() {
        let mut sent = HeaderMap::new();
        SpanContext::NONE.put(&mut sent);
        assert!(sent.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = SpanContext::parse(&text);
        }
    }
}
