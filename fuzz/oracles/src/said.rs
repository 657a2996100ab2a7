//! What an answer says, put together of its deltas, which must keep their own rules.

use siding::answer::{Api, Delta, Deltas, FinishReason, Tokens};

/// An answer, however it came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) thoughts: String,
    /// Id, name and input of each tool call.
    pub(crate) calls: Vec<(String, String, String)>,
    /// Addresses of pages.
    pub(crate) sources: Vec<String>,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) error: Option<String>,
    pub(crate) tokens: Option<Tokens>,
}

/// The deltas of pieces.
pub(crate) fn deltas(api: Api, pieces: &[&[u8]]) -> (Vec<Delta>, Option<Tokens>) {
    let mut reader = Deltas::new(api);
    let mut deltas: Vec<Delta> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
    deltas.extend(reader.finish());
    (deltas, reader.tokens())
}

impl Said {
    /// What a whole answer says.
    pub(crate) fn of(api: Api, answer: &[u8]) -> Self {
        let (deltas, tokens) = deltas(api, &[answer]);
        Self { tokens, ..Self::told(deltas) }
    }

    /// What deltas say. A tool has begun before anything else is said of it, and nothing follows an error.
    pub(crate) fn told(deltas: Vec<Delta>) -> Self {
        let mut said = Self::default();
        for delta in deltas {
            assert_eq!(said.error, None, "something follows an error");
            match delta {
                Delta::Text(text) => said.text.push_str(&text),
                Delta::Reasoning(text) => said.thoughts.push_str(&text),
                Delta::BlockEnd => {}
                Delta::ToolStart { call, id, name, .. } => {
                    assert_eq!(call, said.calls.len(), "calls are numbered from 0");
                    said.calls.push((id, name, String::new()));
                }
                Delta::ToolInput { call, fragment } => said.calls[call].2.push_str(&fragment),
                Delta::ToolEnd { call } => assert!(call < said.calls.len(), "a call ends that never began"),
                Delta::Source { url, .. } => said.sources.push(url),
                Delta::Finish(reason) => said.finish = Some(reason),
                Delta::Error(message) => said.error = Some(message),
            }
        }
        said
    }
}
