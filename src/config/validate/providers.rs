//! LLM vendors.

use super::Check;
use crate::config::file::{self, File};
use crate::config::units::Parsed;
use crate::provider::{self, Dialect};
use crate::secret::Secret;

impl Check<'_> {
    pub(super) fn providers(&mut self, file: &File) -> Vec<provider::Config> {
        match &file.providers {
            None => public_providers(),
            Some(providers) => providers.iter().filter_map(|(name, provider)| self.provider(name, provider)).collect(),
        }
    }

    fn provider(&mut self, name: &str, file: &file::Provider) -> Option<provider::Config> {
        let key = |field: &str| format!("providers.{name}.{field}");
        self.required(&key("dialect"), file.dialect.is_some());
        self.required(&key("base_url"), file.base_url.is_some());
        let api_key = file.api_key_env.as_ref().and_then(|variable| {
            let secret = self.secret(variable);
            if secret.is_none() {
                let message = format!(
                    "the environment variable {variable} is not set: set it, or remove the key so \
                     that the app's own credentials are used"
                );
                self.fault(&key("api_key_env"), message);
            }
            secret
        });
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
        provider_config(name, file, api_key, ca_pem)
    }
}

fn provider_config(
    name: &str,
    file: &file::Provider,
    api_key: Option<Secret>,
    ca_pem: Option<Vec<u8>>,
) -> Option<provider::Config> {
    Some(provider::Config {
        name: name.to_owned(),
        dialect: file.dialect?,
        base_url: file.base_url.clone()?.0,
        api_key,
        timeouts: provider::Timeouts {
            connect: file.timeout.connect.0,
            first_byte: file.timeout.first_byte.0,
            idle: file.timeout.idle.0,
            total: file.timeout.total.0,
        },
        retry: provider::Retry { attempts: file.retry.attempts, budget: file.retry.budget },
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
        provider_config(name, &file, None, None)
    };
    public.into_iter().filter_map(config).collect()
}
