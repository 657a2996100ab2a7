//! Log lines on their way out. A thread of its own writes them: where whoever reads them stalls, the disk is full or the
//! pipe is closed, lines are lost and counted, and no request waits or fails. What waits to be written is bounded in bytes,
//! since a line may be long.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::time::Duration;

/// Bytes of lines that wait to be written.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The way out, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lines {
    jobs: Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Job {
    Line(Box<[u8]>),
    /// Everything before it was written.
    Flushed(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Lines {
    /// To `out`. Without a thread, which only a machine at its end refuses, all lines are lost.
    pub(super) fn to(out: impl Write + Send + 'static) -> Self {
        let (jobs, coming) = channel();
        let counts = Arc::new(Counts::default());
        let of_thread = Arc::clone(&counts);
        let started = thread::Builder::new().name("log".to_owned()).spawn(move || write(out, &coming, &of_thread));
        drop(started);
        Self { jobs, counts }
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::Acquire)
    }

    /// Lines that were lost since this was asked last.
    pub(super) fn take_lost(&self) -> u64 {
        self.counts.lost.swap(0, Ordering::AcqRel)
    }

    /// Blocks until all lines so far are written, or for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let (flushed, done) = sync_channel(1);
        if self.jobs.send(Job::Flushed(flushed)).is_ok() {
            // What is not written by then is lost.
            let _ = done.recv_timeout(patience);
        }
    }

    fn push(&self, line: &[u8]) {
        let Counts { waiting, lost } = &*self.counts;
        let has_room = |bytes: usize| bytes.checked_add(line.len()).filter(|bytes| *bytes <= MOST_BYTES);
        let fits = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, has_room).is_ok();
        if fits && self.jobs.send(Job::Line(line.into())).is_ok() {
            return;
        }
        lost.fetch_add(1, Ordering::AcqRel);
    }
}

/// A line is written whole, in one call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut out: impl Write, coming: &Receiver<Job>, counts: &Counts) {
    while let Ok(job) = coming.recv() {
        match job {
            Job::Line(line) => {
                if out.write_all(&line).is_err() {
                    counts.lost.fetch_add(1, Ordering::AcqRel);
                }
                counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            }
            // Whoever waited may have given up.
            Job::Flushed(flushed) => drop(flushed.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// What was written, unless writing fails.
    #[derive(Clone, Default)]
    struct Page {
        text: Arc<Mutex<Vec<u8>>>,
        is_full: bool,
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.text.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let page = Page::default();
        let lines = Lines::to(page.clone());
        for line in ["one\n", "two\n"] {
            (&lines).write_all(line.as_bytes()).unwrap();
        }
        lines.flush(PATIENCE);
        assert_eq!(*page.text.lock(), b"one\ntwo\n");
        assert_eq!((lines.waiting(), lines.take_lost()), (0, 0));
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let lines = Lines::to(Page { is_full: true, ..Page::default() });
        for _ in 0..3 {
            (&lines).write_all(b"lost\n").unwrap();
        }
        lines.flush(PATIENCE);
        assert_eq!((lines.waiting(), lines.take_lost(), lines.take_lost()), (0, 3, 0));
    }

    #[test]
    fn a_reader_that_stalls_holds_nobody_up_and_memory_stays_bounded() {
        let page = Page::default();
        let lines = Lines::to(page.clone());
        let stalled = page.text.lock();
        let line = [b'x'; 1 << 16];
        for _ in 0..2 * MOST_BYTES / line.len() {
            (&lines).write_all(&line).unwrap();
        }
        assert_eq!(lines.waiting(), MOST_BYTES);
        lines.flush(Duration::from_millis(1));
        drop(stalled);
        lines.flush(PATIENCE);
        assert_eq!((lines.waiting(), lines.take_lost()), (0, (MOST_BYTES / line.len()) as u64));
        assert_eq!(page.text.lock().len(), MOST_BYTES);
    }
}
