//! How calls share answers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Period, Size};
use crate::calls::When;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cache {
    pub(in crate::config) capacity: Size,
    pub(in crate::config) max_entry: Size,
    pub(in crate::config) max_followers: usize,
    pub(in crate::config) ttl: Period,
    pub(in crate::config) stale_while_revalidate: Period,
    pub(in crate::config) stale_if_error: Period,
    pub(in crate::config) when: When,
    pub(in crate::config) scope: String,
    pub(in crate::config) ignore: Vec<String>,
    pub(in crate::config) key_headers: Vec<String>,
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
