//! What calls cost: tokens as the providers count them, money by the configured prices. What answers that are given again
//! would have cost is counted apart, as saved. It must never look at an answer.

mod metrics;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::answer::Tokens;
use crate::telemetry::Registry;
use crate::time::Duration;
use metrics::{Families, Saved};

/// Models without a price that have a label of their own; those seen later are [`OTHER`].
const MOST_MODELS: usize = 100;

/// Bytes of a model's name that may be a label.
const LONGEST_MODEL: usize = 128;

/// The label of models that have none of their own.
const OTHER: &str = "other";

/// The label of a call that names no model.
const UNNAMED: &str = "none";

/// Dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Of input that no cache of the provider had.
    pub input: f64,
    /// Of output.
    pub output: f64,
    /// Of input that a cache of the provider had.
    pub cached_input: f64,
}

impl Price {
    /// In dollars.
    fn of(&self, tokens: Tokens) -> f64 {
        let uncached = tokens.input.saturating_sub(tokens.cached_input);
        let priced = [(uncached, self.input), (tokens.cached_input, self.cached_input), (tokens.output, self.output)];
        // Exact up to 2^53 tokens.
        priced.into_iter().map(|(count, price)| count as f64 * price).sum::<f64>() / 1e6
    }
}

/// Prices by model, or by `provider/model`, which goes first.
pub type Prices = BTreeMap<String, Price>;

/// How an answer was had without asking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// It was stored.
    Hit,
    /// Another call that meant the same was under way.
    Collapsed,
}

impl Saving {
    const ALL: [Saving; 2] = [Saving::Hit, Saving::Collapsed];

    fn as_str(self) -> &'static str {
        match self {
            Saving::Hit => "hit",
            Saving::Collapsed => "collapsed",
        }
    }
}

/// What one call cost: everybody who is given its answer again saves that. Kept beside the answer, so that a hit reads
/// nothing and looks nothing up.
#[derive(Clone, Debug)]
pub struct Receipt(Arc<Spent>);

/// The same as data, for another process: there the same was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The provider that was paid.
    pub provider: String,
    /// The model that was asked; `None` where the call named none.
    pub model: Option<String>,
    /// What it counted.
    pub tokens: Tokens,
}

#[derive(Debug)]
struct Spent {
    paid: Paid,
    /// None where no price is known.
    dollars: Option<f64>,
    saved: [Saved; Saving::ALL.len()],
}

impl Receipt {
    /// Somebody was given the answer without another call.
    pub fn saved(&self, how: Saving) {
        self.0.saved[how as usize].add(self.0.paid.tokens, self.0.dollars);
    }

    /// What was paid for.
    pub fn paid(&self) -> &Paid {
        &self.0.paid
    }
}

/// Models without a price that have a label, whatever the prices are.
pub type Models = Arc<Mutex<HashSet<String>>>;

/// Counts what calls cost.
#[derive(Debug)]
pub struct Meter {
    prices: Prices,
    families: Families,
    models: Models,
}

impl Meter {
    /// Nothing spent.
    pub fn new(prices: Prices, providers: &[&str], models: Models, registry: &Registry) -> Self {
        Self { prices, families: Families::new(registry, providers), models }
    }

    /// A provider counted a call's tokens. `origin` is where the call came from, one of a closed set of labels.
    pub fn spent(&self, provider: &str, model: Option<&str>, origin: &str, tokens: Tokens) -> Receipt {
        let paid = Paid { provider: provider.to_owned(), model: model.map(str::to_owned), tokens };
        let (label, dollars) = self.label_and_dollars(&paid);
        self.families.spent(provider, &label, origin, tokens, dollars);
        self.receipt(paid)
    }

    /// The receipt of what another process paid for, which counts it.
    pub fn receipt(&self, paid: Paid) -> Receipt {
        let (label, dollars) = self.label_and_dollars(&paid);
        let how = |how: Saving| self.families.saved(&paid.provider, &label, how.as_str(), dollars.is_some());
        let saved = Saving::ALL.map(how);
        drop(label);
        Receipt(Arc::new(Spent { paid, dollars, saved }))
    }

