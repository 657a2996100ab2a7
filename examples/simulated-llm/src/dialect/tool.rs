//! The first tool that a request offers, and the arguments of a call to it.

use serde_json::{Value, json};

#[derive(Debug, PartialEq)]
pub(crate) struct Tool {
    pub(super) name: String,
    argument: String,
}

impl Tool {
    /// `schema` is the JSON schema of the arguments; the first property gets the answer's opening.
    pub(super) fn new(name: &Value, schema: &Value) -> Option<Self> {
        let first = schema["properties"].as_object().and_then(|properties| properties.keys().next());
        let argument = first.map_or_else(|| "query".to_owned(), String::clone);
        Some(Self { name: name.as_str()?.to_owned(), argument })
    }

    pub(super) fn arguments(&self, opening: &str) -> Value {
        json!({ self.argument.as_str(): opening })
    }
}
