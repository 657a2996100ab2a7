//! The lock under everything here. The model checker of `tests/coalesce-model` puts its own in its place.

#[cfg(not(model))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(model)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};

/// Locks. Nothing in this module panics while it holds a lock.
#[cfg(not(model))]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(model)]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
