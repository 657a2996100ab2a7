//! Distributed traces: which, and where their spans go. Where the file is silent, OpenTelemetry's own environment
//! variables count.

use http::HeaderMap;

use super::Check;
use crate::config::file::File;
use crate::trace::{self, BadEndpoint, Endpoint, Resource};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const DISABLED: &str = "OTEL_SDK_DISABLED";

/// What the exporter speaks.
const HTTP_PROTOBUF: &str = "http/protobuf";

impl Check<'_> {
    pub(super) fn tracing(&mut self, file: &File) -> trace::Config {
        let said = &file.tracing;
        if !(0.0..=1.0).contains(&said.sample) {
            self.fault("tracing.sample", "must be a share from 0.0 (none) to 1.0 (all)");
        }
        let endpoint = match &said.endpoint {
            Some(address) if address.is_empty() => None,
            Some(address) => {
                let headers = self.collector_headers(said.headers_env.as_deref());
                self.usable("tracing.endpoint", Endpoint::at(address, headers))
            }
            None => self.endpoint_of_the_environment(said.headers_env.as_deref()),
        };
        let name = said.service_name.as_deref().or_else(|| self.variable(SERVICE_NAME));
        let resource = Resource::new(name, self.variable(RESOURCE_ATTRIBUTES).unwrap_or_default());
        trace::Config { sample: said.sample, providers: said.providers, endpoint, resource }
    }

    fn endpoint_of_the_environment(&mut self, headers_env: Option<&str>) -> Option<Endpoint> {
        let protocol = self.variable(TRACES_PROTOCOL).or_else(|| self.variable(PROTOCOL));
        let is_spoken = protocol.is_none_or(|protocol| protocol == HTTP_PROTOBUF);
        let is_off = self.variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_off || !is_spoken {
            return None;
        }
        let exact = self.variable(TRACES_ENDPOINT).map(str::to_owned);
        let base = self.variable(ENDPOINT).map(str::to_owned);
        let (variable, read): (_, fn(&str, HeaderMap) -> _) = match (&exact, &base) {
            (Some(_), _) => (TRACES_ENDPOINT, Endpoint::exactly),
            (None, _) => (ENDPOINT, Endpoint::at),
        };
        let address = exact.or(base)?;
        let headers = self.collector_headers(headers_env);
        let found = read(&address, headers);
        self.usable_with("tracing.endpoint", found, |bad| format!("the environment variable {variable}: {bad}"))
    }

    fn collector_headers(&mut self, headers_env: Option<&str>) -> HeaderMap {
        let variable = headers_env.or_else(|| {
            let standard = [TRACES_HEADERS, HEADERS].into_iter();
            standard.into_iter().find(|name| self.variable(name).is_some())
        });
        let Some(variable) = variable else { return HeaderMap::new() };
        let Some(text) = self.variable(variable) else {
            let message = format!("the environment variable {variable} is not set: set it, or take this key out");
            self.fault("tracing.headers_env", message);
            return HeaderMap::new();
        };
        let read = trace::headers(text);
        let fault = |bad| format!("the environment variable {variable} {bad}");
        self.usable_with("tracing.headers_env", read, fault).unwrap_or_default()
    }

    fn usable<T>(&mut self, key: &str, read: Result<T, BadEndpoint>) -> Option<T> {
        self.usable_with(key, read, |bad| bad.to_string())
    }

    fn usable_with<T>(
        &mut self,
        key: &str,
        read: Result<T, BadEndpoint>,
        message: impl FnOnce(BadEndpoint) -> String,
    ) -> Option<T> {
        read.map_err(|bad| self.fault(key, message(bad))).ok()
    }

    /// An environment variable, if it says anything.
    fn variable(&self, name: &str) -> Option<&str> {
        self.source.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}
