//! Rules for requests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Parsed, Period};
use super::RouteBackground;
use crate::route::Pattern;

/// `path` is required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Route {
    pub(in crate::config) path: Option<Parsed<Pattern>>,
    pub(in crate::config) methods: Vec<String>,
    pub(in crate::config) class: Class,
    pub(in crate::config) handoff: bool,
    pub(in crate::config) max_workers: Option<usize>,
    pub(in crate::config) cache: Option<RouteCache>,
    pub(in crate::config) terminate: Option<Terminate>,
    pub(in crate::config) background: Option<RouteBackground>,
}

/// Requests that a provider answers. `provider` is required.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Terminate {
    pub(in crate::config) provider: Option<String>,
    pub(in crate::config) authorize: Option<String>,
    pub(in crate::config) public: bool,
    pub(in crate::config) strip: String,
}

/// Whole answers of a route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RouteCache {
    pub(in crate::config) ttl: Period,
    pub(in crate::config) stale_while_revalidate: Period,
    pub(in crate::config) stale_if_error: Period,
    pub(in crate::config) scope: RouteScope,
    pub(in crate::config) tags: Vec<String>,
    pub(in crate::config) client_directives: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RouteScope {
    #[default]
    Credentials,
    Public,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Class {
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
            terminate: None,
            background: None,
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
