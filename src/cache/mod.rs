//! Results kept for later: a key, an entry, a bound in bytes. For now it keeps results that their exchange could
//! not use (its resume was refused), so that the client's retry need not pay for them again. It must never
//! decide who may share a result; the key says so.

mod key;
mod memory;

pub use key::Key;
pub use memory::{Memory, Weigh};
