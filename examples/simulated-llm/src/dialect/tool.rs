//! The tool that is called, and the arguments of the call.

use serde_json::{Value, json};

use super::schema;

/// A tool that the request offers.
#[derive(Debug, PartialEq)]
pub(crate) struct Tool {
    pub(super) name: String,
    schema: Value,
    /// Whether the request insists on a call.
    pub(super) is_forced: bool,
}

/// What the request says of calling tools.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Choice<'a> {
    /// The model decides.
    Free,
    /// One of them.
    Any,
    /// This one.
    Named(&'a str),
}

impl Choice<'_> {
    /// `required`, `any` and their like; else what decides is the model.
    pub(super) fn of_word(word: &Value) -> Self {
        match word.as_str() {
            Some("required" | "any" | "ANY") => Self::Any,
            _ => Self::Free,
        }
    }
}

impl Tool {
    /// The tool that is chosen, the first where none is. `offered` are names with the JSON schemas of the arguments.
    pub(super) fn chosen<'a>(
        mut offered: impl Iterator<Item = (&'a Value, &'a Value)>,
        choice: Choice<'_>,
    ) -> Option<Self> {
        let (name, schema) = match choice {
            Choice::Named(wanted) => offered.find(|(name, _)| *name == wanted)?,
            Choice::Free | Choice::Any => offered.next()?,
        };
        Some(Self { name: name.as_str()?.to_owned(), schema: schema.clone(), is_forced: choice != Choice::Free })
    }

    /// Arguments that fit the schema, with the answer's opening as their strings.
    pub(super) fn arguments(&self, opening: &str) -> Value {
        match schema::instance(&self.schema, opening) {
            Value::Object(arguments) if !arguments.is_empty() => Value::Object(arguments),
            _ => json!({ "query": opening }),
        }
    }
}

/// The elements of a list, of which there are none if it is not one.
pub(super) fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_that_the_request_insists_on_is_called() {
        let (names, schema) = ([json!("first"), json!("second")], json!({}));
        let offered = || names.iter().map(|name| (name, &schema));
        let chosen = |choice| Tool::chosen(offered(), choice).map(|tool| (tool.name, tool.is_forced));
        assert_eq!(chosen(Choice::Free), Some(("first".to_owned(), false)));
        assert_eq!(chosen(Choice::Any), Some(("first".to_owned(), true)));
        assert_eq!(chosen(Choice::Named("second")), Some(("second".to_owned(), true)));
        assert_eq!(chosen(Choice::Named("third")), None);
    }

    #[test]
    fn a_tool_without_parameters_gets_the_opening_all_the_same() {
        let tool = Tool::chosen([(&json!("f"), &Value::Null)].into_iter(), Choice::Any).unwrap();
        assert_eq!(tool.arguments("x"), json!({"query": "x"}));
    }
}
