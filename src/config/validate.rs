//! From what a file says to what the program runs with. Checks what a type cannot: ranges, combinations, files
//! and the environment. Every fault is collected.

use std::num::NonZeroUsize;

use http::Method;

use super::fault::Fault;
use super::file::{self, File};
use super::source::{Lines, Source};
use super::units::{Parsed, Period};
use super::{Config, Log, Server};
use crate::backend::Address;
use crate::handoff::{Keys, Limits};
use crate::provider::{self, Dialect};
use crate::secret::Secret;
use crate::time::Duration;
use crate::{admission, backend, exchange, proxy, route};

/// The longest period that means anything here; sums with the clock stay far from its end.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// More threads than any machine has cores for.
const MOST_THREADS: usize = 1024;
/// More requests at once than any one app serves.
const MOST_WORKERS: usize = 100_000;

struct Check<'a> {
    source: &'a Source<'a>,
    lines: &'a Lines,
    faults: &'a mut Vec<Fault>,
}

/// Checks everything. `None` where nothing usable is left.
pub(super) fn validate(file: &File, source: &Source<'_>, lines: &Lines, faults: &mut Vec<Fault>) -> Option<Config> {
    let mut check = Check { source, lines, faults };
    check.bounds(file);
    let address = check.backend_address(file);
    let keys = check.keys(file);
    let providers = check.providers(file);
    let routes = check.routes(file);
    let server = check.server(file);
    let workers = file.backend.workers.saturating_mul(file.backend.threads);
    Some(Config {
        server,
        log: Log { format: file.log.format, filter: file.log.filter.clone() },
        proxy: proxy_config(file, &address),
        backend: backend::Config {
            address,
            timeout: file.backend.timeout.0,
            connect_timeout: file.backend.connect_timeout.0,
            keepalive: file.backend.keepalive.0,
            response_buffer: file.backend.response_buffer.0,
        },
        admission: admission::Config {
            workers,
            capacity: file.backend.queue.capacity,
            resume_capacity: file.backend.queue.resume_capacity,
        },
        exchange: exchange_config(file),
        buffered: file.server.buffered.0,
        keys,
        providers,
        routes,
    })
}

fn proxy_config(file: &File, address: &Address) -> proxy::Config {
    proxy::Config {
        max_body: file.server.max_body.0,
        body_timeout: file.server.body_timeout.0,
        keepalive: file.server.keepalive.0,
        write_timeout: file.server.write_timeout.0,
        backend: address.clone(),
        connect_timeout: file.backend.connect_timeout.0,
        queue_timeout: file.backend.queue.timeout.0,
        backend_timeout: file.backend.timeout.0,
        backend_keepalive: file.backend.keepalive.0,
    }
}

fn exchange_config(file: &File) -> exchange::Config {
    let handoff = &file.handoff;
    exchange::Config {
        deadline: handoff.deadline.0,
        queue_timeout: file.backend.queue.timeout.0,
        pass_timeout: file.backend.timeout.0,
        limits: Limits {
            max_calls: handoff.max_calls,
            max_call_bytes: handoff.max_call_bytes.0,
            max_journal: handoff.max_journal.0,
            max_result: handoff.max_result.0,
            max_passes: handoff.max_passes,
        },
    }
}

