//! The words and defaults of the documented reference, key by key. Where keys have names of the operator's choice the path
//! has `*`, where there is a list `[]`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::REFERENCE;

/// Sections whose names are examples, and what stands for them.
const EXAMPLES: [(&str, &str); 3] =
    [("providers.openai", "providers.*"), ("prices.\"gpt-4o-mini\"", "prices.*"), ("[routes]", "routes[]")];

/// The reference, read.
pub(super) struct Reference {
    words: BTreeMap<String, String>,
    values: Value,
}

/// What a line of it is.
enum Line<'a> {
    /// The beginning of a section.
    Section(&'a str),
    /// A key, and what is said beside it.
    Key(&'a str, &'a str),
    /// Words.
    Words(&'a str),
    Empty,
}

impl Reference {
    pub(super) fn read() -> Self {
        let values: toml::Table = REFERENCE.parse().expect("the reference is TOML");
        let values = serde_json::to_value(values).expect("it holds nothing that JSON has not");
        Self { words: words(REFERENCE), values }
    }

    /// What is said of a key or section.
    pub(super) fn words(&self, path: &str) -> Option<&str> {
        self.words.get(path).map(String::as_str)
    }

    /// The value of a key, which is its default.
    pub(super) fn default(&self, path: &str) -> Option<Value> {
        let mut value = &self.values;
        for name in path.split('.') {
            value = value.get(if name == "*" { "openai" } else { name })?;
        }
        (!value.is_object()).then(|| value.clone())
    }
}

fn words(text: &str) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    let (mut section, mut said, mut is_open) = (String::new(), String::new(), false);
    for line in text.lines() {
        match Line::of(line) {
            Line::Empty => said.clear(),
            Line::Words(more) => {
                if !is_open {
                    said.clear();
                }
                said = [said.as_str(), more].join(" ").trim().to_owned();
            }
            Line::Section(name) => {
                section = canonical(name);
                // What is said before an example is about all of its kind.
                say(&mut words, section.trim_end_matches(".*").trim_end_matches("[]"), &said);
                said.clear();
            }
            Line::Key(name, beside) => {
                let name = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
                // Keys below one another share what is said before the first.
                say(&mut words, &name, if said.is_empty() { beside } else { &said });
            }
        }
        is_open = matches!(Line::of(line), Line::Words(_));
    }
    words
}

/// Where something is said twice, the first time counts: it is where it is explained.
fn say(words: &mut BTreeMap<String, String>, path: &str, said: &str) {
    if !said.is_empty() {
        words.entry(path.to_owned()).or_insert_with(|| said.to_owned());
    }
}

fn canonical(section: &str) -> String {
    let known = EXAMPLES.iter().find(|(example, _)| *example == section);
    known.map_or(section, |(_, path)| path).to_owned()
}

impl<'a> Line<'a> {
    /// Sections and keys that are commented out are there as well.
    fn of(line: &'a str) -> Self {
        let (text, is_comment) = match line.strip_prefix("# ") {
            Some(text) => (text, true),
            None => (line, false),
        };
        if text.is_empty() {
            return Self::Empty;
        }
        let inner = text.strip_prefix('[').and_then(|rest| rest.trim_end().strip_suffix(']'));
        if let Some(section) = inner {
            return Self::Section(section);
        }
        match text.split_once(" = ") {
            Some((key, rest)) if is_key(key) => {
                Self::Key(key, rest.split_once(" # ").map_or("", |(_, beside)| beside.trim()))
            }
            _ if is_comment => Self::Words(text),
            _ => Self::Empty,
        }
    }
}

fn is_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
