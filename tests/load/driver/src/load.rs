//! When requests are made: in a closed loop, at fixed times, or at those of a trace.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

use crate::flags::Flags;
use crate::report::{Record, Summary};
use crate::schedule::Schedule;
use crate::target::Target;
use crate::trace::{self, Arrival};
use crate::visitor::Visitor;

/// After a failure, so that a refusing server is not hammered.
const PAUSE: Duration = Duration::from_millis(100);

/// What the tasks of a run share.
struct Run {
    flags: Flags,
    target: Rc<Target>,
    trace: Option<Rc<[Arrival]>>,
    record: RefCell<Record>,
    schedule: Schedule,
    in_flight: RefCell<u64>,
}

/// Runs the load and says what happened.
pub(crate) async fn run(flags: Flags) -> Result<Summary, String> {
    let run = Rc::new(Run::new(flags)?);
    LocalSet::new().run_until(drive(Rc::clone(&run))).await;
    let elapsed = run.schedule.counted(Instant::now());
    let summary = run.record.borrow_mut().summary(elapsed, *run.in_flight.borrow(), run.flags.samples);
    Ok(summary)
}

async fn drive(run: Rc<Run>) {
    let progress = (!run.flags.quiet).then(|| tokio::task::spawn_local(show_progress(Rc::clone(&run))));
    let announcement = tokio::task::spawn_local(announce(Rc::clone(&run)));
    match run.schedule.end().filter(|_| run.flags.leave) {
        // What is in flight is dropped, and stays counted as such.
        Some(end) => drop(timeout_at(end, requests(&run)).await),
        None => requests(&run).await,
    }
    announcement.abort();
    if let Some(progress) = progress {
        progress.abort();
    }
}

async fn requests(run: &Rc<Run>) {
    match (&run.trace, run.flags.rate) {
        (Some(trace), _) => open_loop(run, trace.iter().map(|(due, path)| (*due, Some(Rc::clone(path))))).await,
        (None, Some(rate)) => open_loop(run, (0u64..).map(|n| (Duration::from_secs_f64(n as f64 / rate), None))).await,
        (None, None) => closed_loop(run).await,
    }
}

/// Tells whoever measures the server that this is the time to begin.
async fn announce(run: Rc<Run>) {
    if !run.flags.warm_up.is_zero() {
        sleep_until(run.schedule.counts_from()).await;
        eprintln!("measuring");
    }
}

async fn closed_loop(run: &Rc<Run>) {
    let mut visitors = JoinSet::new();
    for number in 0..run.flags.concurrency {
        let run = Rc::clone(run);
        visitors.spawn_local(async move {
            let mut visitor = run.visitor();
            sleep_until(run.schedule.start(number, run.flags.concurrency)).await;
            while run.goes_on() {
                let failed = run.measure(&mut visitor, None, Instant::now()).await;
                if failed {
                    sleep(PAUSE).await;
                }
            }
        });
    }
    while visitors.join_next().await.is_some() {}
}

/// Latency counts from the time at which the request was due, so that a stalled server cannot hide it.
async fn open_loop(run: &Rc<Run>, arrivals: impl Iterator<Item = (Duration, Option<Rc<str>>)>) {
    let idle: Rc<RefCell<Vec<Visitor>>> = Rc::default();
    let mut visits = JoinSet::new();
    for (after, path) in arrivals {
        let due = run.schedule.began() + after;
        sleep_until(due).await;
        if !run.goes_on() {
            break;
        }
        let (task_run, task_idle) = (Rc::clone(run), Rc::clone(&idle));
        visits.spawn_local(async move {
            let kept = task_idle.borrow_mut().pop();
            let mut visitor = kept.unwrap_or_else(|| task_run.visitor());
            task_run.measure(&mut visitor, path.as_deref(), due).await;
            task_idle.borrow_mut().push(visitor);
        });
    }
    while visits.join_next().await.is_some() {}
}

impl Run {
    fn new(flags: Flags) -> Result<Self, String> {
        let target = Rc::new(Target::new(&flags)?);
        let trace = flags.trace.as_deref().map(trace::read).transpose()?;
        let schedule = Schedule::new(&flags, Instant::now());
        Ok(Self { flags, target, trace, record: RefCell::default(), schedule, in_flight: RefCell::default() })
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(Rc::clone(&self.target), &self.flags)
    }

    fn goes_on(&self) -> bool {
        let begun = self.record.borrow().good() + self.record.borrow().failed() + *self.in_flight.borrow();
        self.flags.requests.is_none_or(|limit| begun < limit)
            && self.schedule.end().is_none_or(|end| Instant::now() < end)
    }

    /// Whether the visit failed. `path` stands in for the URL's.
    async fn measure(&self, visitor: &mut Visitor, path: Option<&str>, since: Instant) -> bool {
        *self.in_flight.borrow_mut() += 1;
        let outcome = visitor.visit(path).await;
        *self.in_flight.borrow_mut() -= 1;
        let failed = outcome.is_err();
        if Instant::now() >= self.schedule.counts_from() {
            self.record.borrow_mut().add(outcome, since.elapsed());
        }
        failed
    }
}

async fn show_progress(run: Rc<Run>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    second.tick().await;
    let mut before = 0;
    loop {
        second.tick().await;
        let (good, failed) = (run.record.borrow().good(), run.record.borrow().failed());
        eprintln!(
            "{:4.0} s  {:6} in flight  {good:7} answered  {failed:5} failed  {:6} a second",
            run.schedule.began().elapsed().as_secs_f64(),
            run.in_flight.borrow(),
            good - before,
        );
        before = good;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;

    #[tokio::test]
    async fn what_is_in_flight_when_a_run_is_left_is_unanswered_and_no_error() {
        // The kernel accepts connections; nobody reads them.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let arguments = ["", "--url", &url, "--concurrency", "3", "--duration", "50ms", "--leave", "--quiet"];
        let summary = run(Flags::parse_from(arguments)).await.unwrap();
        assert_eq!((summary.unanswered, summary.good, summary.errors), (3, 0, BTreeMap::new()));
    }

    #[tokio::test]
    async fn what_ends_in_the_warm_up_is_not_counted() {
        for (warm_up, counted) in [("1h", 0), ("0s", 1)] {
            let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let url = format!("http://{refusing}/");
            let run =
                Run::new(Flags::parse_from(["", "--url", &url, "--warm-up", warm_up, "--requests", "1"])).unwrap();
            assert!(run.measure(&mut run.visitor(), None, Instant::now()).await);
            assert_eq!(run.record.borrow().failed(), counted);
        }
    }
}
