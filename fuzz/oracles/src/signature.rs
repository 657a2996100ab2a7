//! The header `Siding-Signature`: `siding::handoff::Keys::verify`.

use siding::handoff::{Direction, Keys, Signed};
use siding::secret::Secret;

const NOW: u64 = 1_790_000_000;
const WINDOW: u64 = 60;

/// In the input these stand for what no mutation finds: the code by each of the two keys, and by a foreign one.
const CODES: [(char, &str); 3] =
    [('%', "current-current-"), ('$', "previous-previous"), ('#', "nobody-knows-this-key")];

/// A header. It is accepted exactly where its first part is a time within a minute, and another part is the code that one
/// of the two keys has for this time.
pub fn signature(data: &[u8]) {
    let Ok(template) = std::str::from_utf8(data) else { return };
    let content: [&[u8]; 2] = [b"journal", b"body"];
    let direction = Direction::ProxyToApp;
    let signed = Signed { direction, id: "id", pass: 1, method: "POST", target: "/a?b", content: &content };
    let time = template.split(',').next().and_then(|part| part.trim().strip_prefix("t=")?.parse().ok());
    let codes = CODES.map(|(stands_for, secret)| (stands_for, code(secret, &signed, time.unwrap_or(NOW))));
    let header = codes.iter().fold(template.to_owned(), |text, (sign, code)| text.replace(*sign, code));
    let is_known = |part: &str| codes[..2].iter().any(|(_, code)| part.trim() == format!("v1={code}"));
    let is_valid =
        time.is_some_and(|time: u64| time.abs_diff(NOW) <= WINDOW) && header.split(',').skip(1).any(is_known);
    let keys = keys(CODES[0].1, Some(CODES[1].1));
    assert_eq!(keys.verify(&signed, &header, NOW), is_valid, "{header}");
    let other = Signed { content: &content[..1], ..signed };
    assert!(!keys.verify(&other, &header, NOW), "of another content: {header}");
}

fn keys(current: &'static str, previous: Option<&'static str>) -> Keys {
    Keys::new(Secret::new(current), previous.map(Secret::new)).expect("they are long enough")
}

fn code(secret: &'static str, signed: &Signed<'_>, time: u64) -> String {
    let header = keys(secret, None).sign(signed, time);
    header.rsplit("v1=").next().unwrap_or_default().to_owned()
}
