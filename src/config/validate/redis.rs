//! The store that processes share: where it is, and who may use it.

use super::Check;
use crate::config::file::File;
use crate::redis;
use crate::time::Duration;

/// A name has to leave room for what follows it.
const LONGEST_PREFIX: usize = 64;
/// A leader renews its lease three times in its time, and each may take a time-out.
const TIMEOUTS_IN_A_LEASE: u32 = 6;

impl Check<'_> {
    pub(super) fn redis(&mut self, file: &File) -> Option<redis::Config> {
        let said = &file.redis;
        for (key, period) in [
            ("redis.timeout", said.timeout),
            ("redis.connect_timeout", said.connect_timeout),
            ("redis.lease", said.lease),
        ] {
            self.period(key, period);
        }
        let url = said.url.as_deref().filter(|url| !url.is_empty())?;
        if said.lease.0 < said.timeout.0.saturating_mul(TIMEOUTS_IN_A_LEASE) {
            self.fault(
                "redis.lease",
                "must be at least 6 times redis.timeout, or a slow answer costs a leader its lease",
            );
        }
        if said.timeout.0 > Duration::from_secs(1) {
            self.fault("redis.timeout", "must be at most 1s: a request waits as long before it goes without Redis");
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if said.prefix.is_empty() || said.prefix.len() > LONGEST_PREFIX || !said.prefix.chars().all(is_name) {
            self.fault("redis.prefix", "must be 1 to 64 of a-z, A-Z, 0-9, '-', '_', '.' and ':'");
        }
        let password = said.password_env.as_ref().and_then(|name| {
            let secret = self.secret(name);
            if secret.is_none() {
                let message = format!("the environment variable {name} is not set: set it, or take this key out");
                self.fault("redis.password_env", message);
            }
            secret
        });
        let ca_pem = said.ca_file.as_ref().and_then(|path| match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.fault("redis.ca_file", format!("cannot read {path}: {error}"));
                None
            }
        });
        match url.parse() {
            Ok(servers) => Some(redis::Config {
                servers,
                password,
                ca_pem,
                prefix: said.prefix.clone(),
                timeout: said.timeout.0,
                connect_timeout: said.connect_timeout.0,
            }),
            Err(bad) => {
                self.fault("redis.url", bad.to_string());
                None
            }
        }
    }
}
