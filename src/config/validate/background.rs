//! Jobs: bounds, whose they are, and who is told of their ends.

use super::Check;
use crate::background::{self, BadEndpoint, Endpoint, Ownership, Rule};
use crate::config::file::{self, File, JobOwner, RouteBackground};

impl Check<'_> {
    pub(super) fn background(&mut self, file: &File) -> background::Config {
        let said = &file.background;
        if !is_prefix(&said.path) {
            self.fault("background.path", "write an absolute path of letters, digits and -._~/, such as /.siding/jobs");
        }
        self.period("background.retention", said.retention);
        self.at_most("background.max_wait", said.max_wait);
        for (key, value) in [("background.max_result", said.max_result.0), ("background.max_jobs", said.max_jobs)] {
            if value == 0 {
                self.fault(key, "must be at least 1");
            }
        }
        if said.max_result.0 > said.capacity.0 {
            self.fault(
                "background.max_result",
                "must be at most background.capacity, or the largest answer is never kept",
            );
        }
        background::Config {
            path: said.path.clone(),
            retention: said.retention.0,
            capacity: said.capacity.0,
            max_result: said.max_result.0,
            max_jobs: said.max_jobs,
            max_wait: said.max_wait.0,
            ownership: Ownership { by_credentials: said.owner == JobOwner::Credentials, cookies: said.cookies.clone() },
        }
    }

    pub(super) fn route_background(&mut self, key: &str, said: Option<&RouteBackground>) -> Option<Rule> {
        match said {
            None | Some(RouteBackground::Off) => None,
            Some(RouteBackground::On(jobs)) => Some(Rule { webhook: self.webhook(key, jobs) }),
        }
    }

    fn webhook(&mut self, key: &str, said: &file::RouteJobs) -> Option<Endpoint> {
        let (url_key, secret_key) = (format!("{key}.webhook"), format!("{key}.webhook_secret_env"));
        let (url, variable) = match (&said.webhook, &said.webhook_secret_env) {
            (None, None) => return None,
            (Some(url), Some(variable)) => (url, variable),
            (Some(_), None) => {
                self.fault(&secret_key, "add this key: the environment variable with the secret to sign with");
                return None;
            }
            (None, Some(_)) => {
                self.fault(&url_key, "add this key, or there is nobody to tell");
                return None;
            }
        };
        let Some(secret) = self.secret(variable) else {
            let remedy = "set it to whsec_ and a key in base64, such as: echo whsec_$(openssl rand -base64 32)";
            self.fault(&secret_key, format!("the environment variable {variable} is not set: {remedy}"));
            return None;
        };
        match Endpoint::new(url, &secret) {
            Ok(endpoint) => return Some(endpoint),
            Err(error @ BadEndpoint::Url) => self.fault(&url_key, error.to_string()),
            Err(error @ BadEndpoint::Secret) => self.fault(&secret_key, error.to_string()),
        }
        None
    }
}

/// Whether clients send it as it is written here.
fn is_prefix(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.len() > 1
        && path.starts_with('/')
        && path.bytes().all(is_plain)
        && path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."))
}
