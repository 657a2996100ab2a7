//! The app and its queue.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::defaults as d;
use super::super::units::{Parsed, Period, Size, Workers};
use super::address;
use crate::backend::Address;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Backend {
    pub(in crate::config) address: Parsed<Address>,
    pub(in crate::config) workers: Workers,
    pub(in crate::config) threads: usize,
    pub(in crate::config) timeout: Period,
    pub(in crate::config) connect_timeout: Period,
    pub(in crate::config) keepalive: Period,
    pub(in crate::config) response_buffer: Size,
    pub(in crate::config) control_socket: String,
    pub(in crate::config) queue: Queue,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Queue {
    pub(in crate::config) capacity: usize,
    pub(in crate::config) resume_capacity: usize,
    pub(in crate::config) timeout: Period,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            address: address(d::BACKEND),
            workers: Workers::Are(d::WORKERS),
            threads: d::THREADS,
            timeout: Period(d::BACKEND_TIMEOUT),
            connect_timeout: Period(d::CONNECT_TIMEOUT),
            keepalive: Period(d::BACKEND_KEEPALIVE),
            response_buffer: Size(d::RESPONSE_BUFFER),
            control_socket: String::new(),
            queue: Queue::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { capacity: d::QUEUE_CAPACITY, resume_capacity: d::RESUME_CAPACITY, timeout: Period(d::QUEUE_TIMEOUT) }
    }
}
