//! Requests by route: rate, errors, duration. A route is the pattern that the request fell under; where there is none, the
//! name that the app gives its own (`Siding-Route`), so that every view is seen without being configured.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Method, StatusCode};
use parking_lot::RwLock;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use crate::telemetry::Registry;
use crate::telemetry::registry::POOL_SECONDS;
use crate::time::Duration;

/// Routes with a label of their own; those seen later are [`OTHER`].
const MOST_ROUTES: usize = 100;
/// Bytes of a route's name.
const LONGEST_ROUTE: usize = 200;
/// The label of routes that have none of their own.
const OTHER: &str = "other";

/// Labels of methods; the last is that of all others.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", OTHER];
/// Labels of statuses; the first is that of requests whose client left before it saw one.
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests by route.
#[derive(Debug)]
pub struct Requests {
    total: IntCounterVec,
    duration: HistogramVec,
    routes: RwLock<HashMap<Box<str>, Arc<Route>>>,
    other: Arc<Route>,
}

/// One route's series, made when they are first needed.
#[derive(Debug)]
struct Route {
    name: Box<str>,
    counts: [[OnceLock<IntCounter>; STATUSES.len()]; METHODS.len()],
    duration: Histogram,
}

impl Requests {
    /// None yet.
    pub fn new(registry: &Registry) -> Self {
        let total = registry.counter_vec(
            "requests_total",
            "Requests that ended, by route, method and class of status; none where the client left before it saw one.",
            &["route", "method", "status"],
        );
        let duration = registry.histogram_vec(
            "request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            &["route"],
            POOL_SECONDS,
        );
        let other = Arc::new(Route::new(OTHER, &duration));
        Self { total, duration, routes: RwLock::default(), other }
    }

    /// Gives configured patterns their places before others take them.
    pub(super) fn expect<'a>(&self, patterns: impl Iterator<Item = &'a str>) {
        for pattern in patterns {
            self.route(pattern);
        }
    }

    /// A request ended. `pattern` is the rule it fell under, `named` what the app said.
    pub(super) fn ended(
        &self,
        pattern: Option<&str>,
        named: Option<&HeaderValue>,
        method: &Method,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        let named = || named.and_then(|name| name.to_str().ok()).filter(|name| is_presentable(name));
        let route = pattern.or_else(named).map_or_else(|| Arc::clone(&self.other), |name| self.route(name));
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let status = status.map_or(0, |status| usize::from(status.as_u16() / 100).min(STATUSES.len() - 1));
        let labels = || [&*route.name, METHODS[method], STATUSES[status]];
        route.counts[method][status].get_or_init(|| self.total.with_label_values(&labels())).inc();
        route.duration.observe(took.as_secs_f64());
    }

    fn route(&self, name: &str) -> Arc<Route> {
        if let Some(route) = self.routes.read().get(name) {
            return Arc::clone(route);
        }
        let mut routes = self.routes.write();
        if !routes.contains_key(name) && routes.len() >= MOST_ROUTES {
            return Arc::clone(&self.other);
        }
        let route = routes.entry(name.into()).or_insert_with(|| Arc::new(Route::new(name, &self.duration)));
        Arc::clone(route)
    }
}

impl Route {
    fn new(name: &str, duration: &HistogramVec) -> Self {
        Self { name: name.into(), counts: Default::default(), duration: duration.with_label_values(&[name]) }
    }
}

/// Graphs and logs show it.
fn is_presentable(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_ROUTE && name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(7);

    fn series(registry: &Registry) -> usize {
        registry.render().unwrap().lines().filter(|line| line.starts_with("siding_request")).count()
    }

    #[test]
    fn a_request_counts_under_its_pattern_else_under_the_apps_name_for_it_else_under_other() {
        let registry = Registry::new().unwrap();
        let requests = Requests::new(&registry);
        let named = HeaderValue::from_static("chat/<int:pk>/");
        let odd = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let get = Method::GET;
        requests.ended(Some("/api/**"), Some(&named), &get, Some(StatusCode::OK), TOOK);
        requests.ended(None, Some(&named), &Method::from_bytes(b"BREW").unwrap(), Some(StatusCode::IM_A_TEAPOT), TOOK);
        requests.ended(None, Some(&odd), &get, None, TOOK);
        let text = registry.render().unwrap();
        for line in [
            r#"siding_requests_total{method="GET",route="/api/**",status="2xx"} 1"#,
            r#"siding_requests_total{method="other",route="chat/<int:pk>/",status="4xx"} 1"#,
            r#"siding_requests_total{method="GET",route="other",status="none"} 1"#,
            r#"siding_request_duration_seconds_count{route="other"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn series_do_not_grow_with_the_names_that_an_app_invents() {
        let registry = Registry::new().unwrap();
        let requests = Requests::new(&registry);
        let ask = |number: usize| {
            let named = HeaderValue::from_str(&format!("view-{number}/")).unwrap();
            requests.ended(None, Some(&named), &Method::GET, Some(StatusCode::OK), TOOK);
        };
        (0..MOST_ROUTES + 1).for_each(ask);
        let full = series(&registry);
        (0..10_000).for_each(ask);
        let long = HeaderValue::from_str(&"long".repeat(100)).unwrap();
        requests.ended(None, Some(&long), &Method::GET, Some(StatusCode::OK), TOOK);
        assert_eq!(series(&registry), full);
    }
}
