//! Which of a provider's keys a call is made with. A key that was limited rests and another goes first; one that was
//! refused is left out for long. Limits are those of an account and a model, so they are kept apart by both; a provider
//! without keys has one entry for all, in which the app's own credentials are told apart.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::dialect::ACCOUNT;
use super::limits::Limits;
use super::metrics::Metrics;
use super::{Dialect, Key, Request, model, retry};
use crate::time::{Duration, Instant};

/// How long a key rests that was limited without a word on how long.
const REST: Duration = Duration::from_secs(1);
/// How long a refused key is left out. It may have been replaced, or granted what it lacked, meanwhile.
const OUT: Duration = Duration::from_secs(10 * 60);
/// How long a key that may not be used for a model rests for it.
const FORBIDDEN: Duration = Duration::from_secs(60);
/// Accounts and models whose limits are remembered for a key.
const MOST_SUBJECTS: usize = 16;
/// Bytes of a body that make a token, as far as can be said without reading it.
const BYTES_A_TOKEN: f64 = 4.0;

/// The keys of one provider and what is known of them.
#[derive(Debug)]
pub(super) struct Keys {
    dialect: Dialect,
    /// None where the app's own credentials are used.
    keys: Vec<Key>,
    /// One a key, but at least one.
    standings: Mutex<Vec<Standing>>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Until when it is left out, since it was refused.
    out_until: Option<Instant>,
    /// Oldest first.
    subjects: Vec<(u64, Known)>,
}

#[derive(Debug, Default)]
struct Known {
    rests_until: Option<Instant>,
    limited: Option<Instant>,
    limits: Limits,
}

/// What the limits of a call are about, found out once, where somebody asks for it.
#[derive(Debug)]
pub(super) struct Subject {
    hash: OnceLock<u64>,
    /// About how many the prompt has.
    tokens: f64,
}

/// The position of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen(usize);

impl Subject {
    pub(super) fn new(request: &Request) -> Self {
        Self { hash: OnceLock::new(), tokens: request.body.len() as f64 / BYTES_A_TOKEN }
    }
}

