//! Requests that become jobs: begun here, told to the client, and carried out in a task that no client's leaving touches.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, Method, StatusCode};
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;

use super::context::{Context, Stage};
use super::deliver::Pieces;
use super::preview::Plan;
use super::{Gateway, buffered, finish, jobs, respond, span};
use crate::background::{Job, Phase, Preferences, Refusal, Rule, Running, TooLarge};
use crate::buffers::Lease;
use crate::drain::InFlight;
use crate::exchange::{Account, Broken, Counted, Meaning, Observer, Refused, Request, Shared, Step};
use crate::handoff::Exchange;
use crate::route::Policy;
use crate::sharing::Answer;
use crate::status::{Failed, Name, Subject};
use crate::telemetry::access_log::{self, Line};
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Outcome, Reason};
use crate::time::{Instant, timeout_at};
use crate::trace::{Kind, Span, SpanContext};

/// A request that was read whole, and whose client would rather not wait.
pub(super) struct Asked<'a> {
    pub(super) exchange: Exchange,
    pub(super) body: Bytes,
    pub(super) lease: Lease,
    pub(super) plan: Plan<'a>,
    pub(super) rule: &'a Rule,
}

/// What a job does.
struct Work {
    exchange: Exchange,
    request: Request,
    policy: Policy,
    is_offered: bool,
    began: Instant,
    /// The span of the request that began it.
    trace: SpanContext,
}

/// Begins the job, and tells the client of it, or its answer, if that comes soon enough.
pub(super) async fn run(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    asked: Asked<'_>,
) -> Result<bool> {
    context.account.mode = Mode::Jobs;
    let Asked { exchange, body, lease, plan, rule } = asked;
    let headers = &session.req_header().headers;
    let preferences = Preferences::of(headers);
    let Ok((running, caller)) = gateway.jobs.begin(headers, &exchange.id, rule) else {
        return respond::refuse(gateway, session, context, Reason::TooManyJobs.into()).await;
    };
    let Ok(mut request) = buffered::take_request(gateway, session, body, lease, plan.policy) else {
        return Ok(respond::gone(session, context));
    };
    Preferences::remove(&mut request.headers);
    // Whoever asks for the answer may understand less than who began the job, and its text is told while it comes.
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (is_offered, began, trace) = (plan.offer.is_some(), context.began, context.account.trace);
    let work = Work { exchange, request, policy: plan.policy, is_offered, began, trace };
    let in_flight = (gateway.drain.enter(), gateway.exchanges.metrics().begin());
    tokio::spawn(carry_out(gateway.clone(), work, running, in_flight));
    let Some(wait) = jobs::patience(gateway, &preferences) else {
        return jobs::accepted(gateway, session, context, caller).await;
    };
    let finished = tokio::select! {
        biased;
        finished = caller.wait(wait) => finished,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match finished {
        None => jobs::accepted(gateway, session, context, caller).await,
        Some(finished) => {
            let told = jobs::result(gateway, session, context, &finished, Some(wait)).await;
            if matches!(context.stage, Stage::Ended(Outcome::Answered)) {
                caller.answered().await;
            }
            told
        }
    }
}

/// Carries a job out to its end, or until its owner ends it. A shutdown waits until the result is where its owner finds
/// it.
async fn carry_out(gateway: Gateway, work: Work, running: Running, in_flight: (InFlight, Counted)) {
    let mut account = Account::new(Mode::Background);
    account.observer = Some(Arc::new(OnLooker(Arc::clone(running.job()))));
    let span = gateway.exchanges.tracer.child(&work.trace, "job", Kind::Internal);
    account.trace = span.context();
    let (id, began) = (work.exchange.id.clone(), work.began);
    let method = work.request.method.clone();
    let path = work.request.target.split('?').next().unwrap_or_default().to_owned();
    let name = work.request.name(&gateway.exchanges.status);
    let producing = Box::pin(buffered::contained(produce(&gateway, work, &running, &mut account)));
    let ended = tokio::select! {
        biased;
        ended = producing => Some(ended),
        () = running.cancelled() => None,
    };
    match ended {
        Some(ended) => running.finish(ended.err().map(refusal)).await,
        None => drop(running),
    }
    account.mode = Mode::Background;
    note(&gateway, &account, &Told { id: &id, method: &method, path: &path, name, began, span }, ended);
    drop(in_flight);
}

/// What the access log says of a job besides its account.
struct Told<'a> {
    id: &'a str,
    method: &'a Method,
    path: &'a str,
    name: Name,
    began: Instant,
    span: Span,
}

