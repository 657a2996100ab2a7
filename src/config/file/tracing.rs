//! Distributed traces.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Tracing {
    pub(in crate::config) sample: f64,
    pub(in crate::config) providers: bool,
    pub(in crate::config) endpoint: Option<String>,
    pub(in crate::config) headers_env: Option<String>,
    pub(in crate::config) service_name: Option<String>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            sample: d::TRACE_SAMPLE,
            providers: d::TRACE_PROVIDERS,
            endpoint: None,
            headers_env: None,
            service_name: None,
        }
    }
}
