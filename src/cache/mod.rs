//! Results kept for later: what a request means (`canonical`, `key`), how long its result may serve and for whom
//! (`directives`, `policy`), what is kept (`entry`; as bytes, `record`), and where (`store`). It must never make a request; and it never
//! decides who may share a result: the key says so.

mod canonical;
mod conditions;
mod directives;
mod entry;
mod explain;
mod key;
mod memory;
mod metrics;
mod policy;
pub mod record;
mod repeats;
mod status;
mod store;

pub use canonical::Document;
pub use conditions::is_unchanged;
pub use directives::{RequestDirectives, ResponseDirectives};
pub use entry::{Entry, Freshness, lasting};
pub use explain::explain;
pub use key::{Key, KeyBuilder};
pub use memory::{Memory, Weigh};
pub use metrics::{Metrics, NotStored, Place, Served, Serving};
pub use policy::{CREDENTIALS, Lifetimes, Policy, Rule, Scope, add_client, is_anybody};
pub use repeats::Repeats;
pub use status::{CACHE_STATUS, CacheStatus};
pub use store::{Config, LocalStore, Selector, Store, Stored};
