//! The state that a leader and its readers share. Its methods are transitions: none of them waits, and those that
//! wake somebody return whom, so that wakes happen outside the lock.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use slab::Slab;

use super::primitives::{Mutex, MutexGuard, lock};
use super::{End, MAX_SUCCESSORS};

/// The most bytes a reader takes at once where many small pieces are ready.
const LARGEST_TAKE: usize = 16 * 1024;

/// One flight.
#[derive(Debug)]
pub(super) struct Flight<H, E>(Mutex<State<H, E>>);

#[derive(Debug)]
pub(super) struct State<H, E> {
    /// Bytes above which nobody joins and what everybody has read is let go.
    bound: usize,
    head: Option<H>,
    pieces: VecDeque<Bytes>,
    /// The number of the piece at the front; more than 0 once something was let go.
    first: usize,
    /// Bytes in `pieces`.
    pub(super) buffered: usize,
    end: Option<End<E>>,
    seats: Slab<Seat>,
    /// Whether newcomers may join.
    is_open: bool,
    successors: u32,
    leader: Option<Waker>,
}

/// A reader's place.
#[derive(Debug, Default)]
struct Seat {
    /// The number of the next piece to read.
    position: usize,
    waker: Option<Waker>,
    /// Taken by the one who led.
    led: bool,
}

/// Whether a newcomer has a seat.
pub(super) enum Seating {
    Taken(usize),
    Full,
    Closed,
}

/// What a reader finds.
pub(super) enum Found<T> {
    Nothing,
    Ready(T),
}

