//! What a running process cannot change: sockets and threads are bound, memory is laid out.

use crate::config::Config;
use crate::trace::{Endpoint, Resource};

/// The keys in which `wanted` differs from what runs since the start, and which only a restart can change.
pub(super) fn needed(started: &Config, wanted: &Config) -> Vec<&'static str> {
    let (old, new) = (&started.server, &wanted.server);
    let (old_log, new_log) = (&started.log, &wanted.log);
    let (old_store, new_store) = (&started.sharing.store, &wanted.sharing.store);
    let differs = [
        ("server.listen", old.listen != new.listen),
        ("server.h2c", old.h2c != new.h2c),
        ("server.admin", old.admin != new.admin),
        ("server.egress", old.egress != new.egress),
        ("server.tls", old.tls.is_some() != new.tls.is_some()),
        ("server.threads", old.threads != new.threads),
        ("server.drain", old.drain != new.drain),
        ("server.linger", old.linger != new.linger),
        ("server.propagation", old.propagation != new.propagation),
        ("server.buffered", started.buffered != wanted.buffered),
        ("server.watch", old.watch != new.watch),
        ("log", old_log.format != new_log.format || old_log.filter != new_log.filter),
        ("tracing.endpoint", collector(started) != collector(wanted)),
        ("cache.capacity", old_store.capacity != new_store.capacity),
        ("cache.max_entry", old_store.max_entry != new_store.max_entry),
        ("cache.max_followers", started.sharing.max_followers != wanted.sharing.max_followers),
        ("redis", started.redis != wanted.redis || started.sharing.remote != wanted.sharing.remote),
        ("background", started.background != wanted.background),
        ("routes.background.webhook", reaches_over_tls(wanted) && !reaches_over_tls(started)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Where spans go, and what they say of this process.
fn collector(config: &Config) -> (Option<&Endpoint>, &Resource) {
    (config.tracing.endpoint.as_ref(), &config.tracing.resource)
}

/// Whether a receiver of webhooks is reached over TLS: whom to trust is read once.
fn reaches_over_tls(config: &Config) -> bool {
    let rules = config.routes.iter().filter_map(|route| route.background.as_ref());
    rules.filter_map(|rule| rule.webhook.as_ref()).any(|endpoint| endpoint.is_tls())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    fn config(text: &str) -> Config {
        let environment = std::collections::BTreeMap::new();
        load(&Source { origin: "test", text, backend: None, no_handoff: true, environment: &environment }).unwrap()
    }

    #[test]
    fn what_is_bound_needs_a_restart_and_what_is_only_followed_does_not() {
        let started = config("");
        let same = "[backend]\nworkers = 3\n[[routes]]\npath = \"/a\"\nmax_workers = 1\n[cache]\nttl = \"1m\"\n[tracing]\nsample = 1.0\n";
        assert!(needed(&started, &config(same)).is_empty());
        let spans = config("[tracing]\nendpoint = \"http://127.0.0.1:4318\"\n");
        assert_eq!(needed(&started, &spans), ["tracing.endpoint"]);
        let other = "[server]\nlisten = [\"127.0.0.1:1\"]\nthreads = 7\n[cache]\ncapacity = \"8MiB\"\n";
        assert_eq!(needed(&started, &config(other)), ["server.listen", "server.threads", "cache.capacity"]);
    }
}
