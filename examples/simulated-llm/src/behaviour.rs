//! How a call is answered: how fast, how long, and with which fault.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::Serialize;

/// What happens to one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// From the request to the answer, or to the first token of a stream.
    pub latency: Duration,
    /// The length of an answer.
    pub tokens: usize,
    /// Tokens a second in a stream.
    pub token_rate: f64,
    /// An HTTP status other than 200 answers with the provider's error document.
    pub status: u16,
    /// When to come back, with an error status.
    pub retry_after: Option<RetryAfter>,
    /// Why the provider will not answer this request at all.
    pub refusal: Option<Refusal>,
    /// This many calls with this very prompt fail with the status; later ones succeed.
    pub fail_first: Option<(u64, u16)>,
    /// Why the answer ends.
    pub finish: Finish,
    /// Call a tool, if the request offers one.
    pub tool: bool,
    /// Each event of a stream tells when it was sent.
    pub stamp: bool,
    /// The body comes this many bytes at a time, a piece when a token is due.
    pub drip: Option<NonZeroUsize>,
    /// A fault instead of a good answer.
    pub fault: Fault,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Duration::from_secs(2),
            tokens: 16,
            token_rate: 50.0,
            status: 200,
            retry_after: None,
            refusal: None,
            fail_first: None,
            finish: Finish::Stop,
            tool: false,
            stamp: false,
            drip: None,
            fault: Fault::None,
        }
    }
}

/// Why an answer ends, in words that every dialect translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The token limit was reached.
    Length,
    /// A content filter cut in.
    Filter,
}

/// When a provider wants to be asked again, in each way that providers say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// `Retry-After` with this value: seconds, or whatever a test wants to see there.
    Verbatim(String),
    /// `Retry-After-Ms` with this value.
    Millis(String),
    /// `Retry-After` with the date this long after the answer.
    Date(Duration),
}

/// Requests that every provider refuses in words of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The prompt is longer than the model can read.
    ContextLength,
    /// A content filter did not let the prompt through.
    ContentFilter,
}

/// What goes wrong, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Fault {
    /// Nothing does.
    None,
    /// The call is accepted and never answered.
    Hang,
    /// The head and a part of the body are sent, then nothing.
    HangBody,
    /// The connection is reset before the head.
    Reset,
    /// The connection is closed in the middle of the body.
    ResetBody,
    /// The connection is reset in the middle of the body.
    RstBody,
    /// The provider reports an error in the middle of a stream.
    ErrorBody,
    /// The body begins well, goes on with what no parser takes, and is complete as HTTP.
    Malformed,
    /// Well-formed HTTP with a body that is not what the API promises.
    Garbage,
    /// Bytes that are not HTTP.
    GarbageHttp,
}
