//! What tokens cost.

use schemars::JsonSchema;
use serde::Deserialize;

/// `input` and `output` are required; that is checked with the values, so that all faults show at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Price {
    pub(in crate::config) input: Option<f64>,
    pub(in crate::config) output: Option<f64>,
    pub(in crate::config) cached_input: Option<f64>,
}
