//! Answers of LLM APIs in their two forms, plain JSON and SSE stream, so that one stored answer serves callers of both.
//! [`Deltas`] tells what an answer says as it arrives, [`Tokens`] what it cost.
//! What is not understood is refused ([`Inconvertible`], [`Unstorable`]) rather than guessed at.

mod anthropic;
mod api;
mod deltas;
mod fields;
mod gemini;
mod intake;
mod json;
mod limits;
mod openai_chat;
mod openai_chunks;
mod openai_responses;
mod request;
#[cfg(test)]
mod samples;
mod sse;
#[cfg(test)]
mod tests;
mod tokens;
mod usage;
mod verdict;

pub use api::{Api, Asked, Form, Vendor};
pub use deltas::{Delta, Deltas, FinishReason};
pub use intake::is_event_stream;
pub use limits::Unlimited;
pub use sse::Splitter;
pub use tokens::Tokens;
pub use usage::UsageFilter;
pub use verdict::{Inconvertible, Unstorable};
