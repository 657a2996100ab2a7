//! Whether a call that a client makes itself may be made: the app is asked, with one request through a worker, before a
//! provider is. It cannot suspend in that request.

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, Method};

use super::grant::Grant;
use super::metrics::Authorized;
use super::run::{REQUEST_START, fault_reason, pass_ended, remove_conditions, request_start};
use super::users::Place;
use super::{Account, Exchanges, Refused};
use crate::admission::{Bulkhead, Class};
use crate::backend::{Answer, Content, PassRequest, start_pass};
use crate::calls::Summary;
use crate::handoff;
use crate::status::{self, Subject};
use crate::telemetry::Reason;
use crate::time::{Duration, Instant};
use crate::trace::{Kind, SpanContext};

const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const MODEL: HeaderName = HeaderName::from_static("siding-model");
const STREAM: HeaderName = HeaderName::from_static("siding-stream");

/// What the app can answer with: a client that wants a stream of the provider would otherwise be told that there is none.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, */*;q=0.1");

/// Headers of a request that describe its body, which the app does not get.
const OF_THE_BODY: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING];

/// The beginning of the headers by which browsers know which sites may read an answer.
const CORS: &str = "access-control-";

/// What the app is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// Where: an absolute path.
    pub path: &'a str,
    /// The client's method.
    pub method: &'a Method,
    /// The client's target.
    pub target: &'a str,
    /// The client's end-to-end headers, cleaned.
    pub headers: &'a HeaderMap,
    /// What the client's call is about.
    pub call: &'a Summary,
    /// The place of the request in the queue.
    pub class: Class,
    /// The limit it shares with others of its route.
    pub bulkhead: Option<Bulkhead>,
    /// How it is named where it is shown.
    pub name: status::Name,
}

/// What the app answered.
#[derive(Debug)]
pub enum Verdict {
    /// The call may be made.
    Granted {
        /// How.
        grant: Grant,
        /// What else the client is to be told.
        headers: HeaderMap,
    },
    /// It may not. This is for the client.
    Denied(Answer),
}

impl Exchanges {
    /// Asks the app.
    ///
    /// # Errors
    /// Says why the app did not answer, or not so that it could be understood. Nothing is granted then.
    ///
    /// # Cancel safety
    /// Dropping the future means that the client left: its place in the queue is freed, and a pass under way goes on to
    /// its end while holding its worker.
    pub async fn authorize(
        &self,
        exchange: &handoff::Exchange,
        question: Question<'_>,
        account: &mut Account,
    ) -> Result<Verdict, Refused> {
        let mut counted = self.metrics().authorizing();
        let asking = async {
            let answer = self.ask(exchange, question, account).await?;
            self.verdict(exchange, answer)
        };
        let verdict = tokio::select! {
            biased;
            verdict = asking => verdict,
            () = self.drain.is_cut() => Err(Reason::Draining.into()),
        };
        counted.ended(match &verdict {
            Ok(Verdict::Granted { .. }) => Authorized::Granted,
            Ok(Verdict::Denied(_)) => Authorized::Denied,
            Err(Refused { reason: Reason::AuthorizationInvalid | Reason::HandoffUnexpected, .. }) => {
                Authorized::Invalid
            }
            Err(_) => Authorized::Failed,
        });
        verdict
    }

    /// A place among the calls that the user has under way.
    ///
    /// # Errors
    /// The user has as many as the app allows.
    pub fn place(&self, grant: &Grant) -> Result<Option<Place>, Refused> {
        let Some(user) = &grant.user else { return Ok(None) };
        self.lasting.users.enter(user, grant.max_concurrent).map(Some).ok_or_else(|| Reason::UserLimit.into())
    }

    async fn ask(
        &self,
        exchange: &handoff::Exchange,
        question: Question<'_>,
        account: &mut Account,
    ) -> Result<Answer, Refused> {
        let asked = Instant::now();
        let deadline = asked + self.config.queue_timeout;
        let queue = self.tracer.child(&account.trace, "queue", Kind::Internal);
        let admitted = self.admission.admit(question.class, question.bulkhead, deadline).await;
        let waited = asked.elapsed();
        account.queued += waited;
        drop(queue);
        let span = self.tracer.child(&account.trace, "authorize", Kind::Client);
        let held = (admitted?, self.drain.enter(), span.clone());
        let began = Instant::now();
        account.passes += 1;
        let (id, method, name) = (exchange.id.as_str(), question.method, question.name.clone());
        let slot = self.status.occupy(Subject { id, method, name, mode: account.mode }, 0);
        let request = request(&question, &span.context(), waited);
        let answer = Box::pin(start_pass(&self.backend, request, slot, held)).await;
        account.working += began.elapsed();
        pass_ended(&span, &answer);
        answer.map_err(|fault| {
            tracing::warn!(id = exchange.id, %fault, "the app did not say whether a call may be made");
            fault_reason(&fault).into()
        })
    }

    fn verdict(&self, exchange: &handoff::Exchange, answer: Answer) -> Result<Verdict, Refused> {
        if handoff::is_call(answer.status, &answer.headers) {
            tracing::warn!(id = exchange.id, "the app handed over a call where it was asked whether one may be made");
            self.metrics().unexpected_call();
            return Err(Reason::HandoffUnexpected.into());
        }
        if !answer.status.is_success() {
            return Ok(Verdict::Denied(answer));
        }
        match Grant::of(&answer.headers) {
            Ok(grant) => Ok(Verdict::Granted { grant, headers: for_the_client(&answer.headers) }),
            Err(invalid) => {
                tracing::warn!(id = exchange.id, %invalid, "the app's Siding-Authorization cannot be understood");
                Err(Reason::AuthorizationInvalid.into())
            }
        }
    }
}

fn request(question: &Question<'_>, span: &SpanContext, waited: Duration) -> PassRequest {
    let mut headers = question.headers.clone();
    for name in &OF_THE_BODY {
        headers.remove(name);
    }
    remove_conditions(&mut headers);
    headers.insert(ACCEPT, ACCEPTED);
    headers.insert(REQUEST_START, request_start(waited));
    span.put(&mut headers);
    let Summary { model, is_stream } = question.call;
    let stream = HeaderValue::from_static(if *is_stream { "true" } else { "false" });
    headers.insert(STREAM, stream);
    let texts = [
        (ORIGINAL_METHOD, Some(question.method.as_str())),
        (ORIGINAL_URI, Some(question.target)),
        (MODEL, model.as_deref()),
    ];
    for (name, text) in texts {
        headers.remove(&name); // the client's own
        headers.extend(text.and_then(|text| HeaderValue::from_str(text).ok()).map(|value| (name, value)));
    }
    let (method, target) = (Method::GET, question.path.to_owned());
    PassRequest { number: 0, method, target, headers, content: Content::new([]) }
}

/// What the app says to the client, whoever answers it.
fn for_the_client(headers: &HeaderMap) -> HeaderMap {
    let is_meant = |name: &HeaderName| name == SET_COOKIE || name == VARY || name.as_str().starts_with(CORS);
    let meant = headers.iter().filter(|(name, _)| is_meant(name));
    meant.map(|(name, value)| (name.clone(), value.clone())).collect()
}
