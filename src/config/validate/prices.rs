//! What tokens cost.

use super::Check;
use crate::config::file::{self, File};
use crate::usage::{Price, Prices};

/// Dollars for a million tokens: more than any model costs.
const HIGHEST: f64 = 1e6;

impl Check<'_> {
    pub(super) fn prices(&mut self, file: &File) -> Prices {
        file.prices.iter().filter_map(|(model, price)| Some((model.clone(), self.price(model, price)?))).collect()
    }

    fn price(&mut self, model: &str, said: &file::Price) -> Option<Price> {
        let key = |field: &str| format!("prices.{model}.{field}");
        for (field, price) in [("input", said.input), ("output", said.output)] {
            self.required(&key(field), price.is_some());
        }
        for (field, price) in [("input", said.input), ("output", said.output), ("cached_input", said.cached_input)] {
            if price.is_some_and(|price| !(0.0..=HIGHEST).contains(&price)) {
                self.fault(&key(field), format!("must be between 0 and {HIGHEST}: dollars for a million tokens"));
            }
        }
        let (input, output) = (said.input?, said.output?);
        Some(Price { input, output, cached_input: said.cached_input.unwrap_or(input) })
    }
}
