//! The reference page of metrics, from what the parts declare: `siding metrics` prints it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::build::StartError;
use super::metrics::Metrics;
use super::parts::Foundation;
use crate::config::{self, Source};
use crate::telemetry::registry::Family;

/// A part of the page: a heading, what to know, and how the names begin that belong there.
struct Section {
    title: &'static str,
    text: &'static str,
    prefixes: &'static [&'static str],
}

/// The first section in which a name's beginning is found has it.
const SECTIONS: &[Section] = &[
    Section {
        title: "The worker pool: is it saturated?",
        text: "Utilisation is `rate(siding_workers_busy_seconds_total[5m]) / siding_workers_limit`, exact and not sampled. \
               Time at providers is in none of these.",
        prefixes: &["workers_", "queue_", "pass_"],
    },
    Section {
        title: "What Siding saves",
        text: "The rate of the first is the number of sync workers that would only wait for providers now.",
        prefixes: &["worker_seconds_saved", "saved_"],
    },
    Section {
        title: "The app's processes",
        text: "Only where they can be seen: the kernel's queue from any container of the pod, processes where the pod shares its \
               process namespace (`shareProcessNamespace`). `worker` is a place, which a successor inherits.",
        prefixes: &["listen_", "worker_", "collector_"],
    },
    Section {
        title: "Requests and exchanges: rate, errors, duration",
        text: "`route` is the pattern of the configuration, else the URL pattern of the view as the Django package names it. \
               An exchange is the same request as Siding carried it.",
        prefixes: &["request", "exchange", "overhead", "handoff", "authorization", "relay", "drift", "results_"],
    },
    Section {
        title: "Calls to providers: rate, errors, duration",
        text: "One call may take several attempts; `siding_calls_total` counts how it ended.",
        prefixes: &["call", "provider"],
    },
    Section {
        title: "Tokens and money",
        text: "As providers counted and the configuration prices them: an estimate, not the invoice. See [usage.md](usage.md).",
        prefixes: &["tokens", "cost"],
    },
    Section {
        title: "Sharing: cache and coalescing",
        text: "The hit rate is that of `result=\"hit\"`; `collapsed` requests waited for another's call.",
        prefixes: &["cache", "coalesce", "flight"],
    },
    Section {
        title: "Several processes and one Redis",
        text: "Only where `redis.url` is set. See [redis.md](redis.md).",
        prefixes: &["redis", "second_level", "shared_flights"],
    },
    Section { title: "Jobs and webhooks", text: "See [background.md](background.md).", prefixes: &["job", "webhook"] },
    Section {
        title: "The process",
        text: "Besides these, `process_*`: memory, CPU time, descriptors and threads of Siding itself.",
        prefixes: &[""],
    },
];

/// Labels whose values show with traffic: what they are, and how many there can be.
const OPEN: &[(&str, &str)] = &[
    ("provider", "the configured names"),
    ("model", "models with a price, and 100 more; then `other`"),
    ("route", "100 patterns and names; then `other`"),
    ("key", "the variables that hold a provider's keys, or `app`"),
    ("worker", "`0`, `1`, ...; at most 256"),
    ("version", "this one"),
    ("from", "the configured providers"),
    ("to", "the configured fallbacks"),
    ("how", "`hit`, `collapsed`"),
    ("kind", "`input`, `output`, `cached_input`"),
    ("method", "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, `QUERY`, `other`"),
    ("status", "`none`, `1xx`, `2xx`, `3xx`, `4xx`, `5xx`"),
];

const INTRODUCTION: &str = "\
# Metrics

What Siding exports at `/metrics` of its admin listener, in Prometheus' text format. Three to look at first:

1. `siding_queue_wait_seconds`: how long requests wait for a worker, and nothing else. Scale on it.
2. `siding_workers_busy_seconds_total`: its rate over `siding_workers_limit` is the pool's utilisation.
3. `siding_worker_seconds_saved_total`: its rate is the number of workers that need not wait for providers.

Every series with a closed set of label values is there with 0 before its first event, and the number of series is
bounded whatever clients send. Histograms are classic ones; leave them so when scraping (dashboards use `_bucket`).
This page is written by `siding metrics`.
";

/// A configuration with every part that exports something; names and labels do not depend on the rest.
const EVERYTHING: &str = "redis.url = \"redis://localhost\"";

/// The page, for every family that can be exported.
///
/// # Errors
/// Fails where the parts cannot be set up.
pub fn metrics() -> Result<String, StartError> {
    let environment = BTreeMap::new();
    let source =
        Source { origin: "metrics", text: EVERYTHING, backend: None, no_handoff: true, environment: &environment };
    let config = config::load(&source).expect("the text above is a configuration");
    let foundation = Foundation::new(&config)?;
    foundation.generation(&config, None)?;
    Metrics::new(&foundation.registry); // as a running process declares them
    let families = foundation.registry.families();
    let mut page = INTRODUCTION.to_owned();
    let section_of = |family: &Family| {
        let name = family.name.trim_start_matches("siding_");
        SECTIONS.iter().position(|section| section.prefixes.iter().any(|prefix| name.starts_with(prefix)))
    };
    for (position, section) in SECTIONS.iter().enumerate() {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| name | kind | labels | what it says |\n|---|---|---|---|\n",
            section.title, section.text
        );
        for family in families.iter().filter(|family| section_of(family) == Some(position)) {
            let Family { name, kind, help, .. } = family;
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels(family));
        }
    }
    Ok(page)
}

fn labels(family: &Family) -> String {
    let described = family.labels.iter().map(|(name, values)| {
        let open = OPEN.iter().find(|(label, _)| label == name).map(|(_, values)| (*values).to_owned());
        let closed = || values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        format!("`{name}`: {}", open.unwrap_or_else(closed))
    });
    described.collect::<Vec<_>>().join("; ")
}
