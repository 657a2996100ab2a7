//! A simulated LLM: three providers' HTTP APIs with set latency, set faults and answers that can be checked.
//!
//! # Flow
//!
//! `server` accepts a connection and hands each request to `call` (an LLM call) or to `control` (`/sim/...`).
//! `call` reads what was asked (`dialect`), how to behave (`behaviour`, changed by `directive`s in the prompt),
//! waits, and replies in the provider's own format with an answer that is a function of the prompt (`answer`).
//! `tally` counts calls and `recorder` keeps the last requests, so that a test sees what the provider was asked.
//!
//! The [`answer`] and [`stamp`] modules are public: load generators use them to check what they got, and to tell how long
//! it was on its way.

pub mod answer;
pub mod behaviour;
pub mod directive;
pub mod server;
pub mod stamp;

mod body;
mod call;
mod control;
mod dialect;
mod recorder;
mod simulation;
mod tally;
mod tls;
mod wire;

pub use simulation::Simulation;
pub use tls::{TlsError, acceptor};
