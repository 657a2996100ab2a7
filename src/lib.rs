//! Siding: a sidecar reverse proxy that frees synchronous Django workers from waiting for LLMs.
//!
//! A siding is the track beside the main line where a slow train waits so that the fast ones can pass.
//!
//! # Flow
//!
//! ```text
//! client -> listener -> proxy::edge: a glimpse at the head, route
//!    cannot suspend -> Pingora's HttpProxy streams it after admission (proxy::request, proxy::pass_through)
//!    can suspend    -> read whole (proxy::buffered) -> exchange::run:
//!        admission -> backend pass -> plain answer              -> proxy::deliver
//!                                  -> call: the worker is free, calls::make answers it,
//!                                     its result is journalled, and the request is sent again
//!                                     (replay); or the client reads it first (relay: exchange::relay)
//!    answers shared -> the same, but proxy::shared asks sharing first
//!    a provider answers -> proxy::terminate -> exchange::authorize asks the app: no -> its answer
//!                                                                             yes -> calls::make
//!    wants no waiting   -> proxy::background: the same in a task of its own, feeding a job; proxy::jobs tells of it
//! egress listener   -> proxy::egress -> calls::make (proxy::call) -> proxy::deliver
//! calls::make, and whole answers of routes -> sharing: stored? a flight under way? else lead one
//!    (in another process? sharing::remote) -> store
//! one Outcome per exchange -> proxy::finish: metrics, access log
//! ```
//!
//! # Layout
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | text to checked values; imports the features' `Config`, is imported by none of them |
//! | [`server`] | the composition root: listeners, admin, shutdown |
//! | [`proxy`] | the edge; the only user of Pingora's `ProxyHttp`; all synthetic HTTP replies |
//! | [`exchange`] | the story of one exchange: read this first |
//! | [`route`] | which rule a request falls under |
//! | [`admission`] | who may occupy a worker |
//! | [`backend`] | the app's workers as an HTTP server; one trip through them |
//! | [`handoff`] | the protocol with the app: offer, signature, call, journal |
//! | [`calls`] | one call to a provider, whoever asks: what it means, its answer in the caller's form |
//! | [`sharing`] | one answer for all who ask the same: composes `cache` and `coalesce` |
//! | [`coalesce`] | single flight: one piece of work, many readers; knows no HTTP |
//! | [`redis`] | the store that processes share: a connection that comes back, commands that take a moment or fail |
//! | [`cache`] | keys by meaning, lifetimes, entries, the store |
//! | [`answer`] | the answers of LLM APIs: from plain to stream and back, what they say, what they cost |
//! | [`relay`] | a provider's stream in the format that a client reads |
//! | [`usage`] | what calls cost, and what sharing saved |
//! | [`background`] | jobs: exchanges that outlive their clients, what becomes of them, who may ask |
//! | [`provider`] | LLM vendors: resolving, calling, retrying, and sparing one in trouble |
//! | [`status`] | what is under way now and what failed lately, for people who look |
//! | [`telemetry`] | closed vocabularies, metric conventions, logs |
//! | [`trace`] | whose trace an exchange belongs to; spans, and their way to a collector |
//! | [`workers`] | what can be seen of the app's processes from beside them |
//! | [`http1`] | an HTTP/1.1 client that holds no buffer while it waits |
//! | [`tls`] | HTTPS clients: whom they trust |
//! | [`buffers`] | memory for bodies and results, bounded |
//! | [`drain`], [`hop_by_hop`], [`media_type`], [`sealed`], [`secret`], [`time`] | small tools with one contract each |
//!
//! # Vocabulary
//!
//! A *client* reaches a *listener*; a *route* says how its request is treated. A *pass* is one trip of it
//! through a worker, a *call* one LLM request that the app asked for; the *journal* holds results so far. An
//! *exchange* is everything from the client's request to its response. A *permit* is the right to occupy one
//! worker. A *flight* is one piece of work shared by all who want its answer, an *entry* a stored answer, a *scope* who
//! may share. A *provider* is an LLM vendor, the *backend* is the app. A route is *terminated* when a provider answers it;
//! the app's *grant* says whether and how. A *job* is an exchange whose client does not wait for it. An *outcome* is how
//! an exchange ended, a *reason* why Siding answered itself.
//!
//! # Values, in this order
//!
//! Correct, bounded, observable, fast, flexible.
//!
//! # Layers
//!
//! `main -> server -> {proxy, config, features}`; `proxy -> {route, admission, backend, handoff, exchange, background}`;
//! `exchange -> {admission, backend, handoff, calls, sharing, relay}`; `calls -> {sharing, answer, usage, provider}`;
//! `{relay, usage} -> answer`; `sharing -> {cache, coalesce, redis}`; `{backend, provider, workers} -> http1`;
//! `{provider, background, trace} -> tls`; `{backend, exchange, proxy} -> status`, which is told things as `telemetry` is;
//! `{exchange, calls, sharing, provider} -> trace`; `background -> {cache, redis}`, for keys and for other processes; `route` names `admission`'s classes,
//! `cache`'s and `background`'s rules.
//! Features never import one another otherwise; Pingora stays in `proxy` and `server`, prometheus in `telemetry` and `metrics.rs` files. `tests/layers.rs`
//! checks it.

pub mod admission;

pub mod answer;
pub mod backend;
pub mod background;
pub mod buffers;
pub mod cache;
pub mod calls;
pub mod coalesce;
pub mod config;
pub mod drain;
pub mod exchange;
pub mod handoff;
pub mod hop_by_hop;
pub mod http1;
pub mod media_type;
pub mod provider;
pub mod proxy;
pub mod redis;
pub mod relay;
pub mod route;
pub mod sealed;
pub mod secret;
pub mod server;
pub mod sharing;
pub mod status;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod trace;
pub mod usage;
pub mod workers;
