//! LLM vendors.

use std::collections::BTreeMap;

use super::Check;
use crate::config::file::{self, File};
use crate::config::units::{Parsed, Switch};
use crate::provider::{self, Dialect, Fallback, Key};

/// More requests at once than any one process makes.
const MOST_CONCURRENCY: usize = 1_000_000;
/// Each link of a chain is tried for a call in the worst case.
const MOST_FALLBACKS: usize = 8;

impl Check<'_> {
    pub(super) fn providers(&mut self, file: &File) -> Vec<provider::Config> {
        match &file.providers {
            None => public_providers(),
            Some(providers) => {
                let checked = |(name, provider): (&String, &file::Provider)| self.provider(name, provider);
                let checked: Vec<provider::Config> = providers.iter().filter_map(checked).collect();
                for (name, provider) in providers {
                    self.fallbacks(name, provider, providers);
                }
                checked
            }
        }
    }

    fn provider(&mut self, name: &str, file: &file::Provider) -> Option<provider::Config> {
        let key = |field: &str| format!("providers.{name}.{field}");
        self.required(&key("dialect"), file.dialect.is_some());
        self.required(&key("base_url"), file.base_url.is_some());
        let keys = self.api_keys(name, file);
        let ca_pem = file.ca_file.as_ref().and_then(|path| match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.fault(&key("ca_file"), format!("cannot read {path}: {error}"));
                None
            }
        });
        for (field, period) in [
            ("timeout.connect", file.timeout.connect),
            ("timeout.first_byte", file.timeout.first_byte),
            ("timeout.idle", file.timeout.idle),
            ("timeout.total", file.timeout.total),
        ] {
            self.period(&key(field), period);
        }
        if file.retry.attempts == 0 {
            self.fault(&key("retry.attempts"), "must be at least 1: tries in all, the first included");
        }
        if !(0.0..=1.0).contains(&file.retry.budget) {
            self.fault(&key("retry.budget"), "must be between 0 and 1: retries per call, on average");
        }
        self.resilience(name, file);
        provider_config(name, file, keys, ca_pem)
    }

    /// The keys of a provider, `api_key_env` first.
    fn api_keys(&mut self, name: &str, file: &file::Provider) -> Vec<Key> {
        let one = file.api_key_env.iter().map(|variable| ("api_key_env".to_owned(), variable));
        let many = file.api_keys_env.iter().enumerate().map(|(n, variable)| (format!("api_keys_env[{n}]"), variable));
        let mut keys: Vec<Key> = Vec::new();
        for (field, variable) in one.chain(many) {
            let field = format!("providers.{name}.{field}");
            match self.secret(variable) {
                _ if keys.iter().any(|key| key.variable == *variable) => {
                    self.fault(&field, format!("{variable} is named twice; name each variable once"));
                }
                Some(secret) => keys.push(Key { variable: variable.clone(), secret }),
                None => {
                    let message = format!(
                        "the environment variable {variable} is not set: set it, or remove the key so \
                         that the app's own credentials are used"
                    );
                    self.fault(&field, message);
                }
            }
        }
        keys
    }

    /// What is done about a provider in trouble.
    fn resilience(&mut self, name: &str, file: &file::Provider) {
        let key = |field: &str| format!("providers.{name}.{field}");
        if let Switch(Some(breaker)) = &file.breaker {
            if !(breaker.failures > 0.0 && breaker.failures <= 1.0) {
                let remedy = "must be above 0 and at most 1: the share of calls that fail; breaker = false for none";
                self.fault(&key("breaker.failures"), remedy);
            }
            for (field, value) in [("breaker.minimum", breaker.minimum), ("breaker.probes", breaker.probes)] {
                if value == 0 {
                    self.fault(&key(field), "must be at least 1");
                }
            }
            self.period(&key("breaker.window"), breaker.window);
            self.period(&key("breaker.cooldown"), breaker.cooldown);
        }
        let (max, min) = (file.concurrency.max, file.concurrency.least());
        if min == 0 {
            self.fault(&key("concurrency.min"), "must be at least 1, or nothing would ever be asked again");
        }
        if max < min || max > MOST_CONCURRENCY {
            let bounds = format!("must be at least concurrency.min, {min}, and at most {MOST_CONCURRENCY}");
            self.fault(&key("concurrency.max"), bounds);
        }
        if let Some(hedge) = &file.hedge {
            self.period(&key("hedge.after"), hedge.after);
            if !(hedge.budget > 0.0 && hedge.budget <= 1.0) {
                let remedy = "must be above 0 and at most 1: second requests per call, on average";
                self.fault(&key("hedge.budget"), remedy);
            }
        }
    }

    /// Whether each fallback can answer in the provider's place.
    fn fallbacks(&mut self, name: &str, file: &file::Provider, all: &BTreeMap<String, file::Provider>) {
        if file.fallback.len() > MOST_FALLBACKS {
            self.fault(&format!("providers.{name}.fallback"), format!("name at most {MOST_FALLBACKS}"));
        }
        for (n, text) in file.fallback.iter().enumerate() {
            let Fallback { provider, model } = fallback(name, text);
            let key = format!("providers.{name}.fallback[{n}]");
            let Some(other) = all.get(&provider) else {
                let remedy = "name a configured provider, \"provider:model\", or \":model\" for another of its own";
                self.fault(&key, format!("there is no provider {provider}; {remedy}"));
                continue;
            };
            if provider == name && model.is_none() {
                self.fault(&key, "a provider is no fallback of itself; name another, or \":model\"");
            }
            if model.is_some_and(|model| !is_model(&model, other.dialect)) {
                self.fault(&key, "write the name of a model after the colon, as the provider spells it");
            }
            if other.dialect.is_some() && file.dialect.is_some() && other.dialect != file.dialect {
                self.fault(&key, format!("{provider} has another dialect; requests are not translated"));
            }
            if file.stream_options && !other.stream_options {
                let remedy = format!("set providers.{name}.stream_options = false too");
                self.fault(&key, format!("{provider} refuses stream_options, with which it would be asked; {remedy}"));
            }
        }
    }
}

