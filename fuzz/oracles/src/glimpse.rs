//! The first look at a client's request: `siding::proxy::Glimpse`.

use siding::proxy::{Glimpse, Preview};

/// What a client sends. A request that is clear is so to a strict reader too, which takes every line for what it is, and
/// nothing behind its head changes it.
pub fn glimpse(data: &[u8]) {
    let Glimpse::Clear(preview) = Glimpse::of(data) else { return };
    let (head, _) = data.split_at(preview.head_length);
    for cut in [head.len() - 1, head.len() / 2] {
        assert_eq!(Glimpse::of(&head[..cut]), Glimpse::Partial, "of {cut} bytes");
    }
    let Glimpse::Clear(of_head) = Glimpse::of(head) else { panic!("its body makes a head clear") };
    assert_eq!(of_head, preview);
    strictly(head, &preview);
}

fn strictly(head: &[u8], preview: &Preview<'_>) {
    let head = std::str::from_utf8(head).map(str::to_owned);
    // Values of headers may be no text; that is nobody's business here.
    let Ok(head) = head else { return };
    let lines = head.trim_start_matches(['\r', '\n']).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut lines = lines.take_while(|line| !line.is_empty());
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = first[..] else { panic!("{first:?}") };
    assert_eq!(method, preview.method.as_str());
    assert_eq!(target.split('?').next(), Some(preview.path));
    assert!(["HTTP/1.1", "HTTP/1.0"].contains(&version), "{version}");
    let mut lengths = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
        assert!(!name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter.is_control()));
        assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "{line:?}");
        if name.eq_ignore_ascii_case("content-length") {
            lengths.push(value.trim_matches([' ', '\t']).parse::<usize>().ok());
        }
    }
    assert_eq!(lengths, Vec::from_iter(preview.length.map(Some)));
}
