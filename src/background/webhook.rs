//! Webhooks (<https://www.standardwebhooks.com>, version 1.0.0): the operator's receiver is told of a job's end by a
//! signed request, which is sent again until it is taken, or until it has been tried often enough.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use sha2::Sha256;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use url::Url;

use super::metrics::{Metrics, Told};
use crate::drain::Drain;
use crate::secret::Secret;
use crate::time::{Duration, sleep, timeout, unix_millis, unix_seconds};
use crate::tls::{self, BadTrust, Client, Schemes, Trust};

/// Tries of one delivery.
const MOST_ATTEMPTS: u32 = 8;
/// The first pause between two of them; each further one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause. All tries together take a quarter of an hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// To a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// From the beginning of a try to the receiver's answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests to receivers at once.
const MOST_AT_ONCE: usize = 16;
/// Deliveries that are not done.
const MOST_PENDING: usize = 1000;
/// What begins a secret's text.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    key: Key,
}

#[derive(Clone)]
struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Not a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// The URL cannot be asked.
    #[error(
        "write an absolute http or https URL without credentials or fragment, such as https://app.example/jobs/hook"
    )]
    Url,
    /// The secret cannot sign.
    #[error(
        "the secret must be whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)"
    )]
    Secret,
}

impl Endpoint {
    /// A receiver at this URL, to whom is signed with this secret.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn new(url: &str, secret: &Secret) -> Result<Self, BadEndpoint> {
        let url = Url::parse(url).map_err(|_| BadEndpoint::Url)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
            return Err(BadEndpoint::Url);
        }
        let encoded = secret.expose().strip_prefix(SECRET_PREFIX).ok_or(BadEndpoint::Secret)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadEndpoint::Secret)?;
        if !SECRET_BYTES.contains(&key.len()) {
            return Err(BadEndpoint::Secret);
        }
        Ok(Self { url, key: Key(key) })
    }

    /// Whether it is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The value of `webhook-signature`.
    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn request(&self, message: &Message, timestamp: u64) -> Result<Request<Full<Bytes>>, http::Error> {
        Request::post(self.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.sign(&message.id, timestamp, &message.body))
            .body(Full::new(message.body.clone()))
    }
}

/// What a receiver is told, the same in every try.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// By which the receiver knows repetitions.
    id: String,
    body: Bytes,
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    status: u16,
    location: &'a str,
}

impl Message {
    /// A job ended with this status.
    pub(super) fn finished(id: &str, status: StatusCode, location: &str) -> Self {
        let data = Data { id, status: status.as_u16(), location };
        let event = Event { kind: "siding.job.finished", timestamp: super::rfc3339(unix_millis()), data };
        let body = serde_json::to_vec(&event).expect("strings and numbers always serialise");
        Self { id: format!("msg_{id}"), body: body.into() }
    }
}

/// Delivers webhooks. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(super) struct Webhooks {
    client: Client,
    at_once: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    drain: Drain,
    metrics: Arc<Metrics>,
}

impl Webhooks {
    /// Without connections. `uses_tls` says whether any receiver is reached over TLS.
    pub(super) fn new(uses_tls: bool, drain: Drain, metrics: Arc<Metrics>) -> Result<Self, BadTrust> {
        let trust = if uses_tls { Trust::system().for_use("webhooks")? } else { Trust::nobody() };
        Ok(Self {
            client: tls::client(tls::connector(trust, CONNECT_TIMEOUT, Schemes::Any)),
            at_once: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            pending: Arc::new(Semaphore::new(MOST_PENDING)),
            drain,
            metrics,
        })
    }

    /// Delivers a message in a task of its own, unless too many are pending.
    pub(super) fn send(&self, to: Endpoint, message: Message) {
        let (Ok(pending), Ok(runtime)) = (Arc::clone(&self.pending).try_acquire_owned(), Handle::try_current()) else {
            tracing::warn!(host = to.url.host_str(), MOST_PENDING, "a webhook was dropped: too many are not delivered");
            return self.metrics.told(Told::Dropped);
        };
        let delivery = Arc::new(Delivery { webhooks: self.clone(), to, message });
        // From here on, not from the task's first turn: a shutdown must not come between.
        let in_flight = self.drain.enter_without_app();
        self.metrics.webhooks_pending.inc();
        runtime.spawn(async move {
            let attempt = || Arc::clone(&delivery).attempt();
            let told = deliver(attempt, in_flight, || delivery.webhooks.drain.enter_without_app()).await;
            let Delivery { webhooks: Webhooks { metrics, .. }, to, message } = &*delivery;
            if told == Told::Failed {
                tracing::warn!(host = to.url.host_str(), id = message.id, "a webhook was not taken; no more tries");
            }
            metrics.told(told);
            metrics.webhooks_pending.dec();
            drop(pending);
        });
    }
}

/// A message on its way.
#[derive(Debug)]
struct Delivery {
    webhooks: Webhooks,
    to: Endpoint,
    message: Message,
}