impl Keys {
    /// All keys in good standing.
    pub(super) fn new(dialect: Dialect, keys: Vec<Key>, metrics: Arc<Metrics>) -> Self {
        let standings = Mutex::new((0..keys.len().max(1)).map(|_| Standing::default()).collect());
        Self { dialect, keys, standings, hasher: RandomState::default(), metrics }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Until when a call must wait for a key; `None` where one is ready.
    pub(super) fn waits_until(&self, subject: &Subject, request: &Request) -> Option<Instant> {
        let now = Instant::now();
        self.best(subject, request, now).map(|(_, ready)| ready).filter(|ready| *ready > now)
    }

    /// The key that is ready, among those the one that was limited longest ago. Where none will be before `until`, the
    /// one that will be first: then the provider's own answer says more than Siding could. `None` where it is worth
    /// waiting.
    pub(super) fn take(&self, subject: &Subject, request: &Request, until: Instant) -> Option<Chosen> {
        let now = Instant::now();
        let Some((position, ready)) = self.best(subject, request, now) else { return Some(Chosen(0)) };
        if ready > now && ready <= until {
            return None;
        }
        let mut standings = self.standings.lock();
        if let Some(known) = standings[position].about(self.hash(subject, request)) {
            known.limits.take(subject.tokens, now);
        }
        Some(Chosen(position))
    }

    /// Puts a key into a request.
    pub(super) fn put(&self, chosen: Chosen, headers: &mut HeaderMap) {
        if let Some(key) = self.keys.get(chosen.0) {
            self.dialect.set_key(headers, &key.secret);
        }
    }

    /// Learns from an answer to a call with this key.
    pub(super) fn learn(
        &self,
        chosen: Chosen,
        (subject, request): (&Subject, &Request),
        (status, headers): (StatusCode, &HeaderMap),
    ) {
        let now = Instant::now();
        match status {
            StatusCode::UNAUTHORIZED => return self.leave_out(chosen, status, now),
            StatusCode::FORBIDDEN => return self.forbid(chosen, self.hash(subject, request), now),
            StatusCode::TOO_MANY_REQUESTS => self.rest(chosen, self.hash(subject, request), headers, now),
            _ if status.is_success() => self.standings.lock()[chosen.0].out_until = None,
            _ => {}
        }
        let Some(limits) = Limits::read(headers, now) else { return };
        if limits.is_scarce() {
            let hash = self.hash(subject, request);
            self.standings.lock()[chosen.0].about_or_new(hash).limits = limits;
        } else if !self.standings.lock()[chosen.0].subjects.is_empty() {
            let hash = self.hash(subject, request);
            if let Some(known) = self.standings.lock()[chosen.0].about(hash) {
                known.limits = limits;
            }
        }
    }

    fn rest(&self, chosen: Chosen, hash: u64, headers: &HeaderMap, now: Instant) {
        let unsaid = (self.keys.len() > 1).then_some(REST);
        let mut standings = self.standings.lock();
        let known = standings[chosen.0].about_or_new(hash);
        known.limited = Some(now);
        if let Some(rest) = retry::retry_after(headers).or(unsaid) {
            known.rests_until = now.checked_add(rest);
            self.metrics.key_rests(chosen.0);
        }
    }

    fn leave_out(&self, Chosen(position): Chosen, status: StatusCode, now: Instant) {
        let Some(key) = self.keys.get(position) else { return }; // the app's own
        let out_until = &mut self.standings.lock()[position].out_until;
        let is_known = out_until.replace(now + OUT).is_some();
        self.metrics.key_refused(position);
        if !is_known {
            let (provider, variable) = (&self.metrics.provider, &key.variable);
            tracing::warn!(%provider, %variable, %status, "a provider refused a key, which is left out from now on");
        }
    }

    /// A key that may not do this may do other things, and this prompt may be what was forbidden: it rests for this model,
    /// where another can take its place.
    fn forbid(&self, Chosen(position): Chosen, hash: u64, now: Instant) {
        if self.keys.is_empty() {
            return;
        }
        self.metrics.key_refused(position);
        let (provider, variable) = (&self.metrics.provider, &self.keys[position].variable);
        tracing::warn!(%provider, %variable, "a provider refused a key for a model, or what was asked of it (403)");
        if self.keys.len() > 1 {
            self.standings.lock()[position].about_or_new(hash).rests_until = Some(now + FORBIDDEN);
        }
    }

    /// Which key is ready first, and when. `None` where nothing speaks against any.
    fn best(&self, subject: &Subject, request: &Request, now: Instant) -> Option<(usize, Instant)> {
        if self.standings.lock().iter().all(Standing::is_unknown) {
            return None;
        }
        let hash = self.hash(subject, request);
        let standings = self.standings.lock();
        let ranked = standings.iter().enumerate().map(|(position, standing)| {
            let known = standing.subjects.iter().find(|(about, _)| *about == hash).map(|(_, known)| known);
            let ready = known.map_or(now, |known| known.ready_at(subject.tokens, now));
            let ready = ready.max(standing.out_until.unwrap_or(now));
            (ready, known.and_then(|known| known.limited), position)
        });
        ranked.min().map(|(ready, _, position)| (position, ready))
    }

    /// The model and, where the app's own credentials are used, whose they are.
    fn hash(&self, subject: &Subject, request: &Request) -> u64 {
        *subject.hash.get_or_init(|| {
            let own = self
                .keys
                .is_empty()
                .then(|| ACCOUNT.map(|name| request.headers.get(name).map(|value| value.as_bytes().to_owned())));
            let query = self.keys.is_empty().then(|| request.url.query());
            self.hasher.hash_one((model::of(self.dialect, request), own, query))
        })
    }
}

impl Standing {
    fn is_unknown(&self) -> bool {
        self.out_until.is_none() && self.subjects.is_empty()
    }

    fn about(&mut self, hash: u64) -> Option<&mut Known> {
        self.subjects.iter_mut().find(|(about, _)| *about == hash).map(|(_, known)| known)
    }