impl Check<'_> {
    fn fault(&mut self, key: &str, message: impl Into<String>) {
        // A key that is not in the file has the line of its section, if that is.
        let ends = key.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(end, _)| end).chain([key.len()]);
        let line = ends.rev().find_map(|end| self.lines.get(&key[..end]).copied());
        self.faults.push(Fault { line, key: key.to_owned(), message: message.into() });
    }

    fn period(&mut self, key: &str, period: Period) {
        if period.0.is_zero() {
            self.fault(key, "must be longer than 0s");
        }
        self.at_most(key, period);
    }

    fn at_most(&mut self, key: &str, period: Period) {
        if period.0 > LONGEST {
            self.fault(key, "must be at most 7days");
        }
    }

    /// A key without a default. One that could not be read has been reported already.
    fn required(&mut self, key: &str, is_there: bool) {
        if !is_there && !self.faults.iter().any(|fault| fault.key == key) {
            self.fault(key, "add this key, it has no default");
        }
    }

    fn bounds(&mut self, file: &File) {
        let least_one = [
            ("backend.workers", file.backend.workers),
            ("backend.threads", file.backend.threads),
            ("backend.queue.capacity", file.backend.queue.capacity),
            ("backend.queue.resume_capacity", file.backend.queue.resume_capacity),
            ("backend.response_buffer", file.backend.response_buffer.0),
            ("handoff.max_calls", file.handoff.max_calls),
            ("handoff.max_call_bytes", file.handoff.max_call_bytes.0),
            ("handoff.max_result", file.handoff.max_result.0),
            ("handoff.max_journal", file.handoff.max_journal.0),
        ];
        for (key, value) in least_one {
            if value == 0 {
                self.fault(key, "must be at least 1");
            }
        }
        if file.handoff.max_passes < 2 {
            self.fault("handoff.max_passes", "must be at least 2: one pass to ask, one to answer");
        }
        let may_be_zero = [
            ("server.drain", file.server.drain),
            ("server.keepalive", file.server.keepalive),
            ("backend.keepalive", file.backend.keepalive),
        ];
        for (key, period) in may_be_zero {
            self.at_most(key, period);
        }
        for (key, period) in [
            ("backend.timeout", file.backend.timeout),
            ("backend.connect_timeout", file.backend.connect_timeout),
            ("backend.queue.timeout", file.backend.queue.timeout),
            ("server.body_timeout", file.server.body_timeout),
            ("server.write_timeout", file.server.write_timeout),
            ("handoff.deadline", file.handoff.deadline),
        ] {
            self.period(key, period);
        }
        self.combinations(file);
    }

    fn combinations(&mut self, file: &File) {
        if file.server.threads > MOST_THREADS {
            self.fault("server.threads", format!("must be at most {MOST_THREADS}"));
        }
        if file.backend.workers.saturating_mul(file.backend.threads) > MOST_WORKERS {
            self.fault("backend.workers", format!("workers x threads must be at most {MOST_WORKERS}"));
        }
        if file.handoff.deadline.0 <= file.backend.timeout.0 {
            self.fault("handoff.deadline", "must be longer than backend.timeout, or no exchange can have two passes");
        }
        if file.server.buffered.0 < file.server.max_body.0 {
            self.fault("server.buffered", "must be at least server.max_body, or the largest body never fits");
        }
        if file.handoff.max_journal.0 < file.handoff.max_result.0 {
            self.fault("handoff.max_journal", "must be at least handoff.max_result, or the largest result never fits");
        }
    }

    fn backend_address(&mut self, file: &File) -> Address {
        match self.source.backend.map(str::parse::<Address>) {
            None => file.backend.address.0.clone(),
            Some(Ok(address)) => address,
            Some(Err(error)) => {
                self.faults.push(Fault { line: None, key: "--backend".into(), message: error.to_string() });
                file.backend.address.0.clone()
            }
        }
    }

    fn server(&mut self, file: &File) -> Server {
        let server = &file.server;
        if server.listen.is_empty() && server.h2c.is_none() {
            self.fault("server.listen", "name at least one address, such as [\"0.0.0.0:8080\"]");
        }
        let named: Vec<(String, &Parsed<Address>)> = server
            .listen
            .iter()
            .enumerate()
            .map(|(n, address)| (format!("server.listen[{n}]"), address))
            .chain(server.h2c.iter().map(|address| ("server.h2c".to_owned(), address)))
            .chain(server.admin.iter().map(|address| ("server.admin".to_owned(), address)))
            .collect();
        for (n, (key, address)) in named.iter().enumerate() {
            self.listenable(key, &address.0);
            if let Some((other, _)) = named[..n].iter().find(|(_, earlier)| *earlier == *address) {
                self.fault(key, format!("{} is used by {other} already", address.0));
            }
        }
        let tls = server.tls.as_ref().map(|tls| self.tls(tls));
        let threads = NonZeroUsize::new(server.threads).or_else(|| std::thread::available_parallelism().ok());
        Server {
            listen: server.listen.iter().map(|address| address.0.clone()).collect(),
            h2c: server.h2c.as_ref().map(|address| address.0.clone()),
            tls,
            admin: server.admin.as_ref().map(|address| address.0.clone()),
            threads: threads.map_or(1, NonZeroUsize::get),
            drain: server.drain.0,
        }
    }

    fn listenable(&mut self, key: &str, address: &Address) {
        match address {
            Address::Tcp(text) if text.parse::<std::net::SocketAddr>().is_err() => {
                self.fault(key, format!("{text} is not ip:port; write an IP address, such as 0.0.0.0:8080"));
            }
            Address::Unix(path) if !path.parent().is_some_and(std::path::Path::is_dir) => {
                self.fault(key, format!("the directory of {} does not exist", path.display()));
            }
            Address::Tcp(_) | Address::Unix(_) => {}
        }
    }

    /// Pingora panics on files that it cannot use, so they are tried here.
    fn tls(&mut self, tls: &file::Tls) -> (String, String) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain =
            CertificateDer::pem_file_iter(&tls.cert).map(|found| found.filter_map(Result::ok).collect::<Vec<_>>());
        let key = PrivateKeyDer::from_pem_file(&tls.key);
        match (&chain, &key) {
            (Ok(chain), _) if chain.is_empty() => {
                self.fault("server.tls.cert", format!("{} holds no certificate in PEM", tls.cert));
            }
            (Err(error), _) => self.fault("server.tls.cert", format!("cannot read {}: {error}", tls.cert)),
            (Ok(_), _) => {}
        }
        if let Err(error) = &key {
            self.fault("server.tls.key", format!("cannot read a PEM private key from {}: {error}", tls.key));
        }
        if let (Ok(chain), Ok(key)) = (chain, key) {
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let usable = versions.and_then(|versions| versions.with_no_client_auth().with_single_cert(chain, key));
            if let Err(error) = usable {
                self.fault("server.tls", format!("certificate and key do not work together: {error}"));
            }
        }
        (tls.cert.clone(), tls.key.clone())
    }

    fn keys(&mut self, file: &File) -> Option<Keys> {
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

    fn secret(&self, name: &str) -> Option<Secret> {
        let value = self.source.environment.get(name)?.trim();
        (!value.is_empty()).then(|| Secret::new(value))
    }

    fn providers(&mut self, file: &File) -> Vec<provider::Config> {
        match &file.providers {
            None => public_providers(),
            Some(providers) => providers.iter().filter_map(|(name, provider)| self.provider(name, provider)).collect(),
        }
    }

    fn provider(&mut self, name: &str, file: &file::Provider) -> Option<provider::Config> {
        let key = |field: &str| format!("providers.{name}.{field}");
        self.required(&key("dialect"), file.dialect.is_some());
        self.required(&key("base_url"), file.base_url.is_some());
        let api_key = file.api_key_env.as_ref().and_then(|variable| {
            let secret = self.secret(variable);
            if secret.is_none() {
                let message = format!(
                    "the environment variable {variable} is not set: set it, or remove the key so \
                     that the app's own credentials are used"
                );
                self.fault(&key("api_key_env"), message);
            }
            secret
        });
        let ca_pem = file.ca_file.as_ref().and_then(|path| match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.fault(&key("ca_file"), format!("cannot read {path}: {error}"));
                None
            }
        });
        for (field, period) in [
            ("timeout.connect", file.timeout.connect),
            ("timeout.first_byte", file.timeout.first_byte),
            ("timeout.idle", file.timeout.idle),
            ("timeout.total", file.timeout.total),
        ] {
            self.period(&key(field), period);
        }
        if file.retry.attempts == 0 {
            self.fault(&key("retry.attempts"), "must be at least 1: tries in all, the first included");
        }
        if !(0.0..=1.0).contains(&file.retry.budget) {
            self.fault(&key("retry.budget"), "must be between 0 and 1: retries per call, on average");
        }
        provider_config(name, file, api_key, ca_pem)
    }

    fn routes(&mut self, file: &File) -> Vec<route::Config> {
        let routes = file.routes.iter().enumerate();
        routes.filter_map(|(n, route)| self.route(&format!("routes[{n}]"), route)).collect()
    }

    fn route(&mut self, key: &str, file: &file::Route) -> Option<route::Config> {
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
        Some(route::Config { path, methods, class, handoff: file.handoff, max_workers: file.max_workers })
    }
}

