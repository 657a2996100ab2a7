//! What a request means: `siding::cache::Document`, its key, and the explanation of two keys.

use siding::cache::{Document, Key, KeyBuilder, explain};
use siding::calls::meaning_of_body;

use crate::json::Tree;

/// Separates two documents.
const BETWEEN: u8 = 0x1e;

/// A byte by which the first document is rewritten, then one document or two. Rewritten in other words it has the same
/// key, and two documents have one key exactly where no difference between them can be named.
pub fn document(data: &[u8]) {
    let Some((seed, data)) = data.split_first() else { return };
    let mut documents = data.split(|byte| *byte == BETWEEN);
    let Some((json, one)) = documents.next().and_then(|json| Some((json, Document::read(json)?))) else { return };
    in_other_words(json, &one, *seed);
    let Some(other) = documents.next().and_then(Document::read) else { return };
    let same = key(&one) == key(&other);
    assert_eq!(same, one == other, "the key and the meaning differ");
    assert_eq!(same, explain(&one, &other).is_empty(), "{:?}", explain(&one, &other));
}

fn in_other_words(json: &[u8], one: &Document<'_>, seed: u8) {
    let tree = Tree::read(json).expect("what has a canonical form is JSON");
    let rewritten = tree.rewritten(&mut fastrand::Rng::with_seed(seed.into()));
    let other = Document::read(rewritten.as_bytes()).expect("the same in other words has a canonical form too");
    assert_eq!(*one, other, "{rewritten}");
    assert_eq!(key(one), key(&other), "{rewritten}");
    assert!(explain(one, &other).is_empty(), "{rewritten}");
    let ignored = ["user".to_owned()];
    let meaning = |json| meaning_of_body(json, &ignored).map(|(key, _)| key);
    assert_eq!(meaning(json), meaning(rewritten.as_bytes()), "{rewritten}");
}

fn key(document: &Document<'_>) -> Key {
    let mut key = KeyBuilder::default();
    document.add_to(&mut key);
    key.finish()
}
