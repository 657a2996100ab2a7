//! When requests are made: in a closed loop, or at fixed times.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::flags::Flags;
use crate::report::{Record, Summary};
use crate::target::Target;
use crate::visitor::Visitor;

/// After a failure, so that a refusing server is not hammered.
const PAUSE: Duration = Duration::from_millis(100);

/// What the tasks of a run share.
struct Run {
    flags: Flags,
    target: Rc<Target>,
    record: RefCell<Record>,
    began: Instant,
    in_flight: RefCell<u64>,
}

/// Runs the load and says what happened.
pub(crate) async fn run(flags: Flags) -> Result<Summary, String> {
    let target = Rc::new(Target::new(&flags)?);
    let record = RefCell::default();
    let run = Rc::new(Run { flags, target, record, began: Instant::now(), in_flight: RefCell::default() });
    LocalSet::new().run_until(drive(Rc::clone(&run))).await;
    let elapsed = run.began.elapsed();
    let summary = run.record.borrow_mut().summary(elapsed);
    Ok(summary)
}

async fn drive(run: Rc<Run>) {
    let progress = (!run.flags.quiet).then(|| tokio::task::spawn_local(show_progress(Rc::clone(&run))));
    match run.flags.rate {
        None => closed_loop(&run).await,
        Some(rate) => fixed_rate(&run, Duration::from_secs_f64(1.0 / rate)).await,
    }
    if let Some(progress) = progress {
        progress.abort();
    }
}

async fn closed_loop(run: &Rc<Run>) {
    let mut visitors = JoinSet::new();
    for _ in 0..run.flags.concurrency {
        let run = Rc::clone(run);
        visitors.spawn_local(async move {
            let mut visitor = run.visitor();
            while run.goes_on() {
                let failed = run.measure(&mut visitor, Instant::now()).await;
                if failed {
                    sleep(PAUSE).await;
                }
            }
        });
    }
    while visitors.join_next().await.is_some() {}
}

/// Latency counts from the time at which the request was due, so that a stalled server cannot hide it.
async fn fixed_rate(run: &Rc<Run>, spacing: Duration) {
    let idle: Rc<RefCell<Vec<Visitor>>> = Rc::default();
    let mut visits = JoinSet::new();
    let mut due = run.began;
    while run.goes_on() {
        let (task_run, task_idle) = (Rc::clone(run), Rc::clone(&idle));
        visits.spawn_local(async move {
            let kept = task_idle.borrow_mut().pop();
            let mut visitor = kept.unwrap_or_else(|| task_run.visitor());
            task_run.measure(&mut visitor, due).await;
            task_idle.borrow_mut().push(visitor);
        });
        due += spacing;
        sleep_until(due).await;
    }
    while visits.join_next().await.is_some() {}
}

impl Run {
    fn visitor(&self) -> Visitor {
        Visitor::new(Rc::clone(&self.target), self.flags.expect_echo, self.flags.timeout)
    }

    fn goes_on(&self) -> bool {
        let begun = self.record.borrow().good() + self.record.borrow().failed() + *self.in_flight.borrow();
        self.flags.requests.is_none_or(|limit| begun < limit)
            && self.flags.duration.is_none_or(|limit| self.began.elapsed() < limit)
    }

    /// Whether the visit failed.
    async fn measure(&self, visitor: &mut Visitor, since: Instant) -> bool {
        *self.in_flight.borrow_mut() += 1;
        let outcome = visitor.visit().await;
        *self.in_flight.borrow_mut() -= 1;
        self.record.borrow_mut().add(outcome, since.elapsed());
        outcome.is_err()
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
            run.began.elapsed().as_secs_f64(),
            run.in_flight.borrow(),
            good - before,
        );
        before = good;
    }
}