/// One outcome per exchange, here too.
fn note(gateway: &Gateway, account: &Account, told: &Told<'_>, ended: Option<Result<StatusCode, Refused>>) {
    let (outcome, status) = match ended {
        Some(Ok(status)) => (Outcome::Answered, status.as_u16()),
        Some(Err(refused)) => (Outcome::Refused(refused.reason), respond::status(refused.reason).as_u16()),
        None => (Outcome::ClientGone, 0),
    };
    span::describe(&told.span, told.id, account, outcome, (status != 0).then_some(status));
    let total = told.began.elapsed();
    gateway.exchanges.metrics().ended(account, outcome, total);
    if let Some(cause) = finish::cause(account.mode, outcome, StatusCode::from_u16(status).ok()) {
        let subject = Subject { id: told.id, method: told.method, name: told.name.clone(), mode: account.mode };
        gateway.exchanges.status.failed(Failed { subject, cause, status });
    }
    access_log::write(&Line {
        id: told.id,
        method: told.method.as_str(),
        path: told.path,
        status,
        mode: account.mode,
        outcome,
        passes: account.passes,
        calls: account.calls,
        total,
        queued: account.queued,
        working: account.working,
        calling: account.calling,
        trace_id: account.trace.trace_id(),
        user: "",
    });
}

fn refusal(refused: Refused) -> Refusal {
    let Refused { reason, retry_after } = refused;
    Refusal { reason, retry_after, status: respond::status(reason) }
}

/// Runs the exchange, or shares another's answer, and feeds what comes into the job.
async fn produce(
    gateway: &Gateway,
    work: Work,
    running: &Running,
    account: &mut Account,
) -> std::result::Result<StatusCode, Refused> {
    let exchanges = &gateway.exchanges;
    let deadline = work.began + exchanges.config.deadline;
    let Work { exchange, request, policy, is_offered, .. } = work;
    let Some(rule) = policy.sharing.and_then(|sharing| gateway.routes.cache(sharing)) else {
        let mut answer = exchanges.run(is_offered, exchange, request, account).await?;
        running.begin(answer.status, answer.headers).map_err(too_large)?;
        pour(gateway, &mut answer.body, running, deadline).await?;
        if answer.body.is_cut_short() {
            return Err(Reason::ProviderFailed.into()); // half an answer must not look like one
        }
        return Ok(answer.status);
    };
    let meaning = Meaning::of(rule, &request, exchanges);
    let (trace, observer) = (account.trace, account.observer.clone());
    let shared = Shared { meaning, rule, exchange, is_offered, request, trace, observer };
    match exchanges.run_shared(shared).await? {
        Answer::Stored { entry, status } => {
            running.begin(entry.status, entry.replayed(status)).map_err(too_large)?;
            running.push(entry.body.clone()).map_err(too_large)?;
            Ok(entry.status)
        }
        Answer::Live { head, mut reader, status } => {
            running.begin(head.status, head.headers_for(status)).map_err(too_large)?;
            pour(gateway, &mut reader, running, deadline).await?;
            Ok(head.status)
        }
    }
}

/// Moves a body into the job. What broke off is no answer.
async fn pour(
    gateway: &Gateway,
    body: &mut impl Pieces,
    running: &Running,
    deadline: Instant,
) -> std::result::Result<(), Refused> {
    let pouring = async {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|Broken| Refused::from(Reason::BackendClosed))?;
            running.push(piece).map_err(too_large)?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        poured = timeout_at(deadline, pouring) => poured.unwrap_or(Err(Reason::Deadline.into())),
        () = gateway.drain.is_cut() => Err(Reason::Draining.into()),
    }
}

fn too_large(_: TooLarge) -> Refused {
    tracing::warn!("the answer of a job is larger than background.max_result or background.capacity allow");
    Reason::ResultTooLarge.into()
}

/// Tells a job what its exchange does.
#[derive(Debug)]
struct OnLooker(Arc<Job>);

impl Observer for OnLooker {
    fn now(&self, step: Step, passes: u32, calls: u32) {
        let phase = match step {
            Step::Queued => Phase::Queued,
            Step::Working => Phase::Running,
            Step::Calling => Phase::Calling,
        };
        self.0.now(phase, passes, calls);
    }
}
