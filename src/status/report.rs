//! The status as one JSON document. Its field names are documented in `docs/status.md` and stay.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Status;
use super::history::{Rates, Series, rounded};
use super::name::Name;
use super::providers::Provider;
use super::{errors, slots, waits};
use crate::telemetry::Reading;
use crate::time::{Instant, unix_millis};

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub struct Report {
    version: &'static str,
    /// running or draining.
    state: &'static str,
    unix_ms: u64,
    started_unix_ms: u64,
    uptime_seconds: f64,
    requests: Requests,
    workers: Workers,
    queue: Queue,
    waiting: Waiting,
    providers: Vec<Provider>,
    cache: Cache,
    savings: Savings,
    configuration: Option<Configuration>,
    errors: Vec<Error>,
    history: Series,
}

/// Traffic of the last minute.
#[derive(Debug, Serialize)]
struct Requests {
    window_seconds: f64,
    per_second: f64,
    /// Answers with a status of 500 or above, whoever gave them.
    errors_per_second: f64,
    in_flight: u64,
    total: u64,
    errors_total: u64,
}

#[derive(Debug, Serialize)]
struct Workers {
    limit: u64,
    busy: u64,
    orphaned: u64,
    /// Of the last minute.
    utilisation: f64,
    /// Of the last minute.
    saved: f64,
    needed_without_siding: u64,
    /// Processes of the app that can be seen, and their memory.
    processes: u64,
    resident_memory_bytes: u64,
    restarts: u64,
    listen_backlog: u64,
    /// Those that are busy.
    slots: Vec<Slot>,
    slots_not_shown: u64,
}

#[derive(Debug, Serialize)]
struct Slot {
    /// From 1 on.
    slot: usize,
    #[serde(flatten)]
    request: Request,
    busy_seconds: f64,
    pass: u32,
    orphaned: bool,
}

/// Which request something is about.
#[derive(Debug, Serialize)]
struct Request {
    id: String,
    method: String,
    route: Option<String>,
    path: Option<String>,
    mode: &'static str,
}

