//! A document that fits a JSON schema: what a model makes for structured output, and for a tool's arguments.

use serde_json::{Map, Value, json};

/// How deep a document goes, because a schema may refer to itself.
const DEEPEST: usize = 8;
/// The most elements that a list is given, whatever the schema asks for.
const LONGEST: u64 = 16;

/// The document with `text` wherever the schema leaves a string free.
pub(super) fn instance(schema: &Value, text: &str) -> Value {
    Instance { root: schema, text }.of(schema, 0)
}

/// A schema for those who want JSON and do not say which.
pub(super) fn any_object() -> Value {
    json!({"type": "object", "properties": {"answer": {"type": "string"}}})
}

struct Instance<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Instance<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const").or(schema["enum"].get(0)) {
            return fixed.clone();
        }
        if let Some(other) = self.referred(schema).or_else(|| alternative(schema)) {
            return self.of(other, depth + 1);
        }
        match kind(schema).as_str() {
            "object" => self.object(schema, depth),
            "array" => self.list(schema, depth),
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => json!(self.text),
        }
    }

    fn referred(&self, schema: &Value) -> Option<&Value> {
        self.root.pointer(schema["$ref"].as_str()?.strip_prefix('#')?)
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let properties = schema["properties"].as_object().into_iter().flatten();
        Value::Object(properties.map(|(name, of)| (name.clone(), self.of(of, depth + 1))).collect::<Map<_, _>>())
    }

    /// One element, or as many as there must be; none where a schema goes on for ever.
    fn list(&self, schema: &Value, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(u64::from(depth < DEEPEST / 2));
        Value::Array((0..least.min(LONGEST)).map(|_| self.of(&schema["items"], depth + 1)).collect())
    }
}

fn alternative(schema: &Value) -> Option<&Value> {
    ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema[*key].get(0))
}

/// The type, the first of several, in lower case because Gemini writes it in capitals; told from the rest where it is
/// left out.
fn kind(schema: &Value) -> String {
    let named = schema["type"].as_str().or(schema["type"][0].as_str());
    let told = || if schema["properties"].is_object() { "object" } else { "string" };
    named.unwrap_or_else(told).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_every_property_in_its_type() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "INTEGER", "minimum": 3}, "dry": {"type": ["boolean", "null"]},
            "unit": {"enum": ["C", "F"]}, "hours": {"type": "array", "items": {"type": "number"}, "minItems": 2},
            "wind": {"anyOf": [{"type": "null"}, {"type": "string"}]}, "any": {},
        }});
        let expected = json!({
            "city": "x", "days": 3, "dry": true, "unit": "C", "hours": [1, 1], "wind": null, "any": "x",
        });
        assert_eq!(instance(&schema, "x"), expected);
    }

    #[test]
    fn a_schema_may_refer_to_others_and_to_itself() {
        let schema = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "properties": {
            "name": {"type": "string"}, "parts": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        }}}});
        let tree = instance(&schema, "x");
        assert_eq!(tree["parts"][0]["name"], "x");
        assert!(tree.to_string().ends_with(r#""parts":[]}]}"#), "{tree}");
    }

    #[test]
    fn lists_are_bounded_whatever_a_schema_asks_for() {
        let list = instance(&json!({"type": "array", "minItems": 1_000_000_000_u64}), "x");
        assert_eq!(list.as_array().unwrap().len(), LONGEST as usize);
    }
}
