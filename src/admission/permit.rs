//! The guards: a place in the queue and the right to one worker. Dropping one only gives it back.

use std::sync::Arc;

use super::state::Waiting;
use super::{Admission, Bulkhead};
use crate::time::Instant;

/// The right to occupy one worker. Held until the backend leg has ended, even when the client has left,
/// because the worker is still busy.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bulkhead: Option<Bulkhead>,
    since: Instant,
}

impl Permit {
    pub(super) fn new(admission: Arc<Admission>, bulkhead: Option<Bulkhead>, since: Instant) -> Self {
        Self { admission, bulkhead, since }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release(self.bulkhead, Some(self.since.elapsed()));
    }
}

/// A place in the queue.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    bulkhead: Option<Bulkhead>,
    /// `None` once the worker has been taken over by a [`Permit`].
    waiting: Option<Waiting>,
}

impl Ticket {
    pub(super) fn new(admission: Arc<Admission>, waiting: Waiting, bulkhead: Option<Bulkhead>) -> Self {
        Self { admission, bulkhead, waiting: Some(waiting) }
    }

    /// Resolves when a worker was granted. The queue never drops a sender without granting.
    pub(super) async fn granted(&mut self) -> Permit {
        if let Some(waiting) = &mut self.waiting {
            let granted = (&mut waiting.granted).await;
            debug_assert!(granted.is_ok(), "the queue grants or keeps every waiter");
        }
        self.waiting = None;
        Permit::new(Arc::clone(&self.admission), self.bulkhead, Instant::now())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(mut waiting) = self.waiting.take() else { return };
        let still_queued = self.admission.state.lock().leave(&waiting, Instant::now());
        if !still_queued && waiting.granted.try_recv().is_ok() {
            self.admission.release(self.bulkhead, None);
        }
    }
}
