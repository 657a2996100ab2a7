//! The composition root: the only place where parts meet. From a checked configuration to a running process, and from
//! one configuration to the next.

mod admin;
mod build;
mod certificate;
mod descriptors;
mod drain;
mod listener;
mod live;
mod metrics;
mod parts;
mod redis;
mod reference;
mod reload;
mod restart;
mod signals;
mod sockets;
mod supervisor;
mod traces;
mod upgrade;
mod watch;

pub use build::{StartError, run};
pub use reference::metrics as metrics_reference;
pub use reload::Source;
