//! Memory for bodies and results, bounded for the whole process, and for what has a bound of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use crate::telemetry::Registry;

/// The bound and what is in use.
#[derive(Clone, Debug)]
pub struct Buffers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
    shown: IntGauge,
}

/// The bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Buffers {
    /// Nothing in use of `limit` bytes.
    pub fn new(limit: usize, registry: &Registry) -> Self {
        Self::named(limit, registry, "buffered_bytes", "Memory held for request bodies and results.")
    }

    /// Another bound, which shows what is in use under a name of its own.
    pub fn named(limit: usize, registry: &Registry, name: &str, help: &str) -> Self {
        let shown = registry.gauge(name, help);
        Self(Arc::new(Shared { limit, used: AtomicUsize::new(0), shown }))
    }

    /// A lease of no bytes.
    pub fn lease(&self) -> Lease {
        Lease { shared: Arc::clone(&self.0), bytes: 0 }
    }
}

/// Bytes in use until dropped.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Lease {
    /// Takes `more` bytes.
    ///
    /// # Errors
    /// Fails when the bound would be exceeded; nothing is taken then.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let Shared { limit, used, shown } = &*self.shared;
        used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(more).filter(|wanted| wanted <= limit)
        })
        .map_err(|_| Full)?;
        self.bytes += more;
        shown.add(i64::try_from(more).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Gives back what it has more than `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.bytes.saturating_sub(bytes);
        self.bytes -= spare;
        self.shared.used.fetch_sub(spare, Ordering::AcqRel);
        self.shared.shown.sub(i64::try_from(spare).unwrap_or(i64::MAX));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_never_exceed_the_bound_and_give_back_what_they_took() {
        let buffers = Buffers::new(10, &Registry::new().unwrap());
        let (mut one, mut two) = (buffers.lease(), buffers.lease());
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(two.grow(5), Err(Full));
        assert_eq!(two.grow(4), Ok(()));
        one.shrink_to(3);
        assert_eq!(two.grow(3), Ok(()));
        two.shrink_to(4);
        drop(one);
        assert_eq!(two.grow(6), Ok(()));
        assert_eq!(two.grow(usize::MAX), Err(Full));
    }
}
