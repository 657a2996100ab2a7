//! Single flight: one piece of work in progress, wanted by many. The first to ask for a key gets a [`Leader`], whom it
//! puts into a task of its own, and everybody gets a [`Reader`]. What the leader publishes is kept from the first byte
//! on until the flight ends, so that whoever joins late misses nothing, and a slow reader slows nobody.
//!
//! It must never know what is fetched, from where, or for whom; it spawns no task and reads no clock.
//!
//! # What holds
//!
//! - While a flight is open, nobody else leads for its key.
//! - Every reader sees the same head and the same bytes from byte 0, then the same end.
//! - A leader that is dropped without an end has abandoned the flight, and its readers learn it.
//! - When the last reader leaves, [`Leader::unwanted`] resolves, and whoever comes after starts anew.
//! - Wakes are events; nothing polls.
//!
//! # Cancel safety
//!
//! Every future here can be dropped at any time. A reader's drop is its leaving; a leader's drop ends the flight.

mod flight;
mod leader;
mod primitives;
mod reader;
mod registry;
#[cfg(all(test, not(model)))]
mod tests;

pub use leader::Leader;
pub use reader::Reader;
pub use registry::{Flights, Joined};

/// How often another try follows a failed one while others than the first wait.
pub const MAX_SUCCESSORS: u32 = 2;

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<E> {
    /// All bytes were published.
    Complete,
    /// The work failed.
    Failed(E),
    /// The leader vanished: its task panicked or its runtime ended.
    Abandoned,
}
