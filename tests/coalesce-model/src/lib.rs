//! `src/coalesce` itself, with the model checker's lock: every schedule that the checker picks is one order in which
//! threads may take that lock, and each test must hold in all of them.

#[path = "../../../src/coalesce/mod.rs"]
pub mod coalesce;
