//! Why two requests share a result, or do not: for operators who wonder.

use std::borrow::Cow;

use super::canonical::{Document, Node};

/// Differences that are named; more would not help.
const MOST_DIFFERENCES: usize = 20;

/// Where two documents differ, as JSON pointers (RFC 6901), in order; empty when they mean the same.
pub fn explain(one: &Document<'_>, other: &Document<'_>) -> Vec<String> {
    let mut found = Vec::new();
    compare_maps("", &one.0, &other.0, &mut found);
    found.truncate(MOST_DIFFERENCES);
    found
}

type Members<'a> = [(Cow<'a, str>, Node<'a>)];

fn compare_maps(at: &str, one: &Members<'_>, other: &Members<'_>, found: &mut Vec<String>) {
    let mut names: Vec<&str> = one.iter().chain(other).map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let here = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (&values(one, name)[..], &values(other, name)[..]) {
            ([one], [other]) => compare(&here, one, other, found),
            ([], _) => found.push(format!("{here}: only in the second")),
            (_, []) => found.push(format!("{here}: only in the first")),
            (one, other) if one == other => {}
            _ => found.push(format!("{here}: named more than once")),
        }
    }
}

fn values<'a, 'b>(members: &'a Members<'b>, name: &str) -> Vec<&'a Node<'b>> {
    members.iter().filter(|(found, _)| found == name).map(|(_, node)| node).collect()
}

fn compare(at: &str, one: &Node<'_>, other: &Node<'_>, found: &mut Vec<String>) {
    match (one, other) {
        (Node::Map(one), Node::Map(other)) => compare_maps(at, one, other, found),
        (Node::List(one), Node::List(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}/{number}"), one, other, found);
            }
        }
        (Node::List(one), Node::List(other)) => {
            found.push(format!("{at}: {} items against {}", one.len(), other.len()));
        }
        _ if one == other => {}
        // Prompts stay out of terminals and tickets.
        (Node::Text(_), Node::Text(_)) => found.push(format!("{at}: different text")),
        (Node::Bare(one), Node::Bare(other)) => found.push(format!("{at}: {one} against {other}")),
        _ => found.push(format!("{at}: of different types")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named_by_its_place() {
        let read = |json: &'static str| Document::read(json.as_bytes()).unwrap();
        let one = read(r#"{"a": 1, "m": [{"c": "x"}, 1], "l": [1], "only/": 1, "same": {"b": [true]}}"#);
        let other = read(r#"{"a": 1.0, "m": [{"c": "y"}, "1"], "l": [1, 2], "o": 1, "same": {"b": [true]}}"#);
        assert_eq!(
            explain(&one, &other),
            [
                "/a: 1 against 1.0",
                "/l: 1 items against 2",
                "/m/0/c: different text",
                "/m/1: of different types",
                "/o: only in the second",
                "/only~1: only in the first",
            ]
        );
        assert!(explain(&one, &one).is_empty());
    }

    #[test]
    fn a_name_that_is_there_twice_is_a_difference_only_where_it_differs() {
        let read = |json: &'static str| Document::read(json.as_bytes()).unwrap();
        let twice = read(r#"{"a": 1, "a": 2}"#);
        assert!(explain(&twice, &twice).is_empty());
        assert_eq!(explain(&twice, &read(r#"{"a": 2, "a": 1}"#)), ["/a: named more than once"]);
    }
}
