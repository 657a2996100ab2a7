//! The waiting lines: one per class and bulkhead, so that the next waiter that may run is found without
//! looking at those that may not. It must never read a clock.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::time::Instant;

/// Who waits: since when, and how to tell it.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) since: Instant,
    pub(super) grant: oneshot::Sender<()>,
}

/// Which end of a line goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// The waiters of one class, by bulkhead (the first line has none) and order of arrival.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Vec<BTreeMap<u64, Waiter>>,
    depth: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self { lines: vec![BTreeMap::new()], depth: 0 }
    }
}

impl Lines {
    /// One line more.
    pub(super) fn add(&mut self) {
        self.lines.push(BTreeMap::new());
    }

    /// Whether nobody waits in a line.
    pub(super) fn is_empty(&self, line: usize) -> bool {
        self.lines.get(line).is_none_or(BTreeMap::is_empty)
    }

    /// How many wait.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn push(&mut self, line: usize, sequence: u64, waiter: Waiter) {
        self.lines[line].insert(sequence, waiter);
        self.depth += 1;
    }

    /// Takes a waiter out. `false` when it is not there any more.
    pub(super) fn remove(&mut self, line: usize, sequence: u64) -> bool {
        let removed = self.lines[line].remove(&sequence).is_some();
        self.depth -= usize::from(removed);
        removed
    }

    /// Takes out the waiter to serve next among the lines that `may_run`, with the line's number.
    pub(super) fn pop(&mut self, order: Order, may_run: impl Fn(usize) -> bool) -> Option<(usize, Waiter)> {
        let heads = self.lines.iter().enumerate().filter(|(line, _)| may_run(*line));
        let (sequence, line) = match order {
            Order::OldestFirst => heads.filter_map(|(n, line)| Some((*line.first_key_value()?.0, n))).min()?,
            Order::NewestFirst => heads.filter_map(|(n, line)| Some((*line.last_key_value()?.0, n))).max()?,
        };
        let waiter = self.lines[line].remove(&sequence)?;
        self.depth -= 1;
        Some((line, waiter))
    }

    /// When the longest waiting one arrived.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lines.iter().filter_map(|line| line.first_key_value()).map(|(_, waiter)| waiter.since).min()
    }
}
