//! From what a file says to what the program runs with. Checks what a type cannot: ranges, combinations, files
//! and the environment. Every fault is collected.

mod background;
mod cache;
mod prices;
mod providers;
mod redis;
mod routes;
mod secrets;
mod server;
mod terminate;
mod tracing;

use std::path::PathBuf;

use super::fault::Fault;
use super::file::File;
use super::source::{Lines, Source};
use super::units::{Period, Workers};
use super::{Config, Log};
use crate::backend::Address;
use crate::handoff::Limits;
use crate::time::Duration;
use crate::{admission, backend, exchange, proxy, workers};

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
pub(in crate::config) fn validate(
    file: &File,
    source: &Source<'_>,
    lines: &Lines,
    faults: &mut Vec<Fault>,
) -> Option<Config> {
    let mut check = Check { source, lines, faults };
    check.bounds(file);
    let address = check.backend_address(file);
    let workers_config = check.workers(file, &address);
    let keys = check.keys(file);
    let providers = check.providers(file);
    let routes = check.routes(file, &providers);
    let (calls, sharing) = check.cache(file);
    let redis = check.redis(file);
    let prices = check.prices(file);
    let background = check.background(file);
    let tracing = check.tracing(file);
    let server = check.server(file);
    let workers = file.backend.workers.at_first().saturating_mul(file.backend.threads);
    Some(Config {
        server,
        log: Log { format: file.log.format, filter: file.log.filter.clone() },
        tracing,
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
        workers: workers_config,
        exchange: exchange_config(file),
        buffered: file.server.buffered.0,
        keys,
        providers,
        calls,
        sharing,
        redis,
        prices,
        background,
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
        relay_silence: handoff.relay_keepalive.0,
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
    fn workers(&mut self, file: &File, address: &Address) -> workers::Config {
        let backend = &file.backend;
        let control_socket = Some(&backend.control_socket).filter(|path| !path.is_empty()).map(PathBuf::from);
        if control_socket.as_ref().is_some_and(|path| !path.is_absolute()) {
            self.fault("backend.control_socket", "must be an absolute path, as gunicorn's --control-socket has it");
        }
        let follow = matches!(backend.workers, Workers::Auto).then_some(backend.threads);
        workers::Config { address: address.clone(), control_socket, follow }
    }

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
            ("backend.workers", file.backend.workers.at_first()),
            ("backend.threads", file.backend.threads),
            ("backend.queue.capacity", file.backend.queue.capacity),
            ("backend.queue.resume_capacity", file.backend.queue.resume_capacity),
            ("backend.response_buffer", file.backend.response_buffer.0),
            ("cache.max_entry", file.cache.max_entry.0),
            ("cache.max_followers", file.cache.max_followers),
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
            ("server.linger", file.server.linger),
            ("server.propagation", file.server.propagation),
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
            ("handoff.relay_keepalive", file.handoff.relay_keepalive),
        ] {
            self.period(key, period);
        }
        self.combinations(file);
    }

    fn combinations(&mut self, file: &File) {
        if file.server.threads > MOST_THREADS {
            self.fault("server.threads", format!("must be at most {MOST_THREADS}"));
        }
        if file.backend.workers.at_first().saturating_mul(file.backend.threads) > MOST_WORKERS {
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
}