#[derive(Debug, Serialize)]
struct Queue {
    /// By class.
    depth: BTreeMap<String, u64>,
    oldest_seconds: f64,
    expected_wait_seconds: f64,
    rejected_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Waiting {
    exchanges: usize,
    longest_seconds: f64,
    by_provider: BTreeMap<String, usize>,
    longest: Vec<Waiter>,
}

#[derive(Debug, Serialize)]
struct Waiter {
    #[serde(flatten)]
    request: Request,
    waiting_seconds: f64,
    provider: String,
    calls: u32,
}

/// Since the start, where nothing else is said.
#[derive(Debug, Serialize)]
struct Cache {
    hits: u64,
    collapsed: u64,
    misses: u64,
    /// Of the last minute; absent where nothing could share.
    hit_rate: Option<f64>,
    entries: u64,
    size_bytes: u64,
    size_limit_bytes: u64,
}

/// Since the start.
#[derive(Debug, Serialize)]
struct Savings {
    worker_seconds: f64,
    dollars: f64,
    tokens: u64,
    spent_dollars: f64,
    spent_tokens: u64,
}

#[derive(Debug, Serialize)]
struct Configuration {
    last_reload_successful: bool,
    last_reload_success_unix: f64,
    restart_needed: bool,
}

/// Errors that are alike.
#[derive(Debug, Serialize)]
struct Error {
    #[serde(flatten)]
    request: Request,
    reason: &'static str,
    status: u16,
    count: u64,
    first_unix_ms: u64,
    last_unix_ms: u64,
    remedy: &'static str,
}

impl Report {
    pub(super) fn of(status: &Status, reading: &Reading, is_draining: bool) -> Self {
        let now = Instant::now();
        let (rates, history) = {
            let history = status.history.lock();
            (history.rates(reading, now), history.series())
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            state: if is_draining { "draining" } else { "running" },
            unix_ms: unix_millis(),
            started_unix_ms: status.started_unix_ms,
            uptime_seconds: rounded(status.uptime().as_secs_f64()),
            requests: Requests::of(reading, &rates),
            workers: Workers::of(status, reading, &rates, now),
            queue: Queue::of(reading, &rates),
            waiting: Waiting::of(&status.waits.summary(), now),
            providers: status.trends.lock().health(reading, now),
            cache: Cache::of(reading, &rates),
            savings: Savings::of(reading),
            configuration: Configuration::of(reading),
            errors: status.errors.all().into_iter().map(Error::from).collect(),
            history,
        }
    }
}

impl Requests {
    fn of(reading: &Reading, rates: &Rates) -> Self {
        Self {
            window_seconds: rounded(rates.window),
            per_second: rounded(rates.requests),
            errors_per_second: rounded(rates.errors),
            in_flight: reading.count("exchanges_in_flight", &[]),
            total: reading.count("requests_total", &[]),
            errors_total: reading.count("requests_total", &[("status", "5xx")]),
        }
    }
}

impl Workers {
    fn of(status: &Status, reading: &Reading, rates: &Rates, now: Instant) -> Self {
        let (taken, beyond) = status.slots.taken();
        let limit = reading.sum("workers_limit", &[]);
        Self {
            limit: limit as u64,
            busy: reading.count("workers_busy", &[]),
            orphaned: reading.count("workers_orphaned", &[]),
            utilisation: if limit > 0.0 { rounded(rates.busy / limit) } else { 0.0 },
            saved: rounded(rates.saved),
            needed_without_siding: reading.count("workers_needed_without_siding", &[]),
            processes: reading.count("worker_processes", &[]),
            resident_memory_bytes: reading.count("worker_resident_memory_bytes", &[]),
            restarts: reading.count("worker_restarts_total", &[]),
            listen_backlog: reading.count("listen_backlog", &[]),
            slots: taken.into_iter().map(|(place, entry)| Slot::of(place, entry, now)).collect(),
            slots_not_shown: beyond,
        }
    }
}

impl Slot {
    fn of(place: usize, entry: slots::Entry, now: Instant) -> Self {
        let slots::Entry { kept, pass, is_orphaned } = entry;
        let request = Request::new(kept.id.as_str(), &kept.method, &kept.name, kept.mode.as_str());
        Self { slot: place + 1, request, busy_seconds: seconds(kept.began, now), pass, orphaned: is_orphaned }
    }
}

impl Request {
    fn new(id: &str, method: &http::Method, name: &Name, mode: &'static str) -> Self {
        Self { id: id.to_owned(), method: method.as_str().to_owned(), route: name.route(), path: name.path(), mode }
    }
}

impl Queue {
    fn of(reading: &Reading, rates: &Rates) -> Self {
        let depth = reading.by("queue_depth", "class");
        Self {
            depth: depth.into_iter().map(|(class, depth)| (class.to_owned(), depth as u64)).collect(),
            oldest_seconds: rounded(reading.sum("queue_oldest_age_seconds", &[])),
            expected_wait_seconds: rounded(reading.sum("queue_wait_expected_seconds", &[])),
            rejected_per_second: rounded(rates.rejected),
        }
    }
}

impl Waiting {
    fn of(summary: &waits::Summary, now: Instant) -> Self {
        let waiter = |entry: &waits::Entry| Waiter {
            request: Request::new(
                entry.kept.id.as_str(),
                &entry.kept.method,
                &entry.kept.name,
                entry.kept.mode.as_str(),
            ),
            waiting_seconds: seconds(entry.kept.began, now),
            provider: entry.provider.as_str().to_owned(),
            calls: entry.calls,
        };
        let longest: Vec<Waiter> = summary.longest.iter().map(waiter).collect();
        Self {
            exchanges: summary.total,
            longest_seconds: longest.first().map_or(0.0, |waiter| waiter.waiting_seconds),
            by_provider: summary.by_provider.clone(),
            longest,
        }
    }
}

impl Cache {
    fn of(reading: &Reading, rates: &Rates) -> Self {
        let served = |result| reading.count("cache_requests_total", &[("result", result)]);
        Self {
            hits: served("hit") + served("stale"),
            collapsed: served("collapsed"),
            misses: served("miss"),
            hit_rate: rates.hits.map(rounded),
            entries: reading.count("cache_entries", &[]),
            size_bytes: reading.count("cache_size_bytes", &[]),
            size_limit_bytes: reading.count("cache_size_limit_bytes", &[]),
        }
    }
}

impl Savings {
    fn of(reading: &Reading) -> Self {
        // Cached input is a part of input.
        let tokens = |family| ["input", "output"].iter().map(|kind| reading.count(family, &[("kind", kind)])).sum();
        Self {
            worker_seconds: rounded(reading.sum("worker_seconds_saved_total", &[])),
            dollars: reading.sum("saved_dollars_total", &[]),
            tokens: tokens("saved_tokens_total"),
            spent_dollars: reading.sum("cost_dollars_total", &[]),
            spent_tokens: tokens("tokens_total"),
        }
    }
}

impl Configuration {
    /// `None` where this process does not read its configuration again.
    fn of(reading: &Reading) -> Option<Self> {
        Some(Self {
            last_reload_successful: reading.value("config_last_reload_successful")? > 0.0,
            last_reload_success_unix: reading.sum("config_last_reload_success_timestamp_seconds", &[]),
            restart_needed: reading.sum("config_restart_needed", &[]) > 0.0,
        })
    }
}

impl From<errors::Entry> for Error {
    fn from(entry: errors::Entry) -> Self {
        let errors::Entry { kind, count, first_unix_ms, last_unix_ms, id } = entry;
        Self {
            request: Request::new(id.as_str(), &kind.method, &kind.name, kind.mode.as_str()),
            reason: kind.cause.as_str(),
            status: kind.status,
            count,
            first_unix_ms,
            last_unix_ms,
            remedy: kind.cause.remedy(),
        }
    }
}

fn seconds(since: Instant, now: Instant) -> f64 {
    rounded(now.saturating_duration_since(since).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Cause, Failed, Subject};
    use crate::telemetry::outcome::Mode;
    use crate::telemetry::{Reason, Registry};
    use http::Method;
    use serde_json::{Value, json};

    fn report(status: &Status) -> Value {
        serde_json::to_value(status.report(&Registry::new().unwrap().read(), false)).unwrap()
    }

    #[test]
    fn a_request_is_told_by_its_route_or_its_path_without_the_query_or_not_at_all() {
        let status = Status::new(true);
        let subject = |name| Subject { id: "0a", method: &Method::POST, name, mode: Mode::Replay };
        let pattern = "/api/**".into();
        let routed = status.occupy(subject(status.name(Some(&pattern), "/api/a?key=secret")), 0);
        let unrouted = status.occupy(subject(status.name(None, "/a?key=secret")), 1);
        status.show_paths(false);
        let hidden = status.wait(subject(status.name(None, "/users/jane@example.com")), "openai", 2);
        let told = report(&status);
        let slots = &told["workers"]["slots"];
        assert_eq!(
            (&slots[0]["route"], &slots[0]["path"], &slots[0]["slot"]),
            (&json!("/api/**"), &Value::Null, &json!(1))
        );
        assert_eq!((&slots[1]["route"], &slots[1]["path"], &slots[1]["pass"]), (&Value::Null, &json!("/a"), &json!(1)));
        let waiting = &told["waiting"];
        assert_eq!((&waiting["exchanges"], &waiting["by_provider"]), (&json!(1), &json!({"openai": 1})));
        assert_eq!((&waiting["longest"][0]["path"], &waiting["longest"][0]["calls"]), (&Value::Null, &json!(2)));
        assert!(!told.to_string().contains("secret") && !told.to_string().contains("jane"));
        drop((routed, unrouted, hidden));
        assert_eq!(report(&status)["workers"]["slots"], json!([]));
    }

    #[test]
    fn an_error_says_what_happened_where_and_what_to_do() {
        let status = Status::new(true);
        let subject = Subject { id: "0a", method: &Method::GET, name: status.name(None, "/a"), mode: Mode::Plain };
        let cause = Cause::Refused(Reason::BackendConnect);
        status.failed(Failed { subject, cause, status: 502 });
        let error = &report(&status)["errors"][0];
        assert_eq!(
            (&error["reason"], &error["status"], &error["path"]),
            (&json!("backend-connect"), &json!(502), &json!("/a"))
        );
        assert!(error["remedy"].as_str().unwrap().contains("backend.address"));
        assert!(error["last_unix_ms"].as_u64().unwrap() > 1_700_000_000_000);
    }

    #[test]
    fn a_report_of_a_crowd_is_small() {
        let status = Status::new(true);
        let enter = |n: u32| {
            let (id, path) = (format!("{:032x}", u128::from(n) << 96), format!("/a/{n}"));
            let name = status.name(None, &path);
            status.wait(Subject { id: &id, method: &Method::POST, name, mode: Mode::Replay }, "openai", 1)
        };
        let held: Vec<_> = (0..10_000).map(enter).collect();
        let told = report(&status);
        assert_eq!(told["waiting"]["exchanges"], json!(10_000));
        assert!(told.to_string().len() < 8 * 1024, "{} bytes", told.to_string().len());
        drop(held);
    }
}
