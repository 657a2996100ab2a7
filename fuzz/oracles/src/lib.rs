//! What each fuzz target does with its input, and what must hold then. A function returns, or panics: a finding. Apart
//! from the targets, so that an ordinary test can hold the corpora to the same (`tests/corpora.rs`), without a fuzzer.

mod address;
mod answer;
mod call;
mod config;
mod document;
mod field;
mod glimpse;
mod journal;
mod json;
mod request;
mod response;
mod said;
mod signature;
mod stream;
mod ui;

pub use address::address;
pub use answer::answer;
pub use call::call;
pub use config::config;
pub use document::document;
pub use field::field;
pub use glimpse::glimpse;
pub use journal::journal;
pub use request::request;
pub use response::response;
pub use signature::signature;
pub use stream::stream;

use siding::answer::Api;

/// What is done with an input.
pub type Oracle = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Oracle); 12] = [
    ("address", address),
    ("answer", answer),
    ("call", call),
    ("config", config),
    ("document", document),
    ("field", field),
    ("glimpse", glimpse),
    ("journal", journal),
    ("request", request),
    ("response", response),
    ("signature", signature),
    ("stream", stream),
];

const APIS: [Api; 7] = [
    Api::OpenaiChat,
    Api::OpenaiCompletions,
    Api::OpenaiResponses,
    Api::OpenaiEmbeddings,
    Api::AnthropicMessages,
    Api::GeminiGenerate,
    Api::GeminiEmbed,
];

/// One of several things, as a byte of the input says: letters and digits, so that corpora can be read.
fn choice<T: Copy>(byte: u8, of: &[T]) -> T {
    of[usize::from(byte.wrapping_sub(b'0')) % of.len()]
}

/// Bytes in pieces as they might arrive: of one byte, of a few, of many.
fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut random, mut rest, mut pieces) = (fastrand::Rng::with_seed(seed.into()), bytes, Vec::new());
    while !rest.is_empty() {
        let most = [1, 3, 20, 300][random.usize(..4)];
        let (piece, after) = rest.split_at(random.usize(1..=most.min(rest.len())));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
