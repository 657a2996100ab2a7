//! The hand-off protocol (docs/protocol.md): offering an app to suspend, reading its calls, and keeping the
//! journal of results. Everything an app sends here is untrusted until its signature is verified. It must
//! never make a call or an HTTP reply.

mod call;
mod journal;
mod offer;
mod relay;
mod sharing;
mod signature;

pub use call::{Call, Calls, Invalid, Limits, is_call, parse};
pub use journal::{CallError, Finished, Journal, Recorded, Relayed, Response};
pub use offer::{Exchange, Offer, Pass};
pub use relay::Relay;
pub use sharing::Sharing;
pub use signature::{BadSecret, Direction, Keys, Signed};

/// The media type of a call.
pub const CALL_MEDIA_TYPE: &str = "application/vnd.siding.call+json";
