//! The composition root: the only place where parts meet. From a checked configuration to a running process.

mod admin;
mod build;
mod drain;
mod listener;
mod traces;

pub use build::{StartError, run};
