//! The loop of an exchange: pass, calls, pass, calls, ..., answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::relay::{Begun, Opening, Relay};
use super::{Account, Answer, Exchanges, Refused, Request, Step};
use crate::admission::{Class, Permit};
use crate::backend::{self, Content, Fault, PassRequest, start_pass};
use crate::buffers::{Full, Lease};
use crate::cache::Key;
use crate::handoff::{self, Calls, Direction, Invalid, Journal, Offer, Pass, Signed};
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;
use crate::time::{Duration, Instant, timeout_at, unix_millis, unix_seconds};
use crate::trace::{Kind, Span, SpanContext};

/// The part of the deadline that is kept free for the last pass, at most a pass's own time-out.
const RESERVED_FOR_THE_LAST_PASS: u32 = 10;

/// One exchange under way. It owns all it needs, since it may outlive its client.
pub(super) struct Running {
    pub(super) all: Arc<Exchanges>,
    /// Whether the app may suspend.
    pub(super) is_offered: bool,
    /// Whether somebody reads an answer that is relayed.
    pub(super) is_read: bool,
    pub(super) exchange: handoff::Exchange,
    pub(super) request: Request,
    pub(super) journal: Journal,
    /// The identities of the journal's calls, in its order.
    pub(super) keys: Vec<Option<Key>>,
    /// Bytes in the journal.
    pub(super) held: usize,
    /// Memory of relayed streams in it.
    pub(super) leases: Vec<Lease>,
    pub(super) pass: u32,
    /// How long this pass waited for a worker.
    waited: Duration,
    pub(super) deadline: Instant,
    /// The exchange's span.
    pub(super) trace: SpanContext,
}

/// What a worker's answer turned out to be.
enum Reply {
    ForTheClient(backend::Answer),
    Calls(Calls),
}

/// How the loop ended.
pub(super) enum Turned {
    /// The app answered.
    Answer(backend::Answer),
    /// A provider does, for now.
    Relay(Box<Begun>),
}

impl Exchanges {
    /// A new exchange's identity and times.
    pub fn begin(&self) -> handoff::Exchange {
        let deadline = u64::try_from(self.config.deadline.as_millis()).unwrap_or(u64::MAX);
        handoff::Exchange::begin(unix_millis(), deadline)
    }

    /// Runs an exchange to the head of its answer. The app may suspend where it `is_offered`.
    ///
    /// # Errors
    /// Says why there is no answer.
    ///
    /// # Cancel safety
    /// Dropping the future means that the client left: its place in the queue is freed, its calls are cancelled,
    /// and a pass under way goes on to its end while holding its worker.
    pub async fn run(
        self: &Arc<Self>,
        is_offered: bool,
        exchange: handoff::Exchange,
        request: Request,
        account: &mut Account,
    ) -> Result<Answer, Refused> {
        let deadline = Instant::now() + self.config.deadline;
        let mut running = Running {
            all: Arc::clone(self),
            is_offered,
            is_read: true,
            exchange,
            request,
            journal: Journal::default(),
            keys: Vec::new(),
            held: 0,
            leases: Vec::new(),
            pass: 0,
            waited: Duration::ZERO,
            deadline,
            trace: account.trace,
        };
        loop {
            let begun = match running.run(account).await? {
                Turned::Answer(answer) => return Ok(answer.into()),
                Turned::Relay(begun) => begun,
            };
            match Box::pin(Relay::new(running, begun).open(account)).await? {
                Opening::Answer(answer) => return Ok(answer),
                Opening::Settled(settled) => running = *settled,
            }
            account.mode = Mode::Replay;
        }
    }
}

impl Running {
    /// Runs to an answer, within the deadline. Can be called again after a refusal: nothing is lost.
    pub(super) async fn run(&mut self, account: &mut Account) -> Result<Turned, Refused> {
        let (deadline, drain) = (self.deadline, self.all.drain.clone());
        tokio::select! {
            biased;
            ended = timeout_at(deadline, self.turn(account)) => ended.unwrap_or(Err(Reason::Deadline.into())),
            () = drain.is_cut() => Err(Reason::Draining.into()),
        }
    }

    async fn turn(&mut self, account: &mut Account) -> Result<Turned, Refused> {
        loop {
            let permit = self.admit(account).await?;
            let answer = Box::pin(self.pass(permit, account)).await?;
            let calls = match self.read(answer, account).await? {
                Reply::ForTheClient(answer) => return Ok(Turned::Answer(answer)),
                Reply::Calls(calls) => calls,
            };
            account.mode = Mode::Replay;
            if let Some(begun) = self.make_calls(calls, account).await? {
                account.mode = Mode::Relay;
                return Ok(Turned::Relay(begun));
            }
            self.pass += 1;
        }
    }

