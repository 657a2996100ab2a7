//! LLM vendors.

use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Parsed, Period};
use crate::provider::{BaseUrl, Dialect};

/// `dialect` and `base_url` are required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Provider {
    pub(in crate::config) dialect: Option<Dialect>,
    pub(in crate::config) base_url: Option<Parsed<BaseUrl>>,
    pub(in crate::config) api_key_env: Option<String>,
    pub(in crate::config) ca_file: Option<String>,
    pub(in crate::config) stream_options: bool,
    pub(in crate::config) timeout: Timeouts,
    pub(in crate::config) retry: Retry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Timeouts {
    pub(in crate::config) connect: Period,
    pub(in crate::config) first_byte: Period,
    pub(in crate::config) idle: Period,
    pub(in crate::config) total: Period,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Retry {
    pub(in crate::config) attempts: u32,
    pub(in crate::config) budget: f64,
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
