//! A reply's body: sent at once or token by token, to the end or to the fault.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::dialect::{Script, Step, first_half};
use crate::stamp::{self, Stamp};
use crate::tally::{Ending, InFlight};
use crate::wire::WireFault;

/// Between the last bytes and a close.
const CLOSING: Duration = Duration::from_millis(20);

/// What follows the last step.
pub(crate) enum Tail {
    /// The end.
    End,
    /// Nothing, for ever.
    Silence,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset(WireFault),
}

impl Tail {
    fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

pub(crate) struct ReplyBody {
    steps: vec::IntoIter<Step>,
    /// The length that was announced.
    length: Option<u64>,
    pace: Option<Pace>,
    tail: Tail,
    /// When the call was here, if events are to tell when they are sent.
    stamped: Option<Duration>,
    /// Gives what was sent before a close the time to leave.
    closing: Option<Pin<Box<Sleep>>>,
    call: Option<InFlight>,
}

impl ReplyBody {
    /// A body that belongs to no call.
    pub(crate) fn plain(script: Script) -> Self {
        let length = (!script.streamed).then(|| length(&script.steps));
        let steps = script.steps.into_iter();
        Self { steps, length, pace: None, tail: Tail::End, stamped: None, closing: None, call: None }
    }

    /// The body of a call's reply, with `interval` between tokens.
    pub(crate) fn of_call(script: Script, interval: Duration, tail: Tail, call: InFlight) -> Self {
        let pace = script.steps.iter().any(Step::is_token).then(|| Pace::new(interval));
        let is_cut = !tail.is_end();
        let mut body = Self { pace, tail, call: Some(call), ..Self::plain(script) };
        if is_cut {
            body.steps = first_half(body.steps.collect()).into_iter();
        }
        body
    }

    /// Makes its events tell when they are sent, if it is said when the call was here.
    pub(crate) fn stamped(self, received: Option<Duration>) -> Self {
        Self { stamped: received, ..self }
    }

    fn after_the_steps(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.tail {
            Tail::End => return Poll::Ready(None),
            Tail::Silence => return Poll::Pending,
            Tail::Close | Tail::Reset(_) => {}
        }
        let closing = self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSING)));
        ready!(closing.as_mut().poll(cx));
        if let Tail::Reset(wire) = &self.tail {
            wire.reset();
        }
        self.end(Ending::Broken);
        Poll::Ready(Some(Err(io::Error::other("the call was to break off here"))))
    }

    fn end(&mut self, ending: Ending) {
        if let Some(call) = self.call.take() {
            call.end(ending);
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        match (this.steps.as_slice().first(), &mut this.pace) {
            (None, _) => return this.after_the_steps(cx),
            (Some(Step::Token(_)), Some(pace)) => ready!(pace.poll_due(cx)),
            _ => {}
        }
        let step = this.steps.next();
        if this.steps.as_slice().is_empty() && this.tail.is_end() {
            this.end(Ending::Completed);
        }
        let stamped = this.stamped;
        Poll::Ready(step.map(|step| Ok(Frame::data(on_its_way(step.into_bytes(), stamped)))))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_end() && self.steps.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// An event as it is sent, with its stamp if there is to be one.
fn on_its_way(event: Bytes, received: Option<Duration>) -> Bytes {
    match received {
        None => event,
        Some(received) => [Stamp { received, sent: stamp::now() }.line().as_bytes(), &event].concat().into(),
    }
}

fn length(steps: &[Step]) -> u64 {
    let of_step = |step: &Step| match step {
        Step::Now(bytes) | Step::Token(bytes) => bytes.len() as u64,
    };
    steps.iter().map(of_step).sum()
}

/// When tokens are due: at fixed times, so that a late one does not delay the rest.
struct Pace {
    interval: Duration,
    next: Pin<Box<Sleep>>,
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self { interval, next: Box::pin(sleep_until(Instant::now())) }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.next.as_mut().poll(cx));
        let following = self.next.deadline() + self.interval;
        self.next.as_mut().reset(following);
        Poll::Ready(())
    }
}