    pub(super) fn offer(&self) -> Option<&Offer> {
        self.all.offer.as_ref().filter(|_| self.is_offered)
    }

    async fn admit(&mut self, account: &mut Account) -> Result<Permit, Refused> {
        let asked = Instant::now();
        account.tell(Step::Queued);
        let (class, deadline) = match self.pass {
            0 => (self.request.class, self.deadline.min(asked + self.all.config.queue_timeout)),
            _ => (Class::Resume, self.deadline),
        };
        let span = self.all.tracer.child(&self.trace, "queue", Kind::Internal);
        let admitted = self.all.admission.admit(class, self.request.bulkhead, deadline).await;
        self.waited = asked.elapsed();
        account.queued += self.waited;
        span.set("siding.queue.class", class.as_str());
        admitted.map_err(|refusal| {
            self.keep_results();
            let refused = Refused::from(refusal);
            span.failed(refused.reason.as_str());
            refused
        })
    }

    async fn pass(&mut self, permit: Permit, account: &mut Account) -> Result<backend::Answer, Refused> {
        let began = Instant::now();
        account.passes += 1;
        account.tell(Step::Working);
        let status = &self.all.status;
        let slot = status.occupy(self.request.subject(&self.exchange.id, account.mode, status), self.pass);
        let span = self.pass_span();
        // The span goes with what frees the worker, and ends then.
        let held = (permit, self.all.drain.enter(), span.clone());
        let request = self.pass_request(&span.context());
        let answer = start_pass(&self.all.backend, request, slot, held).await;
        account.working += began.elapsed();
        pass_ended(&span, &answer);
        answer.map_err(|fault| {
            tracing::warn!(id = self.exchange.id, pass = self.pass, %fault, "the app did not answer");
            fault_reason(&fault).into()
        })
    }

    fn pass_span(&self) -> Span {
        let span = self.all.tracer.child(&self.trace, "pass", Kind::Client);
        span.rename(|| format!("pass {}", self.pass));
        span.set("siding.pass", self.pass);
        span.set_with("http.request.method", || Some(self.request.method.as_str().to_owned()));
        span
    }

    fn pass_request(&self, span: &SpanContext) -> PassRequest {
        let Request { method, target, headers, body, .. } = &self.request;
        let journal = self.journal.frame();
        let mut headers = headers.clone();
        if self.pass > 0 {
            remove_conditions(&mut headers);
        }
        if !journal.is_empty() || !body.is_empty() || headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, (journal.len() + body.len()).into());
        }
        headers.insert(REQUEST_START, request_start(self.waited));
        span.put(&mut headers);
        let pass = Pass { number: self.pass, method: method.as_str(), target, journal: &journal, body };
        if let Some(offer) = self.offer() {
            offer.add_to(&mut headers, &self.exchange, &pass, unix_seconds());
        }
        let content = Content::new([journal, body.clone()]);
        PassRequest { number: self.pass, method: method.clone(), target: target.clone(), headers, content }
    }

    async fn read(&mut self, mut answer: backend::Answer, account: &mut Account) -> Result<Reply, Refused> {
        if !handoff::is_call(answer.status, &answer.headers) {
            self.note(&answer.headers);
            account.route = take_internal(&mut answer.headers);
            return Ok(Reply::ForTheClient(answer));
        }
        let Some(offer) = self.offer() else {
            tracing::warn!(id = self.exchange.id, "the app handed over a call that it was not offered to");
            return Err(self.refuse(Reason::HandoffUnexpected));
        };
        let began = Instant::now();
        let signature = answer.headers.remove("siding-signature");
        let mut lease = self.all.buffers.lease();
        let document = collect(answer, self.all.config.limits.max_document(), &mut lease).await;
        account.working += began.elapsed();
        match document.and_then(|document| self.parse(offer, &document, signature.as_ref())) {
            Ok(calls) if self.pass + 1 >= self.all.config.limits.max_passes => {
                let sites: Vec<&str> = calls.calls.iter().map(|call| call.name.as_str()).collect();
                tracing::warn!(id = self.exchange.id, pass = self.pass, ?sites, "the app asked past the pass limit");
                Err(self.refuse(Reason::HandoffPassLimit))
            }
            Ok(calls) => Ok(Reply::Calls(calls)),
            Err(Unread::Broken) => Err(Reason::BackendClosed.into()),
            Err(Unread::NoMemory) => Err(Reason::BuffersFull.into()),
            Err(Unread::Invalid(invalid)) => {
                tracing::warn!(id = self.exchange.id, pass = self.pass, reason = %invalid, "refused a call of the app");
                Err(self.refuse(invalid_reason(&invalid)))
            }
        }
    }

    fn parse(&self, offer: &Offer, document: &Bytes, signature: Option<&HeaderValue>) -> Result<Calls, Unread> {
        let signed = Signed {
            direction: Direction::AppToProxy,
            id: &self.exchange.id,
            pass: self.pass,
            method: self.request.method.as_str(),
            target: &self.request.target,
            content: &[document],
        };
        let limits = &self.all.config.limits;
        handoff::parse(document, signature, offer.keys(), &signed, limits, unix_seconds()).map_err(Unread::Invalid)
    }

    pub(super) fn refuse(&self, reason: Reason) -> Refused {
        self.all.metrics().handoff_refused.with_label_values(&[reason.as_str()]).inc();
        reason.into()
    }

    /// Counts what the library reports about the journal.
    fn note(&self, headers: &HeaderMap) {
        let count = |name: &str| -> u64 {
            headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
        };
        self.all.metrics().drift.inc_by(count("siding-drift"));
        self.all.metrics().unconsumed.inc_by(count("siding-unconsumed"));
    }

    /// When calls must end so that a last pass still fits.
    pub(super) fn calls_deadline(&self) -> Instant {
        let Self { all, deadline, .. } = self;
        let reserved = all.config.pass_timeout.min(all.config.deadline / RESERVED_FOR_THE_LAST_PASS);
        deadline.checked_sub(reserved).unwrap_or(*deadline)
    }
}

