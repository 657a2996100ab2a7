//! What the app may hand over.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Period, Size};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Handoff {
    pub(in crate::config) enabled: bool,
    pub(in crate::config) secret_env: String,
    pub(in crate::config) previous_secret_env: Option<String>,
    pub(in crate::config) deadline: Period,
    pub(in crate::config) max_calls: usize,
    pub(in crate::config) max_call_bytes: Size,
    pub(in crate::config) max_result: Size,
    pub(in crate::config) max_journal: Size,
    pub(in crate::config) max_passes: u32,
    pub(in crate::config) relay_keepalive: Period,
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
            relay_keepalive: Period(d::RELAY_KEEPALIVE),
        }
    }
}
