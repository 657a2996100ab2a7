//! The store that processes share.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::Period;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Redis {
    pub(in crate::config) url: Option<String>,
    pub(in crate::config) password_env: Option<String>,
    pub(in crate::config) ca_file: Option<String>,
    pub(in crate::config) prefix: String,
    pub(in crate::config) timeout: Period,
    pub(in crate::config) connect_timeout: Period,
    pub(in crate::config) lease: Period,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            password_env: None,
            ca_file: None,
            prefix: d::REDIS_PREFIX.to_owned(),
            timeout: Period(d::REDIS_TIMEOUT),
            connect_timeout: Period(d::REDIS_CONNECT_TIMEOUT),
            lease: Period(d::REDIS_LEASE),
        }
    }
}
