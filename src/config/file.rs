//! What a file may say, section by section. The meaning of each key is documented in `config/reference.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::defaults as d;
use super::units::{Parsed, Period, Size};
use crate::backend::Address;
use crate::calls::When;
use crate::provider::{BaseUrl, Dialect};
use crate::route::Pattern;
use crate::telemetry::log::Format;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub(super) server: Server,
    pub(super) log: Log,
    pub(super) backend: Backend,
    pub(super) handoff: Handoff,
    pub(super) providers: Option<BTreeMap<String, Provider>>,
    pub(super) cache: Cache,
    pub(super) routes: Vec<Route>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: Vec<Parsed<Address>>,
    pub(super) h2c: Option<Parsed<Address>>,
    pub(super) admin: Option<Parsed<Address>>,
    pub(super) egress: Option<Parsed<Address>>,
    pub(super) tls: Option<Tls>,
    pub(super) threads: usize,
    pub(super) drain: Period,
    pub(super) keepalive: Period,
    pub(super) max_body: Size,
    pub(super) body_timeout: Period,
    pub(super) write_timeout: Period,
    pub(super) buffered: Size,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: String,
    pub(super) key: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Format,
    pub(super) filter: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Backend {
    pub(super) address: Parsed<Address>,
    pub(super) workers: usize,
    pub(super) threads: usize,
    pub(super) timeout: Period,
    pub(super) connect_timeout: Period,
    pub(super) keepalive: Period,
    pub(super) response_buffer: Size,
    pub(super) queue: Queue,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) capacity: usize,
    pub(super) resume_capacity: usize,
    pub(super) timeout: Period,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Handoff {
    pub(super) enabled: bool,
    pub(super) secret_env: String,
    pub(super) previous_secret_env: Option<String>,
    pub(super) deadline: Period,
    pub(super) max_calls: usize,
    pub(super) max_call_bytes: Size,
    pub(super) max_result: Size,
    pub(super) max_journal: Size,
    pub(super) max_passes: u32,
}

/// `dialect` and `base_url` are required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) dialect: Option<Dialect>,
    pub(super) base_url: Option<Parsed<BaseUrl>>,
    pub(super) api_key_env: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) stream_options: bool,
    pub(super) timeout: Timeouts,
    pub(super) retry: Retry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) connect: Period,
    pub(super) first_byte: Period,
    pub(super) idle: Period,
    pub(super) total: Period,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) attempts: u32,
    pub(super) budget: f64,
}

/// `path` is required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Route {
    pub(super) path: Option<Parsed<Pattern>>,
    pub(super) methods: Vec<String>,
    pub(super) class: Class,
    pub(super) handoff: bool,
    pub(super) max_workers: Option<usize>,
    pub(super) cache: Option<RouteCache>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) capacity: Size,
    pub(super) max_entry: Size,
    pub(super) max_followers: usize,
    pub(super) ttl: Period,
    pub(super) stale_while_revalidate: Period,
    pub(super) stale_if_error: Period,
    pub(super) when: When,
    pub(super) scope: String,
    pub(super) ignore: Vec<String>,
    pub(super) key_headers: Vec<String>,
}

/// Whole answers of a route.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RouteCache {
    pub(super) ttl: Period,
    pub(super) stale_while_revalidate: Period,
    pub(super) stale_if_error: Period,
    pub(super) scope: RouteScope,
    pub(super) tags: Vec<String>,
    pub(super) client_directives: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RouteScope {
    #[default]
    Credentials,
    Public,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Class {
    #[default]
    Interactive,
    Batch,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            path: None,
            methods: Vec::new(),
            class: Class::Interactive,
            handoff: true,
            max_workers: None,
            cache: None,
        }
    }
}

fn address(text: &str) -> Parsed<Address> {
    Parsed(text.parse().expect("default addresses are valid"))
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![address(d::LISTEN)],
            h2c: None,
            admin: Some(address(d::ADMIN)),
            egress: None,
            tls: None,
            threads: 0,
            drain: Period(d::DRAIN),
            keepalive: Period(d::KEEPALIVE),
            max_body: Size(d::MAX_BODY),
            body_timeout: Period(d::BODY_TIMEOUT),
            write_timeout: Period(d::WRITE_TIMEOUT),
            buffered: Size(d::BUFFERED),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Text, filter: d::LOG_FILTER.to_owned() }
    }
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            address: address(d::BACKEND),
            workers: d::WORKERS,
            threads: d::THREADS,
            timeout: Period(d::BACKEND_TIMEOUT),
            connect_timeout: Period(d::CONNECT_TIMEOUT),
            keepalive: Period(d::BACKEND_KEEPALIVE),
            response_buffer: Size(d::RESPONSE_BUFFER),
            queue: Queue::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { capacity: d::QUEUE_CAPACITY, resume_capacity: d::RESUME_CAPACITY, timeout: Period(d::QUEUE_TIMEOUT) }
    }
}

impl Default for Handoff {
    fn default() -> Self {
        Self {
            enabled: true,
            secret_env: d::SECRET_ENV.to_owned(),
            previous_secret_env: None,
            deadline: Period(d::DEADLINE),
            max_calls: d::MAX_CALLS,
            max_call_bytes: Size(d::MAX_CALL_BYTES),
            max_result: Size(d::MAX_RESULT),
            max_journal: Size(d::MAX_JOURNAL),
            max_passes: d::MAX_PASSES,
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            dialect: None,
            base_url: None,
            api_key_env: None,
            ca_file: None,
            stream_options: true,
            timeout: Timeouts::default(),
            retry: Retry::default(),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            capacity: Size(d::CACHE_CAPACITY),
            max_entry: Size(d::CACHE_MAX_ENTRY),
            max_followers: d::MAX_FOLLOWERS,
            ttl: Period(d::CACHE_TTL),
            stale_while_revalidate: Period(d::STALE),
            stale_if_error: Period(d::STALE),
            when: When::Always,
            scope: d::CALL_SCOPE.to_owned(),
            ignore: d::CACHE_IGNORE.map(str::to_owned).into(),
            key_headers: Vec::new(),
        }
    }
}

impl Default for RouteCache {
    fn default() -> Self {
        Self {
            ttl: Period(d::CACHE_TTL),
            stale_while_revalidate: Period(d::STALE),
            stale_if_error: Period(d::STALE),
            scope: RouteScope::default(),
            tags: Vec::new(),
            client_directives: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Period(d::PROVIDER_CONNECT),
            first_byte: Period(d::PROVIDER_FIRST_BYTE),
            idle: Period(d::PROVIDER_IDLE),
            total: Period(d::PROVIDER_TOTAL),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: d::RETRY_ATTEMPTS, budget: d::RETRY_BUDGET }
    }
}
