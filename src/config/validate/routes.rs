//! Rules for requests.

use http::Method;

use super::Check;
use crate::config::file::{self, File};
use crate::{admission, provider, route};

impl Check<'_> {
    pub(super) fn routes(&mut self, file: &File, providers: &[provider::Config]) -> Vec<route::Config> {
        let routes = file.routes.iter().enumerate();
        routes.filter_map(|(n, route)| self.route(&format!("routes[{n}]"), route, providers)).collect()
    }

    fn route(&mut self, key: &str, file: &file::Route, providers: &[provider::Config]) -> Option<route::Config> {
        let mut methods = Vec::new();
        for method in &file.methods {
            match Method::from_bytes(method.as_bytes()) {
                Ok(known) if method.chars().all(|c| c.is_ascii_uppercase() || c == '-') => methods.push(known),
                _ => self.fault(&format!("{key}.methods"), format!("{method:?} is not a method; write \"POST\", say")),
            }
        }
        if file.max_workers == Some(0) {
            self.fault(&format!("{key}.max_workers"), "must be at least 1, or no request of this route is ever served");
        }
        let class = match file.class {
            file::Class::Interactive => admission::Class::Interactive,
            file::Class::Batch => admission::Class::Batch,
        };
        self.required(&format!("{key}.path"), file.path.is_some());
        let path = file.path.clone()?.0;
        let cache = file.cache.as_ref().map(|said| self.route_cache(&format!("{key}.cache"), path.as_str(), said));
        if let (Some(_), Some(method)) = (&cache, methods.iter().find(|method| !route::may_share(method))) {
            self.fault(
                &format!("{key}.methods"),
                format!("answers to {method} are never shared; give it a route of its own"),
            );
        }
        let terminate = file.terminate.as_ref().and_then(|said| self.terminate(key, path.as_str(), said, providers));
        let background = self.route_background(&format!("{key}.background"), file.background.as_ref());
        let (handoff, max_workers) = (file.handoff, file.max_workers);
        Some(route::Config { path, methods, class, handoff, max_workers, cache, terminate, background })
    }
}