impl<H, E> Flight<H, E> {
    /// A flight with its first reader, in seat 0.
    pub(super) fn new(bound: usize) -> Self {
        let mut seats = Slab::new();
        seats.insert(Seat { led: true, ..Seat::default() });
        Self(Mutex::new(State {
            bound,
            head: None,
            pieces: VecDeque::new(),
            first: 0,
            buffered: 0,
            end: None,
            seats,
            is_open: true,
            successors: 0,
            leader: None,
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<H, E>> {
        lock(&self.0)
    }

    /// Wakes everybody whose waker a transition returned.
    pub(super) fn change(&self, transition: impl FnOnce(&mut State<H, E>) -> Vec<Waker>) {
        let woken = transition(&mut self.state());
        woken.into_iter().for_each(Waker::wake);
    }
}

impl<H, E> State<H, E> {
    /// Takes one of at most `max` seats, unless the flight is closed.
    pub(super) fn join(&mut self, max: usize) -> Seating {
        match (self.is_open, self.seats.len() < max) {
            (false, _) => Seating::Closed,
            (true, false) => Seating::Full,
            (true, true) => Seating::Taken(self.seats.insert(Seat::default())),
        }
    }

    /// A seat for somebody who reads on the leader's behalf, whatever the flight is.
    pub(super) fn accompany(&mut self) -> usize {
        self.seats.insert(Seat { led: true, ..Seat::default() })
    }

    pub(super) fn readers(&self) -> usize {
        self.seats.len()
    }

    /// Gives a seat back.
    pub(super) fn leave(&mut self, seat: usize) -> Vec<Waker> {
        self.seats.remove(seat);
        let has_room = self.let_go();
        let concerns_leader = has_room || self.seats.is_empty();
        let leader = self.leader.take_if(|_| concerns_leader);
        // Whoever is left may read for nobody.
        let last = if self.seats.len() == 1 { self.wake_readers() } else { Vec::new() };
        leader.into_iter().chain(last).collect()
    }

    /// Closes the flight if nobody reads it: whoever comes now starts anew.
    pub(super) fn close_if_unwanted(&mut self) -> bool {
        if self.seats.is_empty() {
            self.is_open = false;
            return true;
        }
        false
    }

    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    pub(super) fn wake_leader_later(&mut self, waker: &Waker) {
        self.leader = Some(waker.clone());
    }

    /// Closes the flight, and lets go of whatever everybody has read.
    pub(super) fn narrow(&mut self) {
        self.is_open = false;
        self.bound = 0;
        self.let_go();
    }

    /// Publishes the head.
    pub(super) fn begin(&mut self, head: H) -> Vec<Waker> {
        self.head = Some(head);
        self.wake_readers()
    }

    /// Publishes a piece of the body.
    pub(super) fn push(&mut self, piece: Bytes) -> Vec<Waker> {
        self.buffered += piece.len();
        self.pieces.push_back(piece);
        if self.is_full() {
            self.is_open = false;
            self.let_go();
        }
        self.wake_readers()
    }

    /// Whether more is held than the bound allows.
    pub(super) fn is_full(&self) -> bool {
        self.buffered > self.bound
    }

    /// Publishes the end.
    pub(super) fn finish(&mut self, end: End<E>) -> Vec<Waker> {
        self.is_open = false;
        self.end.get_or_insert(end);
        self.wake_readers()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether another try may follow: nothing was published, others than the first wait, and tries are left.
    pub(super) fn elect(&mut self) -> bool {
        let is_untouched = self.head.is_none() && self.pieces.is_empty() && self.end.is_none();
        let others_wait = self.seats.iter().any(|(_, seat)| !seat.led);
        let elected = is_untouched && others_wait && self.successors < MAX_SUCCESSORS;
        self.successors += u32::from(elected);
        elected
    }

    /// Everything published, while nothing of it was let go.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match (self.first, self.pieces.len()) {
            (0, 1) => self.pieces.front().cloned(),
            (0, _) => Some(self.pieces.iter().fold(BytesMut::with_capacity(self.buffered), joined).freeze()),
            _ => None,
        }
    }

    fn wake_readers(&mut self) -> Vec<Waker> {
        self.seats.iter_mut().filter_map(|(_, seat)| seat.waker.take()).collect()
    }

    /// Once closed and above the bound, drops the pieces that every reader has read. `true` when that made room.
    fn let_go(&mut self) -> bool {
        if self.is_open || !self.is_full() {
            return false;
        }
        let slowest = self.seats.iter().map(|(_, seat)| seat.position).min().unwrap_or(usize::MAX);
        while self.first < slowest {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.buffered -= piece.len();
            self.first += 1;
        }
        !self.is_full()
    }
}

impl<H: Clone, E: Clone> State<H, E> {
    /// The head, or the end that came before it.
    pub(super) fn head(&mut self, seat: usize, waker: &Waker) -> Found<Result<H, End<E>>> {
        match (&self.head, &self.end) {
            (Some(head), _) => Found::Ready(Ok(head.clone())),
            (None, Some(end)) => Found::Ready(Err(end.clone())),
            (None, None) => self.wait(seat, waker),
        }
    }

    /// The next bytes for a reader, then its end. A leader that waits for room is returned to be woken.
    pub(super) fn next(&mut self, seat: usize, waker: &Waker) -> (Found<Result<Bytes, End<E>>>, Option<Waker>) {
        let position = self.seats[seat].position;
        let mut ready = self.pieces.range(position - self.first..);
        let Some(piece) = ready.next() else {
            let found = self.end.clone().map_or_else(|| self.wait(seat, waker), |end| Found::Ready(Err(end)));
            return (found, None);
        };
        let (mut taken, mut bytes) = (1, piece.clone());
        if ready.len() > 0 && bytes.len() < LARGEST_TAKE {
            let mut many = BytesMut::from(&*bytes);
            for piece in ready.take_while(|piece| piece.len() < LARGEST_TAKE) {
                if many.len() + piece.len() > LARGEST_TAKE {
                    break;
                }
                many.extend_from_slice(piece);
                taken += 1;
            }
            bytes = many.freeze();
        }
        self.seats[seat].position += taken;
        let has_room = self.let_go();
        (Found::Ready(Ok(bytes)), self.leader.take_if(|_| has_room))
    }

    fn wait<T>(&mut self, seat: usize, waker: &Waker) -> Found<T> {
        self.seats[seat].waker = Some(waker.clone());
        Found::Nothing
    }
}

fn joined(mut whole: BytesMut, piece: &Bytes) -> BytesMut {
    whole.extend_from_slice(piece);
    whole
}