    fn about_or_new(&mut self, hash: u64) -> &mut Known {
        let position = self.subjects.iter().position(|(about, _)| *about == hash).unwrap_or_else(|| {
            if self.subjects.len() == MOST_SUBJECTS {
                self.subjects.remove(0);
            }
            self.subjects.push((hash, Known::default()));
            self.subjects.len() - 1
        });
        &mut self.subjects[position].1
    }
}

impl Known {
    fn ready_at(&self, tokens: f64, now: Instant) -> Instant {
        self.limits.ready_at(tokens, now).max(self.rests_until.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use http::HeaderValue;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
    const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;

    fn keys(count: usize) -> Keys {
        let key = |n: usize| Key { variable: format!("K{n}"), secret: Secret::new(format!("sk-{n}")) };
        let keys: Vec<Key> = (0..count).map(key).collect();
        let variables: Vec<&str> = ["K0", "K1", "K2"][..count.min(3)].to_vec();
        Keys::new(Dialect::Openai, keys, Metrics::of_one_with_keys("a", &variables))
    }

    fn request(model: &str, authorization: Option<&'static str>) -> Request {
        let headers = authorization.map(|value| (http::header::AUTHORIZATION, HeaderValue::from_static(value)));
        Request {
            method: http::Method::POST,
            url: "http://a/v1/chat/completions".parse().unwrap(),
            headers: headers.into_iter().collect(),
            body: format!(r#"{{"model":"{model}"}}"#).into(),
            patience: None,
        }
    }

    fn said(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    fn take(keys: &Keys, model: &str) -> Option<usize> {
        let request = request(model, None);
        keys.take(&Subject::new(&request), &request, Instant::now() + SECOND * 30).map(|chosen| chosen.0)
    }

    fn learn(keys: &Keys, key: usize, model: &str, status: StatusCode, headers: &HeaderMap) {
        let request = request(model, None);
        keys.learn(Chosen(key), (&Subject::new(&request), &request), (status, headers));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_key_rests_and_the_one_limited_longest_ago_goes_first() {
        let keys = keys(3);
        assert_eq!(take(&keys, "m"), Some(0));
        learn(&keys, 0, "m", LIMITED, &said("retry-after", "10"));
        assert_eq!(take(&keys, "m"), Some(1));
        advance(SECOND).await;
        learn(&keys, 1, "m", LIMITED, &said("retry-after", "1"));
        assert_eq!(take(&keys, "m"), Some(2));
        learn(&keys, 2, "m", LIMITED, &said("retry-after", "20"));
        assert_eq!(take(&keys, "m"), None, "the second is ready in a second");
        advance(SECOND).await;
        assert_eq!(take(&keys, "m"), Some(1));
        advance(SECOND * 10).await;
        assert_eq!(take(&keys, "m"), Some(0), "limited before the second");
    }

    #[tokio::test(start_paused = true)]
    async fn limits_are_those_of_one_model() {
        let keys = keys(2);
        learn(&keys, 0, "m", LIMITED, &HeaderMap::new());
        assert_eq!((take(&keys, "m"), take(&keys, "other")), (Some(1), Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_left_out_for_long_and_comes_back() {
        let keys = keys(2);
        learn(&keys, 0, "m", REFUSED, &HeaderMap::new());
        assert_eq!((take(&keys, "m"), take(&keys, "other")), (Some(1), Some(1)));
        advance(OUT).await;
        assert_eq!(take(&keys, "m"), Some(0));
        learn(&keys, 0, "m", StatusCode::OK, &HeaderMap::new());
        assert!(keys.standings.lock()[0].out_until.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_key_may_not_do_says_nothing_of_other_models_or_of_the_only_key() {
        let (two, one) = (keys(2), keys(1));
        learn(&two, 0, "m", StatusCode::FORBIDDEN, &HeaderMap::new());
        assert_eq!((take(&two, "m"), take(&two, "other")), (Some(1), Some(0)));
        advance(FORBIDDEN).await;
        assert_eq!(take(&two, "m"), Some(0));
        learn(&one, 0, "m", StatusCode::FORBIDDEN, &HeaderMap::new());
        assert_eq!(take(&one, "m"), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_key_is_ready_in_time_the_provider_is_asked_all_the_same() {
        let keys = keys(2);
        learn(&keys, 0, "m", REFUSED, &HeaderMap::new());
        advance(SECOND).await;
        learn(&keys, 1, "m", REFUSED, &HeaderMap::new());
        assert_eq!(take(&keys, "m"), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_bucket_makes_calls_wait_and_a_full_one_is_forgotten() {
        let keys = keys(1);
        let empty = HeaderMap::from_iter(
            said("x-ratelimit-remaining-requests", "0")
                .into_iter()
                .chain(said("x-ratelimit-reset-requests", "2s"))
                .filter_map(|(name, value)| Some((name?, value))),
        );
        learn(&keys, 0, "m", StatusCode::OK, &empty);
        let subject = request("m", None);
        assert_eq!(keys.waits_until(&Subject::new(&subject), &subject), Some(Instant::now() + SECOND * 2));
        assert_eq!(take(&keys, "m"), None);
        advance(SECOND * 2).await;
        assert_eq!(take(&keys, "m"), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_of_the_app_do_not_limit_one_another() {
        let keys = keys(0);
        let (one, two) = (request("m", Some("Bearer 1")), request("m", Some("Bearer 2")));
        keys.learn(Chosen(0), (&Subject::new(&one), &one), (LIMITED, &said("retry-after", "5")));
        let soon = Instant::now() + SECOND * 30;
        assert_eq!(keys.take(&Subject::new(&one), &one, soon), None);
        assert_eq!(keys.take(&Subject::new(&two), &two, soon), Some(Chosen(0)));
        keys.learn(Chosen(0), (&Subject::new(&two), &two), (REFUSED, &HeaderMap::new()));
        assert!(keys.standings.lock()[0].out_until.is_none(), "what the app sends is the app's business");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let keys = keys(1);
        for n in 0..100 {
            learn(&keys, 0, &format!("m{n}"), LIMITED, &said("retry-after", "5"));
        }
        assert_eq!(keys.standings.lock()[0].subjects.len(), MOST_SUBJECTS);
        assert_eq!((take(&keys, "m0"), take(&keys, "m99")), (Some(0), None));
    }

    #[test]
    fn a_key_is_put_where_its_dialect_wants_it() {
        let mut headers = HeaderMap::new();
        keys(2).put(Chosen(1), &mut headers);
        assert_eq!(headers["authorization"], "Bearer sk-1");
    }
}
