//! What a file may say, as a JSON schema for editors: the shape from the types that read it, the words and defaults from
//! the documented reference.

mod reference;

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::file::{File, RouteBackground, RouteJobs};
use super::units::{Parsed, Period, Size, Switch, Workers};
use crate::backend::Address;
use crate::provider::BaseUrl;
use crate::route::Pattern;
use reference::Reference;

/// Keywords that the types bring along and that mean nothing to whoever writes a file.
const INTERNAL: [&str; 3] = ["title", "format", "default"];
/// Keywords below which there are other forms of the same value.
const FORMS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// The schema (JSON Schema, draft 7: what TOML editors understand), ready to be printed.
pub fn schema() -> String {
    // In one piece, so that each key has words of its own.
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>().to_value();
    let reference = Reference::read();
    if let Value::Object(root) = &mut schema {
        describe(root, "", &reference);
        root.insert("title".to_owned(), "Siding's configuration".into());
    }
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// Gives a value's schema, and all below it, the reference's words instead of the types'.
fn describe(schema: &mut Map<String, Value>, path: &str, reference: &Reference) {
    let is_optional = remove_null(schema);
    for keyword in INTERNAL {
        schema.remove(keyword);
    }
    if !schema.contains_key("const") {
        schema.remove("description"); // of a type; those of words stay
    }
    if let Some(words) = reference.words(path) {
        schema.insert("description".to_owned(), words.into());
    }
    if let Some(default) = reference.default(path).filter(|_| !is_optional) {
        schema.insert("default".to_owned(), default);
    }
    below(schema, path, reference);
}

fn below(schema: &mut Map<String, Value>, path: &str, reference: &Reference) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, value) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            describe_value(value, &path, reference);
        }
    }
    if let Some(values) = schema.get_mut("additionalProperties") {
        describe_value(values, &format!("{path}.*"), reference);
    }
    if let Some(items) = schema.get_mut("items") {
        describe_value(items, &format!("{path}[]"), reference);
    }
    for forms in FORMS {
        if let Some(Value::Array(forms)) = schema.get_mut(forms) {
            for form in forms.iter_mut().filter_map(Value::as_object_mut) {
                for keyword in INTERNAL {
                    form.remove(keyword);
                }
                below(form, path, reference);
            }
        }
    }
}

fn describe_value(value: &mut Value, path: &str, reference: &Reference) {
    if let Value::Object(schema) = value {
        describe(schema, path, reference);
    }
}

/// TOML has no null: a key that need not be there is left out. Whether this was one.
fn remove_null(schema: &mut Map<String, Value>) -> bool {
    let mut was_there = false;
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        was_there = true;
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(forms)) = schema.get_mut("anyOf") else { return was_there };
    let count = forms.len();
    forms.retain(|form| form.get("type") != Some(&"null".into()));
    was_there |= forms.len() < count;
    if let [Value::Object(_)] = &forms[..]
        && let Some(Value::Object(only)) = forms.pop()
    {
        schema.remove("anyOf");
        schema.extend(only);
        remove_null(schema);
    }
    was_there
}

/// Text in quotes that has a form of its own.
trait Written {
    /// Its name.
    const NAME: &'static str;
    /// What it looks like. It may allow what the parser refuses, but not the other way round.
    const PATTERN: &'static str;
}

impl Written for Address {
    const NAME: &'static str = "Address";
    const PATTERN: &'static str = "^(unix:/.+|.+:[0-9]+)$";
}

impl Written for BaseUrl {
    const NAME: &'static str = "BaseUrl";
    const PATTERN: &'static str = "^[Hh][Tt][Tt][Pp][Ss]?://[^?#]+$";
}

impl Written for Pattern {
    const NAME: &'static str = "Pattern";
    const PATTERN: &'static str = "^/";
}

impl<T: Written> JsonSchema for Parsed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": T::PATTERN})
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(0|[0-9][0-9. ]*[A-Za-zµ][0-9. A-Za-zµ]*)$"})
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+([.][0-9]+)? *([kKmMgGtTpPeE]i?)?[bB]?$"})
    }
}

impl JsonSchema for Workers {
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]})
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Switch{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<T>(), {"const": false}]})
    }
}

impl JsonSchema for RouteBackground {
    fn schema_name() -> Cow<'static, str> {
        "RouteBackground".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "boolean"}, generator.subschema_for::<RouteJobs>()]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(schema: &'a Value, pointer: &str) -> &'a Value {
        schema.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"))
    }

    #[test]
    fn the_schema_in_the_repository_is_the_one_of_these_types() {
        let committed = include_str!("../../../config/siding.schema.json");
        assert!(committed == schema(), "write it anew: siding schema > config/siding.schema.json");
    }

    #[test]
    fn every_key_has_the_words_of_the_reference() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let mut silent = Vec::new();
        let mut open = vec![(String::new(), &schema)];
        while let Some((path, value)) = open.pop() {
            for (name, value) in value.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let path = format!("{path}.{name}");
                // What stands in braces is described with them.
                if value.get("description").is_none() && path.matches('.').count() <= 2 {
                    silent.push(path.clone());
                }
                open.push((path, value));
            }
            for below in ["additionalProperties", "items"] {
                open.extend(value.get(below).map(|value| (path.clone(), value)));
            }
        }
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn words_and_defaults_are_those_of_the_reference() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let timeout = at(&schema, "/properties/backend/properties/timeout");
        assert_eq!(timeout["default"], "25s");
        assert!(timeout["description"].as_str().unwrap().starts_with("For one pass. Below gunicorn's --timeout"));
        let h2c = at(&schema, "/properties/server/properties/h2c");
        assert_eq!((&h2c["type"], h2c.get("default")), (&"string".into(), None));
        let path = at(&schema, "/properties/routes/items/properties/path");
        assert_eq!(path["description"], "* within a segment, ** across segments");
        let dialect = at(&schema, "/properties/providers/additionalProperties/properties/dialect");
        assert_eq!(dialect.get("default"), None, "no two providers share one");
    }
}
