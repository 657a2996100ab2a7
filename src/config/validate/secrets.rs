//! The shared secret of the hand-off, and secrets from the environment in general.

use super::Check;
use crate::config::file::File;
use crate::handoff::Keys;
use crate::secret::Secret;

impl Check<'_> {
    pub(super) fn keys(&mut self, file: &File) -> Option<Keys> {
        let handoff = &file.handoff;
        if !handoff.enabled || self.source.no_handoff {
            return None;
        }
        let Some(current) = self.secret(&handoff.secret_env) else {
            let name = &handoff.secret_env;
            let remedy = format!(
                "the environment variable {name} is not set: set it here and for Django to the same value \
                 (openssl rand -hex 32), or set handoff.enabled = false"
            );
            self.fault("handoff.secret_env", remedy);
            return None;
        };
        let previous = handoff.previous_secret_env.as_ref().and_then(|name| self.secret(name));
        match Keys::new(current, previous) {
            Ok(keys) => Some(keys),
            Err(error) => {
                self.fault("handoff.secret_env", error.to_string());
                None
            }
        }
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        let value = self.source.environment.get(name)?.trim();
        (!value.is_empty()).then(|| Secret::new(value))
    }
}
