//! One vendor and all that is known of how it fares: one call to it, with its tries. A try is a key, a place, and the
//! breaker's leave; then the request, whose head teaches them all.

use std::sync::Arc;

use http::StatusCode;

use super::attempt::{self, Attempt};
use super::breaker::{Breaker, Ticket};
use super::concurrency::{Limiter, Permit};
use super::hedge::{self, Winner};
use super::keys::{Chosen, Keys, Subject};
use super::metrics::{Metrics, Wait};
use super::retry::{self, Budget};
use super::transport::{Received, Transport};
use super::{Config, Failure, HedgeConfig, Request, Unasked};
use crate::time::{Duration, Instant, sleep, sleep_until, timeout_at};
use crate::tls::{BadTrust, Trust};
use crate::trace::{Span, Value};

/// The longest wait for the reset of a rate limit. Beyond it the provider's own answer says more.
const LONGEST_RESET: Duration = Duration::from_secs(30);
/// The same where somebody else can be asked instead.
const LONGEST_RESET_WITH_FALLBACK: Duration = Duration::from_secs(1);
/// When to come back where no place became free in time.
const CROWDED: Duration = Duration::from_secs(1);

/// A vendor.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    pub(super) breaker: Breaker,
    transport: Transport,
    retries: Budget,
    hedges: Budget,
    keys: Keys,
    limiter: Limiter,
}

/// A call to a vendor.
pub(super) struct Call<'a> {
    /// With the key of the last try.
    pub(super) request: &'a mut Request,
    /// When it has taken too long, with all its tries.
    pub(super) deadline: Instant,
    /// Whether somebody else can be asked after this.
    pub(super) has_fallback: bool,
    /// Told of tries after the first.
    pub(super) span: &'a Span,
}

/// An answer that began, and the place that it occupies until its end.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) received: Received,
    pub(super) permit: Permit,
}

/// What a try needs before it is sent.
struct Admitted<'a> {
    key: Chosen,
    permit: Permit,
    ticket: Ticket<'a>,
}

impl Upstream {
    /// In good health, without connections.
    pub(super) fn new(config: Config, metrics: Metrics, trust: &Trust) -> Result<Self, BadTrust> {
        let metrics = Arc::new(metrics);
        Ok(Self {
            transport: Transport::new(&config, trust)?,
            breaker: Breaker::new(config.breaker, Arc::clone(&metrics)),
            retries: Budget::new(config.retry.budget),
            hedges: Budget::new(config.hedge.map_or(0.0, |hedge| hedge.budget)),
            keys: Keys::new(config.dialect, config.keys.clone(), Arc::clone(&metrics)),
            limiter: Limiter::new(config.concurrency, Arc::clone(&metrics)),
            metrics,
            config,
        })
    }

    /// The host, for messages.
    pub(super) fn host(&self) -> String {
        self.config.base_url.host().to_owned()
    }

    /// Tries a call, again while that may help: as often as the budget allows, and for as long as `more` grants tries.
    /// A key that was limited or refused makes room for the next at once.
    pub(super) async fn call(&self, call: &mut Call<'_>, more: impl Fn() -> bool) -> Result<Begun, Failure> {
        self.retries.deposit();
        self.hedges.deposit();
        let subject = Subject::new(call.request);
        let (mut number, mut further_keys) = (1, self.keys.len().saturating_sub(1));
        loop {
            let tried = self.attempt(call, &subject).await;
            if further_keys > 0 && is_about_the_key(&tried) && self.has_key_ready(call, &subject) {
                further_keys -= 1;
                call.span.event("another key", || why(&tried));
                continue;
            }
            let Some(pause) = self.pause(&tried, number, call.deadline) else { return tried };
            let is_own = number < self.config.retry.attempts && self.retries.withdraw();
            if !is_own && !more() {
                return tried;
            }
            call.span.event("retry", || why(&tried));
            drop(tried);
            tracing::debug!(provider = self.config.name, number, ?pause, "trying a call again");
            sleep(pause).await;
            self.metrics.retry();
            number += 1;
        }
    }

