//! A configuration: `siding::config::load`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::Method;
use siding::config::{Config, Faults, Source, load};
use siding::handoff::Offer;
use siding::route::{Table, bulkheads};

const SECRET: &str = "a-secret-of-more-than-16-bytes";
const WEBHOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Keys whose values are files, which are read wherever they are.
const FILES: [&str; 3] = ["ca_file", "cert", "tls"];

static ENVIRONMENT: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let variables = [("SIDING_SECRET", SECRET), ("KEY", SECRET), ("HOOK", WEBHOOK)];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
});

/// A file. What is accepted can be run with; what is not has faults with lines that are there, none of which shows a
/// secret; and a comment changes nothing.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if FILES.iter().any(|key| text.contains(key)) {
        return;
    }
    match read(text) {
        Ok(config) => usable(&config, text),
        Err(faults) => told(&faults, text),
    }
}

fn read(text: &str) -> Result<Config, Faults> {
    load(&Source { origin: "file", text, backend: None, no_handoff: false, environment: &ENVIRONMENT })
}

fn usable(config: &Config, text: &str) {
    let shown = format!("{config:?}");
    assert!(!shown.contains(SECRET) || text.contains(SECRET), "{shown}");
    let again = read(&format!("{text}\n# a comment")).expect("a comment is no fault");
    assert_eq!(shown, format!("{again:?}"));
    let places: Vec<_> = bulkheads(&config.routes).iter().map(|_| siding::admission::Bulkhead(0)).collect();
    let table = Table::new(config.routes.clone(), &places);
    let _ = table.find(&Method::GET, "/api/chat/");
    let origins: Vec<String> = config.providers.iter().map(|provider| provider.base_url.origin()).collect();
    if let Some(keys) = &config.keys {
        let limits = config.exchange.limits;
        let _ = Offer::new(keys.clone(), &origins, limits.max_calls, limits.max_call_bytes);
    }
    let terminated = config.routes.iter().filter_map(|route| route.terminate.as_ref());
    for termination in terminated {
        assert!(config.providers.iter().any(|provider| provider.name == termination.provider));
    }
}

fn told(faults: &Faults, text: &str) {
    assert!(!faults.faults.is_empty(), "refused for no reason");
    let lines = text.matches('\n').count() + 1;
    let mut before = 0;
    for fault in &faults.faults {
        let line = fault.line.unwrap_or(usize::MAX);
        assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault:?}");
        assert!(line >= before, "out of order: {fault:?}");
        assert!(!fault.message.is_empty());
        before = line;
    }
    let shown = faults.to_string();
    assert!(!shown.contains(SECRET) || text.contains(SECRET), "{shown}");
}
