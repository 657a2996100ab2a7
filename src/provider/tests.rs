use super::*;

/// A provider that is asked once, with nothing that could get in the way.
pub(super) fn config(name: &str, dialect: Dialect, base_url: &str) -> Config {
    let minute = Duration::from_secs(60);
    Config {
        name: name.to_owned(),
        dialect,
        base_url: base_url.parse().unwrap(),
        keys: Vec::new(),
        timeouts: Timeouts { connect: minute, first_byte: minute, idle: minute, total: minute },
        retry: Retry { attempts: 1, budget: 0.0 },
        breaker: None,
        concurrency: ConcurrencyConfig { min: 1, max: 1000 },
        hedge: None,
        fallback: Vec::new(),
        stream_options: true,
        ca_pem: None,
    }
}