impl Delivery {
    /// One try. The signature has the time of the try.
    async fn attempt(self: Arc<Self>) -> Attempt {
        let Self { webhooks, to, message } = &*self;
        let Ok(_turn) = webhooks.at_once.acquire().await else { return Attempt::Refused };
        webhooks.metrics.attempts.inc();
        let Ok(request) = to.request(message, unix_seconds()) else { return Attempt::Refused };
        let answer = match timeout(ATTEMPT_TIMEOUT, webhooks.client.request(request)).await {
            Ok(Ok(answer)) => answer.status(),
            Ok(Err(error)) => {
                tracing::debug!(host = to.url.host_str(), error = tls::innermost(&error), "a webhook failed");
                return Attempt::Failed;
            }
            Err(_) => return Attempt::Failed,
        };
        tracing::debug!(host = to.url.host_str(), status = answer.as_u16(), "a webhook was answered");
        match answer {
            // What it says of itself: nobody will ever take it there.
            StatusCode::GONE => Attempt::Refused,
            status if status.is_success() => Attempt::Taken,
            _ => Attempt::Failed,
        }
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Taken,
    /// Another may help.
    Failed,
    /// No other can help.
    Refused,
}

/// Tries until it is taken. A shutdown waits for a try under way (`held`), but not for the pause before the next.
async fn deliver<F: Future<Output = Attempt>, G>(attempt: impl Fn() -> F, mut held: G, hold: impl Fn() -> G) -> Told {
    for number in 1.. {
        match attempt().await {
            Attempt::Taken => return Told::Delivered,
            Attempt::Failed if number < MOST_ATTEMPTS => {}
            Attempt::Failed | Attempt::Refused => break,
        }
        drop(held);
        sleep(pause(number)).await;
        held = hold();
    }
    drop(held);
    Told::Failed
}

/// Before try number `number`, from 1: exponential, with jitter over its upper half.
fn pause(number: u32) -> Duration {
    let longer = FIRST_PAUSE.saturating_mul(4_u32.saturating_pow(number - 1));
    longer.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use std::cell::Cell;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn endpoint() -> Endpoint {
        Endpoint::new("https://app.example/hook", &Secret::new(SECRET)).unwrap()
    }

    #[test]
    fn a_signature_is_the_one_of_the_specifications_example() {
        let signature = endpoint().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_message_says_which_job_ended_how_and_where_its_answer_is() {
        let message = Message::finished("ab", StatusCode::OK, "/jobs/ab");
        let said: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(said["type"], "siding.job.finished");
        assert_eq!(said["data"], serde_json::json!({"id": "ab", "status": 200, "location": "/jobs/ab"}));
        assert_eq!(said["timestamp"].as_str().map(str::len), Some("2026-01-01T00:00:00.000Z".len()));
        assert_eq!(message.id, "msg_ab");
    }

    #[test]
    fn what_cannot_be_asked_or_signed_is_refused() {
        let secret = Secret::new(SECRET);
        for url in ["app.example/hook", "ftp://a/", "https://u:p@a/", "https://a/#f", "http:///x y"] {
            assert_eq!(Endpoint::new(url, &secret).unwrap_err(), BadEndpoint::Url, "{url}");
        }
        for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_!"] {
            let refused = Endpoint::new("https://a/", &Secret::new(secret)).unwrap_err();
            assert_eq!(refused, BadEndpoint::Secret, "{secret}");
        }
        assert!(!format!("{:?}", endpoint()).contains("49, 242"), "the key is not shown");
    }

    /// How often a receiver is tried that answers so, and what comes of it.
    async fn tried(answer: impl Fn(u32) -> Attempt) -> (Told, u32, Duration) {
        let (tries, began) = (Cell::new(0), Instant::now());
        let attempt = || {
            tries.set(tries.get() + 1);
            std::future::ready(answer(tries.get()))
        };
        let told = deliver(attempt, (), || ()).await;
        (told, tries.get(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_fails_is_tried_again_after_longer_and_longer_pauses() {
        let (told, tries, took) = tried(|n| if n < 3 { Attempt::Failed } else { Attempt::Taken }).await;
        assert_eq!((told, tries), (Told::Delivered, 3));
        assert!((Duration::from_millis(1250)..=Duration::from_millis(2502)).contains(&took), "{took:?}");
        let (told, tries, took) = tried(|_| Attempt::Failed).await;
        assert_eq!((told, tries), (Told::Failed, MOST_ATTEMPTS));
        assert!(took <= Duration::from_secs(900), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_is_gone_is_not_tried_again() {
        assert_eq!(tried(|_| Attempt::Refused).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_does_not_wait_for_a_pause() {
        let drain = Drain::new();
        let (tries, held_in_try) = (Cell::new(0), Cell::new(0));
        let attempt = || {
            tries.set(tries.get() + 1);
            held_in_try.set(held_in_try.get() + drain.in_flight());
            std::future::ready(if tries.get() == 2 { Attempt::Taken } else { Attempt::Failed })
        };
        let delivering = deliver(attempt, drain.enter(), || drain.enter());
        let mut delivering = std::pin::pin!(delivering);
        assert!(timeout(FIRST_PAUSE / 4, &mut delivering).await.is_err(), "it pauses");
        assert_eq!(drain.in_flight(), 0);
        assert_eq!(delivering.await, Told::Delivered);
        assert_eq!((tries.get(), held_in_try.get()), (2, 2));
    }
}
