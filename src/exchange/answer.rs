//! How an exchange is answered: by the app, or by a provider whose stream the client reads as it comes.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::relay::Relay;
use crate::backend::{self, Spool};

/// An exchange's answer, as it comes.
pub struct Answer {
    /// The status for the client.
    pub status: StatusCode,
    /// The headers for the client; of the app's answer all, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// The app's.
    App(Spool),
    /// A provider's. Dropping it before its end means that the client left.
    Relay(Relay),
}

/// A body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Body {
    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// Fails when the body broke off; what was read must not look complete then.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        match self {
            Self::App(spool) => Some(spool.next().await?.map_err(|_| Broken)),
            Self::Relay(relay) => relay.next().await,
        }
    }

    /// Whether a provider's stream broke off, and its reader was told in words.
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Relay(relay) if relay.is_cut_short())
    }

    /// Whether a provider is read.
    pub fn is_relayed(&self) -> bool {
        matches!(self, Self::Relay(_))
    }
}

impl From<backend::Answer> for Answer {
    fn from(answer: backend::Answer) -> Self {
        let backend::Answer { status, headers, body } = answer;
        Self { status, headers, body: Body::App(body) }
    }
}
