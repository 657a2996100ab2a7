//! What is shared, and for how long.

use http::HeaderName;

use super::Check;
use crate::cache::{Lifetimes, Rule, Scope};
use crate::config::file::{self, File};
use crate::config::units::Period;
use crate::{cache, calls, sharing};

impl Check<'_> {
    pub(super) fn cache(&mut self, file: &File) -> (calls::Config, sharing::Config) {
        let said = &file.cache;
        let lifetimes = self.lifetimes("cache", [said.ttl, said.stale_while_revalidate, said.stale_if_error]);
        let scope = match said.scope.as_str() {
            "app" => Scope::All,
            "user" => Scope::Credentials,
            "none" => Scope::Nobody,
            _ => {
                self.fault("cache.scope", "write \"app\", \"user\" or \"none\"; a view can name a scope of its own");
                Scope::Nobody
            }
        };
        if said.max_entry.0 > said.capacity.0 {
            self.fault("cache.max_entry", "must be at most cache.capacity, or the largest answer is never stored");
        }
        let calls = calls::Config {
            lifetimes,
            when: said.when,
            scope,
            ignore: said.ignore.clone(),
            key_headers: self.key_headers(&said.key_headers),
            max_result: file.handoff.max_result.0,
        };
        let capacity = u64::try_from(said.capacity.0).unwrap_or(u64::MAX);
        let store = cache::Config { capacity, max_entry: said.max_entry.0 };
        let remote = sharing::RemoteConfig { lease: file.redis.lease.0 };
        (calls, sharing::Config { store, max_followers: said.max_followers, remote })
    }

    pub(super) fn route_cache(&mut self, key: &str, origin: &str, said: &file::RouteCache) -> Rule {
        let lifetimes = self.lifetimes(key, [said.ttl, said.stale_while_revalidate, said.stale_if_error]);
        let scope = match said.scope {
            file::RouteScope::Credentials => Scope::Credentials,
            file::RouteScope::Public => Scope::All,
        };
        let tags = said.tags.clone();
        Rule { lifetimes, scope, tags, client_directives: said.client_directives, origin: origin.to_owned() }
    }

    fn lifetimes(&mut self, key: &str, [ttl, swr, sie]: [Period; 3]) -> Lifetimes {
        for (name, period) in [("ttl", ttl), ("stale_while_revalidate", swr), ("stale_if_error", sie)] {
            self.at_most(&format!("{key}.{name}"), period);
        }
        if ttl.0.is_zero() && !(swr.0.is_zero() && sie.0.is_zero()) {
            self.fault(
                &format!("{key}.ttl"),
                "must be longer than 0s where stale answers are allowed: nothing is stored",
            );
        }
        Lifetimes { ttl: ttl.0, stale_while_revalidate: swr.0, stale_if_error: sie.0 }
    }

    fn key_headers(&mut self, names: &[String]) -> Vec<HeaderName> {
        let mut read = Vec::new();
        for name in names {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => read.push(name),
                Err(_) => self.fault("cache.key_headers", format!("{name:?} is not a header's name")),
            }
        }
        read
    }
}
