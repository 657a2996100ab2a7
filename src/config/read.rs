//! From text to [`Config`], collecting every fault: what cannot be read is noted, struck out and passed over, so
//! that the next fault is found too.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::fault::{Fault, Faults};
use super::file::File;
use super::source::{Lines, Source};
use super::{Config, validate};

/// Reads and checks a configuration.
///
/// # Errors
/// Names every fault.
pub fn load(source: &Source<'_>) -> Result<Config, Faults> {
    let (table, syntax) = DeTable::parse_recoverable(source.text);
    let mut faults: Vec<Fault> = syntax.iter().map(|error| syntax_fault(source.text, error)).collect();
    if !faults.is_empty() {
        return Err(in_order(source, faults));
    }
    let mut lines = Lines::new();
    note_lines(source.text, table.get_ref(), "", &mut lines);
    let file = read(source.text, table, &mut faults);
    let config = validate::validate(&file, source, &lines, &mut faults);
    config.filter(|_| faults.is_empty()).ok_or_else(|| in_order(source, faults))
}

fn in_order(source: &Source<'_>, mut faults: Vec<Fault>) -> Faults {
    faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
    Faults { origin: source.origin.to_owned(), faults }
}

fn read(text: &str, mut table: Spanned<DeTable<'_>>, faults: &mut Vec<Fault>) -> File {
    loop {
        let error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return file,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let path = strike_out(table.get_mut(), &span, "");
        let fallback = path.is_none();
        faults.push(Fault {
            line: Some(line_of(text, span.start)),
            key: path.unwrap_or_default(),
            message: remedy(&error),
        });
        if fallback {
            return File::default();
        }
    }
}

/// Removes the innermost entry that an error is about and returns its path. An error about an entry's key
/// (it is unknown) or value spans that. An array goes whole, so that positions keep their meaning.
fn strike_out(table: &mut DeTable<'_>, span: &Range<usize>, prefix: &str) -> Option<String> {
    // A table's own span is only its header, so every entry is searched.
    let names: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
    names.iter().find_map(|name| {
        let path = join(prefix, name);
        let (key, value) = table.get_key_value(name.as_str())?;
        let (at_key, at_value) = (covers(&key.span(), span), covers(&value.span(), span));
        let inside = if at_key { None } else { strike_out_inside(table.get_mut(name.as_str())?, span, &path) };
        let item = match inside {
            Some(Struck::Out(inner)) => return Some(inner),
            Some(Struck::Item(item)) => item,
            None if at_key || at_value => path,
            None => return None,
        };
        table.remove(name.as_str());
        Some(item)
    })
}

enum Struck {
    /// The entry is removed.
    Out(String),
    /// An array's item is at fault, so the array is to be removed.
    Item(String),
}

fn strike_out_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, path: &str) -> Option<Struck> {
    match value.get_mut() {
        DeValue::Table(table) => strike_out(table, span, path).map(Struck::Out),
        DeValue::Array(items) => items.iter_mut().enumerate().find_map(|(n, item)| {
            let path = format!("{path}[{n}]");
            let covered = covers(&item.span(), span);
            strike_out_inside(item, span, &path).or(covered.then_some(Struck::Item(path)))
        }),
        _ => None,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn note_lines(text: &str, table: &DeTable<'_>, prefix: &str, lines: &mut Lines) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        note_value(text, value, &path, lines);
    }
}

fn note_value(text: &str, value: &Spanned<DeValue<'_>>, path: &str, lines: &mut Lines) {
    match value.get_ref() {
        DeValue::Table(table) => note_lines(text, table, path, lines),
        DeValue::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                let path = format!("{path}[{n}]");
                lines.insert(path.clone(), line_of(text, item.span().start));
                note_value(text, item, &path, lines);
            }
        }
        _ => {}
    }
}

fn syntax_fault(text: &str, error: &Error) -> Fault {
    let line = error.span().map(|span| line_of(text, span.start));
    Fault { line, key: String::new(), message: format!("not TOML: {}", error.message()) }
}

/// serde's words, with what to do.
fn remedy(error: &Error) -> String {
    let message = error.message();
    match message.split_once(", expected one of ") {
        Some((what, known)) if what.starts_with("unknown field") => {
            format!("{}; known here are {known}", what.replace("unknown field", "there is no key"))
        }
        _ if message.starts_with("unknown field") => message.replace("unknown field", "there is no key"),
        _ => message.to_owned(),
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
