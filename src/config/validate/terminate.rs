//! Routes that a provider answers.

use http::uri::PathAndQuery;

use super::Check;
use crate::config::file;
use crate::{provider, route};

/// Keys of a route that mean nothing where the app does not answer.
const OTHER_WAYS: [&str; 3] = ["handoff", "cache", "background"];
/// What is special in a path pattern.
const WILDCARDS: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

impl Check<'_> {
    pub(super) fn terminate(
        &mut self,
        route: &str,
        path: &str,
        said: &file::Terminate,
        providers: &[provider::Config],
    ) -> Option<route::Termination> {
        let key = |field: &str| format!("{route}.terminate.{field}");
        for other in OTHER_WAYS.map(|other| format!("{route}.{other}")) {
            if self.lines.contains_key(&other) {
                self.fault(&other, "take this out: a provider answers this route (terminate), not the app");
            }
        }
        self.required(&key("provider"), said.provider.is_some());
        if let Some(unknown) = said.provider.as_ref().filter(|name| providers.iter().all(|known| known.name != **name))
        {
            let known = providers.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
            self.fault(&key("provider"), format!("there is no provider {unknown:?}; known are {known}"));
        }
        match &said.authorize {
            None if !said.public => self.fault(
                &key("authorize"),
                "name the app's path that says who may call, such as \"/internal/llm-auth/\", or write public = true: \
                 whoever reaches this route then spends the provider's key",
            ),
            Some(_) if said.public => {
                self.fault(&key("public"), "a public route asks nobody: take out public or authorize");
            }
            Some(path) if !is_path(path) => {
                self.fault(
                    &key("authorize"),
                    format!("{path:?} is not a path of the app; write \"/internal/llm-auth/\", say"),
                );
            }
            _ => {}
        }
        if !is_beginning(&said.strip, path) {
            let message =
                "must be the beginning of the route's path up to a /, without wildcards: \"/llm\" of \"/llm/**\"";
            self.fault(&key("strip"), message);
        }
        let (provider, authorize, strip) = (said.provider.clone()?, said.authorize.clone(), said.strip.clone());
        Some(route::Termination { provider, authorize, strip })
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<PathAndQuery>().is_ok_and(|path| path.as_str() == text)
}

fn is_beginning(strip: &str, path: &str) -> bool {
    strip.is_empty()
        || !strip.contains(WILDCARDS)
            && !strip.ends_with('/')
            && path.strip_prefix(strip).is_some_and(|rest| rest.starts_with('/'))
}
