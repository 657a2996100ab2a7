//! The rules of direction and size that `src/lib.rs` states, checked on the source itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use of its siblings. `main` uses the crate from outside.
const MAY_USE: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("sealed", &[]),
    ("secret", &[]),
    ("drain", &["time"]),
    ("hop_by_hop", &[]),
    ("media_type", &[]),
    ("http1", &["time"]),
    ("tls", &["time"]),
    ("telemetry", &["time"]),
    ("trace", &["time", "telemetry", "tls"]),
    ("usage", &["time", "telemetry", "answer"]),
    ("cache", &["time", "telemetry", "usage", "sealed"]),
    ("coalesce", &[]),
    ("answer", &[]),
    ("relay", &["answer"]),
    ("buffers", &["telemetry"]),
    ("background", &["time", "sealed", "secret", "drain", "telemetry", "tls", "buffers", "cache", "redis"]),
    (
        "calls",
        &["time", "trace", "buffers", "media_type", "answer", "usage", "cache", "coalesce", "provider", "sharing"],
    ),
    ("redis", &["time", "secret", "telemetry"]),
    ("sharing", &["time", "telemetry", "trace", "drain", "buffers", "usage", "cache", "coalesce", "redis"]),
    ("admission", &["time", "telemetry"]),
    ("route", &["admission", "cache", "background"]),
    ("status", &["time", "telemetry"]),
    ("backend", &["time", "telemetry", "status", "http1"]),
    ("workers", &["time", "telemetry", "http1"]),
    ("handoff", &["secret", "media_type"]),
    ("provider", &["time", "secret", "telemetry", "trace", "hop_by_hop", "http1", "tls"]),
    (
        "exchange",
        &[
            "time",
            "telemetry",
            "status",
            "trace",
            "drain",
            "hop_by_hop",
            "media_type",
            "admission",
            "answer",
            "backend",
            "buffers",
            "handoff",
            "cache",
            "calls",
            "provider",
            "relay",
            "sharing",
        ],
    ),
    (
        "proxy",
        &[
            "time",
            "background",
            "telemetry",
            "status",
            "trace",
            "drain",
            "hop_by_hop",
            "media_type",
            "admission",
            "backend",
            "buffers",
            "handoff",
            "route",
            "cache",
            "coalesce",
            "calls",
            "provider",
            "relay",
            "sharing",
            "exchange",
        ],
    ),
    (
        "config",
        &[
            "time",
            "background",
            "secret",
            "telemetry",
            "trace",
            "admission",
            "backend",
            "cache",
            "calls",
            "handoff",
            "exchange",
            "provider",
            "proxy",
            "redis",
            "route",
            "sharing",
            "usage",
            "workers",
        ],
    ),
    (
        "server",
        &[
            "time",
            "background",
            "tls",
            "telemetry",
            "status",
            "trace",
            "drain",
            "config",
            "admission",
            "buffers",
            "cache",
            "calls",
            "backend",
            "handoff",
            "exchange",
            "provider",
            "proxy",
            "redis",
            "route",
            "sharing",
            "usage",
            "workers",
        ],
    ),
];

/// Foreign crates that only some modules may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("pingora", &["proxy/", "server/"]),
    ("prometheus", &["telemetry/", "metrics.rs", "buffers.rs", "proxy/crowd.rs", "server/build.rs"]),
    ("hyper_rustls", &["tls.rs"]),
    ("opentelemetry_proto", &["trace/"]),
    ("prost", &["trace/"]),
    ("schemars", &["config/", "telemetry/log.rs", "calls/mod.rs", "provider/dialect.rs"]),
    ("blake3", &["cache/key.rs", "sealed.rs"]),
    ("slab", &["coalesce/", "status/waits.rs"]),
    ("moka", &["cache/"]),
    ("equivalent", &["cache/repeats.rs"]),
    ("procfs", &["workers/"]),
    // sd_notify is meant by the second.
    ("notify", &["server/reload.rs", "server/supervisor.rs"]),
    ("arc_swap", &["proxy/current.rs", "server/", "redis/"]),
    ("httparse", &["http1/", "proxy/preview.rs"]),
    ("toml", &["config/"]),
    ("clap", &["main.rs"]),
];

/// Lines of a file without its tests.
const LONGEST_FILE: usize = 400;

#[test]
fn modules_use_only_what_their_layer_allows() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        MAY_USE.iter().map(|(m, uses)| (*m, uses.iter().copied().collect())).collect();
    let mut faults = Vec::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        let Some(allowed) = allowed.get(module.as_str()) else {
            assert!(["main", "lib"].contains(&module.as_str()), "{module} is in no layer: add it to MAY_USE");
            continue;
        };
        for used in crate_uses(&text) {
            if used != module && !allowed.contains(used.as_str()) {
                faults.push(format!("{} uses crate::{used}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for (file, text) in sources() {
        let path = file.display().to_string();
        for (name, rooms) in ONLY_IN {
            let used = text.contains(&format!("{name}::"));
            if used && !rooms.iter().any(|room| path.contains(room)) {
                faults.push(format!("{path} uses {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_file_is_longer_than_a_person_reads_at_once() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(file, text)| (file, text.split("#[cfg(test)]").next().unwrap_or_default().lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_says_first_what_it_owns() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(file, text)| !text.starts_with("//!") && !file.ends_with("tests.rs"))
        .map(|(file, _)| file)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

/// All files of `src`, by their path below it.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn module_of(file: &Path) -> String {
    let first = file.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The first segment after each `crate::`, grouped imports included.
fn crate_uses(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut uses = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(group) => uses.extend(group_heads(group)),
            None => uses.extend(head(after)),
        }
    }
    uses
}

fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_start) = (1, Vec::new(), true);
    for (position, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_start = true,
            letter if at_start && letter.is_alphanumeric() => {
                heads.extend(head(&group[position..]));
                at_start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn head(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    name.starts_with(|letter: char| letter.is_lowercase()).then_some(name)
}