    /// Whether somebody else should be asked: it did not begin to answer, or only with trouble that may pass, or it
    /// refused the keys that are Siding's.
    pub(super) fn is_out(&self, tried: &Result<Begun, Failure>) -> bool {
        match tried {
            Ok(Begun { received, .. }) => {
                let is_refused = matches!(received.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                retry::is_transient(received.status) || (is_refused && self.keys.len() > 0)
            }
            Err(failure) => matches!(failure, Failure::Unavailable { .. }) || retry::may_help_after(failure),
        }
    }

    /// How long to wait before another try; `None` where none may help.
    fn pause(&self, tried: &Result<Begun, Failure>, number: u32, deadline: Instant) -> Option<Duration> {
        let (retriable, asked) = match tried {
            Ok(Begun { received, .. }) => {
                (retry::may_help(received.status, &received.headers), Some(&received.headers))
            }
            Err(failure) => (retry::may_help_after(failure), None),
        };
        let pause = retriable.then(|| retry::pause(number, asked)).flatten()?;
        let is_in_time = Instant::now() + pause < deadline;
        (is_in_time && self.breaker.refuses().is_none()).then_some(pause)
    }

    fn has_key_ready(&self, call: &Call<'_>, subject: &Subject) -> bool {
        self.keys.waits_until(subject, call.request).is_none()
    }

    async fn attempt(&self, call: &mut Call<'_>, subject: &Subject) -> Result<Begun, Failure> {
        let admitted = self.admit(call, subject).await?;
        self.keys.put(admitted.key, &mut call.request.headers);
        match self.config.hedge {
            None => self.send(admitted, call.request, subject, call.deadline).await,
            // Boxed, or every call would be as large as one with a second request.
            Some(hedge) => Box::pin(self.send_hedged(hedge, admitted, call, subject)).await,
        }
    }

    /// A key that may be used, a place, and leave of the breaker, as soon as they are to be had.
    async fn admit(&self, call: &Call<'_>, subject: &Subject) -> Result<Admitted<'_>, Failure> {
        let (now, timeouts) = (Instant::now(), &self.config.timeouts);
        let patient_until = call.request.until(now, timeouts.first_byte, call.deadline);
        let longest_reset = if call.has_fallback { LONGEST_RESET_WITH_FALLBACK } else { LONGEST_RESET };
        let reset_until = patient_until.min(now + longest_reset);
        loop {
            // Nobody waits for what is refused in the end.
            if let Some(after) = self.breaker.refuses() {
                return Err(self.refused(after));
            }
            match self.keys.waits_until(subject, call.request) {
                Some(ready) if ready <= reset_until => {
                    let _waiting = self.metrics.waits(Wait::RateLimit);
                    sleep_until(ready).await;
                }
                Some(ready) if call.has_fallback => return Err(self.limited(ready)),
                // Where none will be ready in time, the provider's own answer says more than Siding could.
                Some(_) | None => {}
            }
            let permit = timeout_at(patient_until, self.limiter.acquire()).await;
            let permit = permit.map_err(|_| self.crowded(patient_until < call.deadline))?;
            // Another call may have taken what this one waited for.
            if let Some(key) = self.keys.take(subject, call.request, reset_until) {
                let ticket = self.breaker.enter().map_err(|after| self.refused(after))?;
                return Ok(Admitted { key, permit, ticket });
            }
        }
    }

    /// The same for a request that is not worth waiting for.
    fn admit_now(&self, request: &Request, subject: &Subject) -> Option<Admitted<'_>> {
        if self.keys.waits_until(subject, request).is_some() || self.breaker.refuses().is_some() {
            return None;
        }
        let permit = self.limiter.try_acquire()?;
        let ticket = self.breaker.enter().ok()?;
        let key = self.keys.take(subject, request, Instant::now())?;
        Some(Admitted { key, permit, ticket })
    }

    /// Sends a request and learns from how it fares.
    async fn send(
        &self,
        admitted: Admitted<'_>,
        request: &Request,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Begun, Failure> {
        let Admitted { key, permit, ticket } = admitted;
        let Config { base_url, timeouts, .. } = &self.config;
        self.metrics.attempt();
        let attempt = Attempt { transport: &self.transport, host: base_url.host(), timeouts, deadline };
        let sent = attempt::make(&attempt, request, |after| self.metrics.first_byte(after)).await;
        if let Ok(received) = &sent {
            self.keys.learn(key, (subject, request), (received.status, &received.headers));
        }
        ticket.end(is_failure(&sent));
        match &sent {
            // Another key may still have room, so this is not about the provider.
            Ok(Received { status: StatusCode::TOO_MANY_REQUESTS, .. })
                if self.keys.len() > 1 && self.keys.waits_until(subject, request).is_none() => {}
            sent if is_overload(sent) => permit.overloaded(),
            sent if !is_failure(sent) => permit.succeeded(),
            _ => {}
        }
        Ok(Begun { received: sent?, permit })
    }

    /// Sends a second request where the first takes long and nothing speaks against it.
    async fn send_hedged(
        &self,
        hedge: HedgeConfig,
        admitted: Admitted<'_>,
        call: &Call<'_>,
        subject: &Subject,
    ) -> Result<Begun, Failure> {
        let deadline = call.deadline;
        let first = self.send(admitted, call.request, subject, deadline);
        let second = || {
            if !hedge::may_repeat(self.config.dialect, call.request) {
                return None;
            }
            let mut request = call.request.clone();
            let admitted = self.admit_now(&request, subject)?;
            if !self.hedges.withdraw() {
                return None;
            }
            self.keys.put(admitted.key, &mut request.headers);
            self.metrics.hedged();
            call.span.event("hedge", Vec::new);
            Some(async move { self.send(admitted, &request, subject, deadline).await })
        };
        let is_good = |sent: &Result<Begun, Failure>| {
            sent.as_ref().is_ok_and(|begun| !retry::is_transient(begun.received.status))
        };
        let (sent, winner) = hedge::race(first, hedge.after, second, is_good).await;
        if winner == Winner::Second {
            self.metrics.hedge_won();
        }
        sent
    }

    fn refused(&self, retry_after: Duration) -> Failure {
        self.metrics.breaker_refused();
        Failure::Unavailable { host: self.host(), cause: Unasked::Breaker, retry_after }
    }

    fn limited(&self, until: Instant) -> Failure {
        let retry_after = until.saturating_duration_since(Instant::now());
        Failure::Unavailable { host: self.host(), cause: Unasked::RateLimit, retry_after }
    }

    fn crowded(&self, is_in_time: bool) -> Failure {
        if is_in_time {
            Failure::Unavailable { host: self.host(), cause: Unasked::Concurrency, retry_after: CROWDED }
        } else {
            Failure::TotalTimeout(self.host())
        }
    }
}

/// What is said of a try that another follows.
fn why(tried: &Result<Begun, Failure>) -> Vec<(&'static str, Value)> {
    vec![match tried {
        Ok(begun) => ("http.response.status_code", begun.received.status.as_u16().into()),
        Err(failure) => ("error.type", failure.as_str().into()),
    }]
}

/// Whether the provider failed, as far as its breaker is concerned: what it refuses on purpose is no failure.
fn is_failure(sent: &Result<Received, Failure>) -> bool {
    sent.as_ref().map_or(true, |received| received.status.is_server_error())
}

/// Whether the provider has too much to do.
fn is_overload(sent: &Result<Received, Failure>) -> bool {
    match sent {
        Ok(received) => matches!(received.status.as_u16(), 429 | 503 | 529),
        Err(failure) => {
            matches!(failure, Failure::ConnectTimeout(_) | Failure::FirstByteTimeout(_) | Failure::TotalTimeout(_))
        }
    }
}

/// Whether another key may fare better.
fn is_about_the_key(tried: &Result<Begun, Failure>) -> bool {
    tried.as_ref().is_ok_and(|begun| matches!(begun.received.status.as_u16(), 401 | 403 | 429))
}
