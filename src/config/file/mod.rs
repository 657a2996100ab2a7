//! What a file may say, section by section. The meaning of each key is documented in `config/reference.toml`.

mod backend;
mod background;
mod cache;
mod handoff;
mod prices;
mod providers;
mod redis;
mod routes;
mod server;
mod tracing;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::defaults as d;
use super::units::Parsed;
use crate::backend::Address;
use crate::telemetry::log::Format;

use backend::Backend;
use background::Background;
use handoff::Handoff;
use redis::Redis;
use server::Server;
use tracing::Tracing;

pub(super) use background::{JobOwner, RouteBackground, RouteJobs};
pub(super) use cache::Cache;
pub(super) use prices::Price;
pub(super) use providers::{Hedge, Provider};
pub(super) use routes::{Class, Route, RouteCache, RouteScope, Terminate};
pub(super) use server::Tls;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub(in crate::config) server: Server,
    pub(in crate::config) log: Log,
    pub(in crate::config) tracing: Tracing,
    pub(in crate::config) backend: Backend,
    pub(in crate::config) handoff: Handoff,
    pub(in crate::config) providers: Option<BTreeMap<String, Provider>>,
    pub(in crate::config) cache: Cache,
    pub(in crate::config) redis: Redis,
    pub(in crate::config) prices: BTreeMap<String, Price>,
    pub(in crate::config) background: Background,
    pub(in crate::config) routes: Vec<Route>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Log {
    pub(in crate::config) format: Format,
    pub(in crate::config) filter: String,
}

fn address(text: &str) -> Parsed<Address> {
    Parsed(text.parse().expect("default addresses are valid"))
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Text, filter: d::LOG_FILTER.to_owned() }
    }
}