    fn label_and_dollars<'a>(&self, paid: &'a Paid) -> (Cow<'a, str>, Option<f64>) {
        let model = paid.model.as_deref().filter(|model| !model.is_empty()).unwrap_or(UNNAMED);
        let price = self.prices.get(&format!("{}/{model}", paid.provider)).or_else(|| self.prices.get(model));
        let label = if price.is_some() { Cow::Borrowed(model) } else { self.label(model) };
        (label, price.map(|price| price.of(paid.tokens)))
    }

    /// The first piece of a stream came so long after its call.
    pub fn first_token(&self, provider: &str, after: Duration) {
        self.families.first_token(provider, after);
    }

    fn label<'a>(&self, model: &'a str) -> Cow<'a, str> {
        let mut models = self.models.lock();
        let has_room = models.len() < MOST_MODELS && model.len() <= LONGEST_MODEL;
        let is_known = models.contains(model) || (has_room && models.insert(model.to_owned()));
        Cow::Borrowed(if is_known { model } else { OTHER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: Tokens = Tokens { input: 1000, output: 200, cached_input: 600 };

    fn meter(prices: &[(&str, Price)]) -> (Meter, Registry) {
        let registry = Registry::new().unwrap();
        let prices = prices.iter().map(|(name, price)| ((*name).to_owned(), *price)).collect();
        (Meter::new(prices, &["p"], Models::default(), &registry), registry)
    }

    /// The value of a series.
    fn read(registry: &Registry, series: &str) -> Option<f64> {
        let text = registry.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    #[test]
    fn cached_input_has_its_own_price_and_the_provider_its_own_prices() {
        let price = Price { input: 2.0, output: 10.0, cached_input: 0.5 };
        let free = Price { input: 0.0, output: 0.0, cached_input: 0.0 };
        let (meter, registry) = meter(&[("m", price), ("local/m", free)]);
        meter.spent("p", Some("m"), "/a", TOKENS);
        meter.spent("local", Some("m"), "/a", TOKENS);
        let cost = |provider: &str| {
            read(&registry, &format!(r#"siding_cost_dollars_total{{model="m",provider="{provider}",route="/a"}}"#))
        };
        let expected = (400.0 * 2.0 + 600.0 * 0.5 + 200.0 * 10.0) / 1e6;
        assert!(cost("p").is_some_and(|cost| (cost - expected).abs() < 1e-12), "{:?}", cost("p"));
        assert_eq!(cost("local"), Some(0.0));
    }

    #[test]
    fn without_a_price_tokens_are_counted_and_money_is_not() {
        let (meter, registry) = meter(&[]);
        meter.spent("p", Some("m"), "egress", TOKENS).saved(Saving::Hit);
        for (kind, tokens) in [("input", 1000.0), ("output", 200.0), ("cached_input", 600.0)] {
            let spent = format!(r#"siding_tokens_total{{kind="{kind}",model="m",provider="p",route="egress"}}"#);
            assert_eq!(read(&registry, &spent), Some(tokens));
            let hit = format!(r#"siding_saved_tokens_total{{how="hit",kind="{kind}",model="m",provider="p"}}"#);
            assert_eq!(read(&registry, &hit), Some(tokens));
            let collapsed = hit.replace("hit", "collapsed");
            assert_eq!(read(&registry, &collapsed), Some(0.0));
        }
        assert!(!registry.render().unwrap().contains("dollars_total{"));
    }

    #[test]
    fn what_is_saved_is_counted_by_how_and_each_time() {
        let price = Price { input: 1000.0, output: 0.0, cached_input: 1000.0 };
        let (meter, registry) = meter(&[("m", price)]);
        let receipt = meter.spent("p", Some("m"), "none", TOKENS);
        receipt.saved(Saving::Collapsed);
        receipt.clone().saved(Saving::Collapsed);
        let saved = |how: &str| {
            read(&registry, &format!(r#"siding_saved_dollars_total{{how="{how}",model="m",provider="p"}}"#))
        };
        assert_eq!((saved("collapsed"), saved("hit")), (Some(2.0), Some(0.0)));
    }

    #[test]
    fn labels_do_not_grow_with_the_names_that_callers_invent() {
        let (meter, registry) = meter(&[]);
        for number in 0..MOST_MODELS + 10 {
            meter.spent("p", Some(&format!("m{number}")), "none", TOKENS);
        }
        meter.spent("p", Some(&"long".repeat(100)), "none", TOKENS);
        let of = |model: &str| {
            read(
                &registry,
                &format!(r#"siding_tokens_total{{kind="output",model="{model}",provider="p",route="none"}}"#),
            )
        };
        assert_eq!((of("m0"), of("m99"), of("m100"), of(OTHER)), (Some(200.0), Some(200.0), None, Some(2200.0)));
        meter.spent("p", None, "none", TOKENS);
        assert_eq!(of(UNNAMED), None, "there is no room for it either");
    }

    #[test]
    fn every_way_is_found_at_its_position() {
        for (position, how) in Saving::ALL.into_iter().enumerate() {
            assert_eq!(how as usize, position);
        }
    }
}