/// Why a call document could not be read.
enum Unread {
    Broken,
    NoMemory,
    Invalid(Invalid),
}

async fn collect(mut answer: backend::Answer, limit: usize, lease: &mut Lease) -> Result<Bytes, Unread> {
    let mut document = BytesMut::new();
    while let Some(chunk) = answer.body.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if document.len() + chunk.len() > limit {
            return Err(Unread::Invalid(Invalid::Limit(format!("the call document has more than {limit} bytes"))));
        }
        lease.grow(chunk.len()).map_err(|Full| Unread::NoMemory)?;
        document.extend_from_slice(&chunk);
    }
    Ok(document.freeze())
}

/// Removes what the app says to Siding alone. Returns what it calls the route.
fn take_internal(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let route = headers.remove(ROUTE);
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(INTERNAL)).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
    route
}

/// A resumed pass must compute the same answer as the first, so nothing may make it partial or conditional.
pub(super) fn remove_conditions(headers: &mut HeaderMap) {
    const CONDITIONS: [HeaderName; 6] = [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ];
    for name in CONDITIONS {
        headers.remove(name);
    }
}

/// How headers begin that are between Siding and the app.
pub const INTERNAL: &str = "siding-";
/// In which the app names its route.
pub const ROUTE: HeaderName = HeaderName::from_static("siding-route");

/// The header in which tools that measure queueing in front of an app expect its beginning.
pub const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// When a request that has `waited` for a worker began to, as `X-Request-Start` has it: `t=` and Unix seconds with
/// milliseconds.
pub fn request_start(waited: Duration) -> HeaderValue {
    let began = Duration::from_millis(unix_millis()).saturating_sub(waited);
    HeaderValue::from_str(&format!("t={}.{:03}", began.as_secs(), began.subsec_millis()))
        .expect("digits are valid in a header")
}

/// What became of a pass, as far as the head of its answer tells.
pub(super) fn pass_ended(span: &Span, answer: &Result<backend::Answer, Fault>) {
    match answer {
        Ok(answer) => {
            span.set("http.response.status_code", answer.status.as_u16());
            span.set_with("siding.suspended", || handoff::is_call(answer.status, &answer.headers).then_some(true));
            if answer.status.is_server_error() {
                span.failed(answer.status.as_str().to_owned());
            }
        }
        Err(fault) => span.failed(fault_reason(fault).as_str()),
    }
}

pub(super) fn fault_reason(fault: &Fault) -> Reason {
    match fault {
        Fault::Connect(_) => Reason::BackendConnect,
        Fault::Closed(_) => Reason::BackendClosed,
        Fault::Timeout => Reason::BackendTimeout,
        Fault::Protocol(_) => Reason::BackendProtocol,
    }
}

fn invalid_reason(invalid: &Invalid) -> Reason {
    match invalid {
        Invalid::Signature | Invalid::Malformed(_) => Reason::HandoffInvalid,
        Invalid::Unsupported(_) => Reason::HandoffUnsupported,
        Invalid::Limit(_) => Reason::HandoffLimit,
    }
}
