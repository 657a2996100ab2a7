//! Families about tokens and money.

use prometheus::{Counter, CounterVec, HistogramVec, IntCounter, IntCounterVec};

use crate::answer::Tokens;
use crate::telemetry::Registry;
use crate::telemetry::registry::CALL_SECONDS;
use crate::time::Duration;

/// What the tokens of a call are counted as, in the order of [`counts`].
const KINDS: [&str; 3] = ["input", "output", "cached_input"];

#[derive(Debug)]
pub(super) struct Families {
    tokens: IntCounterVec,
    cost: CounterVec,
    saved_tokens: IntCounterVec,
    saved_cost: CounterVec,
    first_token: HistogramVec,
}

/// The series of what one model's answers save in one way.
#[derive(Debug)]
pub(super) struct Saved {
    tokens: [IntCounter; KINDS.len()],
    dollars: Option<Counter>,
}

impl Families {
    pub(super) fn new(registry: &Registry, providers: &[&str]) -> Self {
        let first_token = registry.histogram_vec(
            "call_first_token_seconds",
            "Time from a call to the first piece of its stream, retries and pauses included.",
            &["provider"],
            CALL_SECONDS,
        );
        for provider in providers {
            first_token.with_label_values(&[*provider]);
        }
        Self {
            tokens: registry.counter_vec(
                "tokens_total",
                "Tokens as providers counted them; cached_input is a part of input.",
                &["provider", "model", "route", "kind"],
            ),
            cost: registry.float_counter_vec(
                "cost_dollars_total",
                "What calls cost by the configured prices.",
                &["provider", "model", "route"],
            ),
            saved_tokens: registry.counter_vec(
                "saved_tokens_total",
                "Tokens of answers that were given again without another call; cached_input is a part of input.",
                &["provider", "model", "how", "kind"],
            ),
            saved_cost: registry.float_counter_vec(
                "saved_dollars_total",
                "What answers that were given again would have cost by the configured prices.",
                &["provider", "model", "how"],
            ),
            first_token,
        }
    }

    pub(super) fn spent(&self, provider: &str, model: &str, route: &str, tokens: Tokens, dollars: Option<f64>) {
        for (kind, count) in KINDS.into_iter().zip(counts(tokens)) {
            self.tokens.with_label_values(&[provider, model, route, kind]).inc_by(count);
        }
        if let Some(dollars) = dollars {
            self.cost.with_label_values(&[provider, model, route]).inc_by(dollars);
        }
    }

    /// The series of one way to save, which show zero from now on.
    pub(super) fn saved(&self, provider: &str, model: &str, how: &str, is_priced: bool) -> Saved {
        Saved {
            tokens: KINDS.map(|kind| self.saved_tokens.with_label_values(&[provider, model, how, kind])),
            dollars: is_priced.then(|| self.saved_cost.with_label_values(&[provider, model, how])),
        }
    }

    pub(super) fn first_token(&self, provider: &str, after: Duration) {
        self.first_token.with_label_values(&[provider]).observe(after.as_secs_f64());
    }
}

impl Saved {
    pub(super) fn add(&self, tokens: Tokens, dollars: Option<f64>) {
        for (series, count) in self.tokens.iter().zip(counts(tokens)) {
            series.inc_by(count);
        }
        if let (Some(series), Some(dollars)) = (&self.dollars, dollars) {
            series.inc_by(dollars);
        }
    }
}

/// The most tokens that one answer is believed to have: a provider that errs must not spoil the sum for good.
const MOST_TOKENS: u64 = 1 << 32;

fn counts(tokens: Tokens) -> [u64; KINDS.len()] {
    [tokens.input, tokens.output, tokens.cached_input].map(|count| count.min(MOST_TOKENS))
}
