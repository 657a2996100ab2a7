//! Which flight a key belongs to. No entry outlives its flight.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use super::flight::{Flight, Seating};
use super::leader::Leader;
use super::primitives::{Mutex, lock};
use super::reader::Reader;

/// All open flights. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Flights<K: Eq + Hash + Clone, H, E> {
    registry: Arc<Registry<K, H, E>>,
    max_readers: usize,
}

/// How a newcomer takes part.
#[derive(Debug)]
pub enum Joined<K: Eq + Hash + Clone, H, E> {
    /// It does the work, and reads like the others.
    Leads(Leader<K, H, E>, Reader<H, E>),
    /// Others work for it already.
    Follows(Reader<H, E>),
    /// The flight has as many readers as are allowed.
    Full,
}

/// Flights by key.
#[derive(Debug)]
pub(super) struct Registry<K, H, E>(Mutex<HashMap<K, Arc<Flight<H, E>>>>);

impl<K: Eq + Hash + Clone, H, E> Flights<K, H, E> {
    /// No flights yet; none will have more than `max_readers` at once.
    pub fn new(max_readers: usize) -> Self {
        Self { registry: Arc::new(Registry(Mutex::new(HashMap::new()))), max_readers }
    }

    /// Takes part in the flight of `key`. A new flight holds about `bound` bytes for newcomers at the most.
    pub fn join(&self, key: &K, bound: usize) -> Joined<K, H, E> {
        let mut flights = lock(&self.registry.0);
        let flight = match flights.entry(key.clone()) {
            Entry::Vacant(vacant) => Arc::clone(vacant.insert(Arc::new(Flight::new(bound)))),
            Entry::Occupied(mut occupied) => {
                let flight = Arc::clone(occupied.get());
                let seating = flight.state().join(self.max_readers);
                match seating {
                    Seating::Taken(seat) => return Joined::Follows(Reader::new(flight, seat)),
                    Seating::Full => return Joined::Full,
                    Seating::Closed => {}
                }
                let flight = Arc::new(Flight::new(bound));
                occupied.insert(Arc::clone(&flight));
                flight
            }
        };
        let leader = Leader::new(Arc::clone(&self.registry), key.clone(), Arc::clone(&flight));
        Joined::Leads(leader, Reader::new(flight, 0))
    }

    /// Flights now.
    pub fn len(&self) -> usize {
        lock(&self.registry.0).len()
    }

    /// Whether there is no flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash, H, E> Registry<K, H, E> {
    /// Moves a flight to another key, unless there is one already.
    pub(super) fn rename(&self, from: &K, to: K, flight: &Arc<Flight<H, E>>) {
        let mut flights = lock(&self.0);
        if flights.get(from).is_some_and(|found| Arc::ptr_eq(found, flight)) {
            flights.remove(from);
            flights.entry(to).or_insert_with(|| Arc::clone(flight));
        }
    }

    /// Takes a flight out, unless another has its place already.
    pub(super) fn forget(&self, key: &K, flight: &Arc<Flight<H, E>>) {
        let mut flights = lock(&self.0);
        if flights.get(key).is_some_and(|found| Arc::ptr_eq(found, flight)) {
            flights.remove(key);
        }
    }
}
