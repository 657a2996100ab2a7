//! What an app says about a call whose answer the client reads as it comes (protocol, section 2).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::call::{Invalid, read_headers};

/// How a call is relayed.
#[derive(Clone, Debug)]
pub struct Relay {
    /// The word for the form in which the client gets the stream.
    pub format: String,
    /// Whether the call goes on to its end without its client.
    pub outlives_client: bool,
    /// The status that the client gets.
    pub status: StatusCode,
    /// What the app's middlewares gave the answer.
    pub headers: HeaderMap,
}

#[derive(Deserialize)]
pub(super) struct RawRelay {
    format: String,
    #[serde(default)]
    on_disconnect: OnDisconnect,
    head: RawHead,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnDisconnect {
    #[default]
    Cancel,
    Finish,
}

#[derive(Deserialize)]
struct RawHead {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

impl RawRelay {
    pub(super) fn check(self) -> Result<Relay, Invalid> {
        let malformed = |what: &str| Invalid::Malformed(format!("relay.head: {what}"));
        let status = StatusCode::from_u16(self.head.status).ok().filter(StatusCode::is_success);
        let status = status.ok_or_else(|| malformed("the status is not a success"))?;
        let mut headers = read_headers(&self.head.headers, malformed)?;
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
        let outlives_client = self.on_disconnect == OnDisconnect::Finish;
        Ok(Relay { format: self.format, outlives_client, status, headers })
    }
}
