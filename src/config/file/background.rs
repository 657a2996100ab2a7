//! Jobs: exchanges that outlive their clients.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::super::defaults as d;
use super::super::units::{Period, Size};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Background {
    pub(in crate::config) path: String,
    pub(in crate::config) retention: Period,
    pub(in crate::config) capacity: Size,
    pub(in crate::config) max_result: Size,
    pub(in crate::config) max_jobs: usize,
    pub(in crate::config) max_wait: Period,
    pub(in crate::config) owner: JobOwner,
    pub(in crate::config) cookies: Vec<String>,
}

/// Whose a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum JobOwner {
    #[default]
    Credentials,
    Id,
}

/// What a route says: `true`, `false`, or a table with details.
#[derive(Clone, Debug)]
pub(in crate::config) enum RouteBackground {
    Off,
    On(RouteJobs),
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RouteJobs {
    pub(in crate::config) webhook: Option<String>,
    pub(in crate::config) webhook_secret_env: Option<String>,
}

impl Default for Background {
    fn default() -> Self {
        Self {
            path: d::JOBS_PATH.to_owned(),
            retention: Period(d::JOB_RETENTION),
            capacity: Size(d::JOBS_CAPACITY),
            max_result: Size(d::JOB_MAX_RESULT),
            max_jobs: d::MAX_JOBS,
            max_wait: Period(d::JOB_MAX_WAIT),
            owner: JobOwner::default(),
            cookies: d::JOB_COOKIES.map(str::to_owned).into(),
        }
    }
}

impl<'de> Deserialize<'de> for RouteBackground {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnOrDetails)
    }
}

struct OnOrDetails;

impl<'de> Visitor<'de> for OnOrDetails {
    type Value = RouteBackground;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or { webhook = \"https://...\", webhook_secret_env = \"...\" }")
    }

    fn visit_bool<E>(self, is_on: bool) -> Result<RouteBackground, E> {
        Ok(if is_on { RouteBackground::On(RouteJobs::default()) } else { RouteBackground::Off })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RouteBackground, A::Error> {
        RouteJobs::deserialize(MapAccessDeserializer::new(map)).map(RouteBackground::On)
    }
}
