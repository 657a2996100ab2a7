//! Listeners and what clients may do on them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Parsed, Period, Size};
use super::address;
use crate::backend::Address;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Server {
    pub(in crate::config) listen: Vec<Parsed<Address>>,
    pub(in crate::config) h2c: Option<Parsed<Address>>,
    pub(in crate::config) admin: Option<Parsed<Address>>,
    pub(in crate::config) egress: Option<Parsed<Address>>,
    pub(in crate::config) tls: Option<Tls>,
    pub(in crate::config) threads: usize,
    pub(in crate::config) watch: bool,
    pub(in crate::config) linger: Period,
    pub(in crate::config) propagation: Period,
    pub(in crate::config) drain: Period,
    pub(in crate::config) keepalive: Period,
    pub(in crate::config) max_body: Size,
    pub(in crate::config) body_timeout: Period,
    pub(in crate::config) write_timeout: Period,
    pub(in crate::config) buffered: Size,
    pub(in crate::config) status_paths: bool,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Tls {
    pub(in crate::config) cert: String,
    pub(in crate::config) key: String,
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
            watch: d::WATCH,
            linger: Period(d::LINGER),
            propagation: Period(d::PROPAGATION),
            drain: Period(d::DRAIN),
            keepalive: Period(d::KEEPALIVE),
            max_body: Size(d::MAX_BODY),
            body_timeout: Period(d::BODY_TIMEOUT),
            write_timeout: Period(d::WRITE_TIMEOUT),
            buffered: Size(d::BUFFERED),
            status_paths: d::STATUS_PATHS,
        }
    }
}
