//! Who is in a worker. A place is claimed with one atomic operation and written under a lock of its own, which only the
//! page contends for. The places are Siding's: which process of the app serves a request, only the kernel knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Kept;

/// Places in one block, made together when the first of them is needed.
const BLOCK: usize = 64;
/// Blocks. Requests beyond are counted, not shown.
const BLOCKS: usize = 16;

/// All places.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A bit for each place that is taken.
    taken: [AtomicU64; BLOCKS],
    blocks: [OnceLock<Box<Block>>; BLOCKS],
    beyond: AtomicU64,
}

type Block = [Mutex<Option<Entry>>; BLOCK];

/// What a worker does.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kept: Kept,
    pub(super) pass: u32,
    /// Whether its client has left.
    pub(super) is_orphaned: bool,
}

/// A place, while its request is in a worker.
#[derive(Debug)]
pub struct Slot(Mark);

/// Where that place is.
#[derive(Clone, Debug)]
pub struct Mark {
    slots: Slots,
    /// `None` where there was none left.
    place: Option<usize>,
}

impl Slots {
    /// Takes the first free place.
    pub(super) fn occupy(&self, kept: Kept, pass: u32) -> Slot {
        let place = (0..BLOCKS).find_map(|block| self.claim(block));
        match place {
            Some(place) => *self.0.entry(place).lock() = Some(Entry { kept, pass, is_orphaned: false }),
            None => _ = self.0.beyond.fetch_add(1, Ordering::Relaxed),
        }
        Slot(Mark { slots: self.clone(), place })
    }

    /// Those that are taken, by their places from 0 on, and how many more requests are in workers.
    pub(super) fn taken(&self) -> (Vec<(usize, Entry)>, u64) {
        let mut found = Vec::new();
        for (block, bits) in self.0.taken.iter().enumerate() {
            let mut bits = bits.load(Ordering::Acquire);
            while bits != 0 {
                let place = block * BLOCK + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                // One that was claimed or left just now is not there.
                found.extend(self.0.entry(place).lock().clone().map(|entry| (place, entry)));
            }
        }
        (found, self.0.beyond.load(Ordering::Relaxed))
    }

    fn claim(&self, block: usize) -> Option<usize> {
        let bits = &self.0.taken[block];
        loop {
            let free = bits.load(Ordering::Relaxed).trailing_ones();
            let bit = 1_u64.checked_shl(free)?;
            if bits.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
                return Some(block * BLOCK + free as usize);
            }
        }
    }
}

impl Shared {
    fn entry(&self, place: usize) -> &Mutex<Option<Entry>> {
        let block = self.blocks[place / BLOCK].get_or_init(|| Box::new([const { Mutex::new(None) }; BLOCK]));
        &block[place % BLOCK]
    }
}

impl Slot {
    /// For those who learn that the client has left.
    pub fn mark(&self) -> Mark {
        self.0.clone()
    }
}

impl Mark {
    /// The client has left, and the worker goes on.
    pub fn orphan(&self) {
        let Some(place) = self.place else { return };
        if let Some(entry) = &mut *self.slots.0.entry(place).lock() {
            entry.is_orphaned = true;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let shared = &self.0.slots.0;
        let Some(place) = self.0.place else {
            shared.beyond.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        *shared.entry(place).lock() = None;
        shared.taken[place / BLOCK].fetch_and(!(1 << (place % BLOCK)), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Name, Subject};
    use crate::telemetry::outcome::Mode;
    use http::Method;

    fn occupy(slots: &Slots, id: &str, pass: u32) -> Slot {
        let subject = Subject { id, method: &Method::POST, name: Name::of_path("/chat"), mode: Mode::Replay };
        slots.occupy(Kept::new(subject), pass)
    }

    fn shown(slots: &Slots) -> Vec<(usize, String, bool)> {
        let (taken, _) = slots.taken();
        taken.into_iter().map(|(n, entry)| (n, entry.kept.id.as_str().to_owned(), entry.is_orphaned)).collect()
    }

    #[test]
    fn a_request_takes_the_first_free_place_until_its_guard_is_dropped() {
        let slots = Slots::default();
        let (one, two) = (occupy(&slots, "a", 0), occupy(&slots, "b", 1));
        two.mark().orphan();
        assert_eq!(shown(&slots), [(0, "a".into(), false), (1, "b".into(), true)]);
        drop(one);
        let three = occupy(&slots, "c", 0);
        assert_eq!(shown(&slots), [(0, "c".into(), false), (1, "b".into(), true)], "nobody moves");
        drop((two, three));
        assert!(shown(&slots).is_empty());
    }

    #[test]
    fn requests_beyond_the_last_place_are_counted() {
        let slots = Slots::default();
        let held: Vec<Slot> = (0..BLOCK * BLOCKS + 3).map(|n| occupy(&slots, &n.to_string(), 0)).collect();
        let (taken, beyond) = slots.taken();
        assert_eq!((taken.len(), beyond), (BLOCK * BLOCKS, 3));
        held.last().unwrap().mark().orphan();
        drop(held);
        assert_eq!((slots.taken().0.len(), slots.taken().1), (0, 0));
    }

    #[test]
    fn no_two_requests_ever_share_a_place() {
        let slots = Slots::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let slots = &slots;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let id = format!("{thread}-{round}");
                        let held = occupy(slots, &id, 0);
                        let place = held.0.place.unwrap();
                        let entry = slots.0.entry(place).lock().clone().unwrap();
                        assert_eq!(entry.kept.id.as_str(), id);
                    }
                });
            }
        });
        assert!(shown(&slots).is_empty());
    }
}
