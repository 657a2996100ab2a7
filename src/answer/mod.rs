//! Answers of LLM APIs in their two forms, plain JSON and SSE stream, so that one stored answer serves callers of both.
//! What is not understood is refused ([`Inconvertible`], [`Unstorable`]) rather than guessed at.

mod anthropic;
mod api;
mod fields;
mod gemini;
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
mod usage;
mod verdict;

pub use api::{Api, Asked, Form, Vendor};
pub use limits::Unlimited;
pub use usage::UsageFilter;
pub use verdict::{Inconvertible, Unstorable};