fn provider_config(
    name: &str,
    file: &file::Provider,
    api_key: Option<Secret>,
    ca_pem: Option<Vec<u8>>,
) -> Option<provider::Config> {
    Some(provider::Config {
        name: name.to_owned(),
        dialect: file.dialect?,
        base_url: file.base_url.clone()?.0,
        api_key,
        timeouts: provider::Timeouts {
            connect: file.timeout.connect.0,
            first_byte: file.timeout.first_byte.0,
            idle: file.timeout.idle.0,
            total: file.timeout.total.0,
        },
        retry: provider::Retry { attempts: file.retry.attempts, budget: file.retry.budget },
        ca_pem,
    })
}

/// What a file without `[providers]` gets: the public endpoints, with the app's own credentials.
fn public_providers() -> Vec<provider::Config> {
    let public = [
        ("anthropic", Dialect::Anthropic, "https://api.anthropic.com"),
        ("gemini", Dialect::Gemini, "https://generativelanguage.googleapis.com"),
        ("openai", Dialect::Openai, "https://api.openai.com"),
    ];
    let config = |(name, dialect, base_url): (&str, Dialect, &str)| {
        let base_url = base_url.parse().ok().map(Parsed);
        let file = file::Provider { dialect: Some(dialect), base_url, ..file::Provider::default() };
        provider_config(name, &file, None, None)
    };
    public.into_iter().filter_map(config).collect()
}