/// `provider`, `provider:model`, or `:model` for another model of the provider itself.
fn fallback(own: &str, text: &str) -> Fallback {
    let (provider, model) = text.split_once(':').map_or((text, None), |(provider, model)| (provider, Some(model)));
    let provider = if provider.is_empty() { own } else { provider };
    Fallback { provider: provider.to_owned(), model: model.map(str::to_owned) }
}

/// Whether this can stand where the dialect has its model.
fn is_model(name: &str, dialect: Option<Dialect>) -> bool {
    let is_in_path = dialect == Some(Dialect::Gemini);
    !name.is_empty() && !name.chars().any(|letter| letter.is_control() || (is_in_path && "/:?#%".contains(letter)))
}

fn provider_config(
    name: &str,
    file: &file::Provider,
    keys: Vec<Key>,
    ca_pem: Option<Vec<u8>>,
) -> Option<provider::Config> {
    let breaker = file.breaker.0.as_ref().map(|breaker| provider::BreakerConfig {
        failures: breaker.failures,
        minimum: breaker.minimum,
        window: breaker.window.0,
        cooldown: breaker.cooldown.0,
        probes: breaker.probes,
    });
    let hedge = |hedge: &file::Hedge| provider::HedgeConfig { after: hedge.after.0, budget: hedge.budget };
    Some(provider::Config {
        name: name.to_owned(),
        dialect: file.dialect?,
        base_url: file.base_url.clone()?.0,
        keys,
        timeouts: provider::Timeouts {
            connect: file.timeout.connect.0,
            first_byte: file.timeout.first_byte.0,
            idle: file.timeout.idle.0,
            total: file.timeout.total.0,
        },
        retry: provider::Retry { attempts: file.retry.attempts, budget: file.retry.budget },
        breaker,
        concurrency: provider::ConcurrencyConfig { min: file.concurrency.least(), max: file.concurrency.max },
        hedge: file.hedge.as_ref().map(hedge),
        fallback: file.fallback.iter().map(|text| fallback(name, text)).collect(),
        ca_pem,
        stream_options: file.stream_options,
    })
}

/// What a file without `[providers]` gets: the public endpoints, with the app's own credentials.
fn public_providers() -> Vec<provider::Config> {
    let public = [
        ("anthropic", Dialect::Anthropic, "https://api.anthropic.com"),
        ("gemini", Dialect::Gemini, "https://generativelanguage.googleapis.com"),
        ("openai", Dialect::Openai, "https://api.openai.com"),
    ];
    let config = |(name, dialect, base_url): (&str, Dialect, &str)| {
        let base_url = base_url.parse().ok().map(Parsed);
        let file = file::Provider { dialect: Some(dialect), base_url, ..file::Provider::default() };
        provider_config(name, &file, Vec::new(), None)
    };
    public.into_iter().filter_map(config).collect()
}
