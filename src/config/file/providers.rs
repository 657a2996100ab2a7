//! LLM vendors.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Parsed, Period, Switch};
use crate::provider::{BaseUrl, Dialect};

/// `dialect` and `base_url` are required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Provider {
    pub(in crate::config) dialect: Option<Dialect>,
    pub(in crate::config) base_url: Option<Parsed<BaseUrl>>,
    pub(in crate::config) api_key_env: Option<String>,
    pub(in crate::config) api_keys_env: Vec<String>,
    pub(in crate::config) ca_file: Option<String>,
    pub(in crate::config) stream_options: bool,
    pub(in crate::config) timeout: Timeouts,
    pub(in crate::config) retry: Retry,
    pub(in crate::config) breaker: Switch<Breaker>,
    pub(in crate::config) concurrency: Concurrency,
    pub(in crate::config) hedge: Option<Hedge>,
    pub(in crate::config) fallback: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Timeouts {
    pub(in crate::config) connect: Period,
    pub(in crate::config) first_byte: Period,
    pub(in crate::config) idle: Period,
    pub(in crate::config) total: Period,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Retry {
    pub(in crate::config) attempts: u32,
    pub(in crate::config) budget: f64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Breaker {
    pub(in crate::config) failures: f64,
    pub(in crate::config) minimum: u32,
    pub(in crate::config) window: Period,
    pub(in crate::config) cooldown: Period,
    pub(in crate::config) probes: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Concurrency {
    pub(in crate::config) max: usize,
    pub(in crate::config) min: Option<usize>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Hedge {
    pub(in crate::config) after: Period,
    pub(in crate::config) budget: f64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            dialect: None,
            base_url: None,
            api_key_env: None,
            api_keys_env: Vec::new(),
            ca_file: None,
            stream_options: true,
            timeout: Timeouts::default(),
            retry: Retry::default(),
            breaker: Switch(Some(Breaker::default())),
            concurrency: Concurrency::default(),
            hedge: None,
            fallback: Vec::new(),
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

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: d::BREAKER_FAILURES,
            minimum: d::BREAKER_MINIMUM,
            window: Period(d::BREAKER_WINDOW),
            cooldown: Period(d::BREAKER_COOLDOWN),
            probes: d::BREAKER_PROBES,
        }
    }
}

impl Concurrency {
    /// What is never shrunk below. A smaller `max` needs no word of it.
    pub(in crate::config) fn least(&self) -> usize {
        self.min.unwrap_or(d::LEAST_CONCURRENCY.min(self.max))
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max: d::MOST_CONCURRENCY, min: None }
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after: Period(d::HEDGE_AFTER), budget: d::HEDGE_BUDGET }
    }
}
