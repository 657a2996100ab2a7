//! All jobs: begun here, found here, ended here.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::elsewhere::{Distant, Elsewhere, Known};
use super::job::{Ending, Job, New, OVERHEAD, Phase, TooLarge};
use super::metrics::{EndedAs, Got, Metrics};
use super::results::{Ended, Finished, LocalResults, Refusal};
use super::webhook::{Message, Webhooks};
use super::{Config, Rule};
use crate::buffers::{Buffers, Full};
use crate::drain::Drain;
use crate::redis::Redis;
use crate::telemetry::Registry;
use crate::time::{Duration, timeout, unix_millis};
use crate::tls::BadTrust;

/// Random bytes of an identity.
const ID: usize = 16;

/// All jobs of this process. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    under_way: Mutex<HashMap<String, Arc<Job>>>,
    results: LocalResults,
    /// Other processes, where there is a Redis.
    elsewhere: Option<Elsewhere>,
    /// Memory for answers.
    memory: Buffers,
    webhooks: Webhooks,
    metrics: Arc<Metrics>,
}

/// There are as many jobs under way as may be, or they hold all memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// A job, for its owner.
#[derive(Clone, Debug)]
pub enum Found {
    /// It is under way.
    Job(Arc<Job>),
    /// It is under way in another process.
    Distant(Distant),
    /// It ended.
    Finished(Arc<Finished>),
}

impl Jobs {
    /// None yet. `rules` are those that make jobs.
    ///
    /// # Errors
    /// Fails when a webhook's receiver is reached over TLS and there is nothing to trust.
    pub fn new<'a>(
        config: Config,
        rules: impl IntoIterator<Item = &'a Rule>,
        drain: Drain,
        redis: Option<Redis>,
        registry: &Registry,
    ) -> Result<Self, BadTrust> {
        let metrics = Arc::new(Metrics::new(registry));
        let uses_tls = rules.into_iter().filter_map(|rule| rule.webhook.as_ref()).any(super::Endpoint::is_tls);
        let help = "Memory held for the answers of jobs.";
        let memory = Buffers::named(config.capacity, registry, "job_result_bytes", help);
        Ok(Self(Arc::new(Shared {
            elsewhere: redis.map(|redis| Elsewhere::new(redis, config.retention, memory.clone())),
            under_way: Mutex::default(),
            results: LocalResults::new(config.retention, Arc::clone(&metrics)),
            memory,
            webhooks: Webhooks::new(uses_tls, drain, Arc::clone(&metrics))?,
            metrics,
            config,
        })))
    }

    /// Bounds.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Where a job is found.
    pub fn location(&self, id: &str) -> String {
        format!("{}/{id}", self.0.config.path)
    }

    /// The identity in the path of a request for a job; `None` for other requests. Whether there is such a job is
    /// another question.
    pub fn identity<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.0.config.path)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Begins a job for the owner of these request headers. The job is one of `exchange`.
    ///
    /// # Errors
    /// Fails when there are as many as may be.
    pub fn begin(&self, headers: &HeaderMap, exchange: &str, rule: &Rule) -> Result<(Running, Caller), TooMany> {
        self.0.results.purge();
        let mut lease = self.0.memory.lease();
        if !self.make_room(|| lease.grow(OVERHEAD)) {
            self.0.metrics.rejected.inc();
            return Err(TooMany);
        }
        let id = random_id();
        let new = New {
            owner: self.0.config.ownership.owner(&id, headers),
            id: id.clone(),
            exchange: exchange.to_owned(),
            created: unix_millis(),
            webhook: rule.webhook.clone(),
            lease,
        };
        let mut under_way = self.0.under_way.lock();
        if under_way.len() >= self.0.config.max_jobs {
            self.0.metrics.rejected.inc();
            return Err(TooMany);
        }
        let job = Arc::new(Job::new(new, Arc::clone(&self.0.metrics)));
        under_way.insert(id, Arc::clone(&job));
        let caller = Caller { jobs: self.clone(), job: Arc::clone(&job), is_answered: false };
        Ok((Running { jobs: self.clone(), job }, caller))
    }

    /// A job of the owner of these request headers. A job of somebody else is none.
    pub async fn find(&self, id: &str, headers: &HeaderMap) -> Option<Found> {
        let job = self.0.under_way.lock().get(id).cloned();
        // A job is stored before it is taken out there, so it is in one of the places.
        let found = match (job, self.0.results.get(id)) {
            (Some(job), _) => Found::Job(job),
            (None, Some(finished)) => Found::Finished(finished),
            (None, None) => self.find_elsewhere(id).await?,
        };
        let owner = match &found {
            Found::Job(job) => &job.owner,
            Found::Distant(distant) => &distant.owner,
            Found::Finished(finished) => &finished.owner,
        };
        self.0.config.ownership.is(owner, id, headers).then_some(found)
    }

    async fn find_elsewhere(&self, id: &str) -> Option<Found> {
        // Only what this or another process made is looked for.
        let is_identity = id.len() == 2 * ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let elsewhere = self.0.elsewhere.as_ref().filter(|_| is_identity)?;
        Some(match elsewhere.get(id).await? {
            Known::UnderWay(distant) => Found::Distant(distant),
            Known::Finished(finished) => Found::Finished(finished),
        })
    }

    /// Ends a job early, or forgets its result. It is not found any more.
    pub async fn remove(&self, found: &Found) {
        let id = match found {
            Found::Finished(finished) => &finished.id,
            Found::Distant(distant) => &distant.id,
            Found::Job(job) => {
                self.cancel(job);
                &job.id
            }
        };
        self.0.results.remove(id);
        if let Some(elsewhere) = &self.0.elsewhere {
            elsewhere.remove(id).await;
        }
    }

    /// Ends a job under way, unless it has ended.
    fn cancel(&self, job: &Job) {
        if job.end(Ending::Cancelled).is_some() {
            self.0.metrics.ended(EndedAs::Cancelled);
            self.0.under_way.lock().remove(&job.id);
        }
    }

    /// Drops the oldest results until there is memory. `false` when there is none without results either.
    fn make_room(&self, mut grow: impl FnMut() -> Result<(), Full>) -> bool {
        loop {
            match grow() {
                Ok(()) => return true,
                Err(Full) if self.0.results.evict() => {}
                Err(Full) => return false,
            }
        }
    }

    /// Counts what somebody who asked for a job got.
    pub fn got(&self, what: Got) {
        self.0.metrics.got(what);
    }

    /// Brings the metrics up to date that are not events.
    pub fn observe(&self) {
        self.0.results.purge();
    }

    /// Tells the receiver that a job ended, if there is one.
    fn tell(&self, job: &Job, finished: &Finished) {
        if let Some(endpoint) = job.webhook.clone() {
            let message = Message::finished(&job.id, finished.ended.status(), &self.location(&job.id));
            self.0.webhooks.send(endpoint, message);
        }
    }

    fn count_end(&self, ended: &Ended) {
        self.0.metrics.ended(match ended {
            Ended::Answered(_) => EndedAs::Answered,
            Ended::Refused(_) => EndedAs::Refused,
        });
    }
}

/// The work's end of a job. Dropping it ends the job as failed.
#[derive(Debug)]
pub struct Running {
    jobs: Jobs,
    job: Arc<Job>,
}

impl Running {
    /// The job.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// The work does something else now.
    pub fn now(&self, phase: Phase, passes: u32, calls: u32) {
        self.job.now(phase, passes, calls);
    }

    /// The beginning of the answer.
    ///
    /// # Errors
    /// Fails when there is no room for it.
    pub fn begin(&self, status: StatusCode, headers: HeaderMap) -> Result<(), TooLarge> {
        self.hold(headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum())?;
        self.job.begin(status, headers);
        Ok(())
    }

    /// Bytes of the answer. The oldest results make room for them.
    ///
    /// # Errors
    /// Fails when the answer has more than may be kept.
    pub fn push(&self, piece: Bytes) -> Result<(), TooLarge> {
        if self.job.length() + piece.len() > self.jobs.0.config.max_result {
            return Err(TooLarge);
        }
        self.hold(piece.len())?;
        self.job.push(piece);
        Ok(())
    }

    fn hold(&self, more: usize) -> Result<(), TooLarge> {
        if self.jobs.make_room(|| self.job.grow(more)) { Ok(()) } else { Err(TooLarge) }
    }

    /// Resolves when the owner ended the job; the work may stop then.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn cancelled(&self) {
        self.job.ended().await; // only `finish` ends it otherwise, and that takes this handle
    }

    /// Ends the job: with the answer that was published, or with a refusal in its place.
    pub async fn finish(self, refused: Option<Refusal>) {
        let Shared { results, memory, elsewhere, .. } = &*self.jobs.0;
        let finished = Arc::new(self.job.close(refused, memory.lease()));
        results.put(Arc::clone(&finished));
        if let Some(elsewhere) = elsewhere {
            // Before anybody is told of the end: whoever is may ask any process.
            let _ = elsewhere.put(&finished).await; // this process has it
        }
        if !self.publish(&finished) {
            // Its owner was faster.
            results.remove(&finished.id);
            if let Some(elsewhere) = elsewhere {
                elsewhere.remove(&finished.id).await;
            }
        }
    }

    /// `false` when the job has ended already.
    fn publish(&self, finished: &Arc<Finished>) -> bool {
        let Some(announced) = self.job.end(Ending::Finished(Arc::clone(finished))) else { return false };
        self.jobs.0.under_way.lock().remove(&self.job.id);
        self.jobs.count_end(&finished.ended);
        if announced {
            self.jobs.tell(&self.job, finished);
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.job.has_ended() {
            let refused = Some(Refusal::internal());
            self.publish(&Arc::new(self.job.close(refused, self.jobs.0.memory.lease())));
        }
    }
}

/// The end of a job's client, who has not been told of the job yet. Once it is dropped, the job's end is announced:
/// the client knows where to look, or is gone.
#[derive(Debug)]
pub struct Caller {
    jobs: Jobs,
    job: Arc<Job>,
    is_answered: bool,
}

impl Caller {
    /// The job.
    pub fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// Waits so long for the job's end.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn wait(&self, period: Duration) -> Option<Arc<Finished>> {
        match timeout(period, self.job.ended()).await {
            Ok(Ending::Finished(finished)) => Some(finished),
            Ok(Ending::Cancelled) | Err(_) => None,
        }
    }

    /// The client gets the answer itself, so nobody will look for it.
    pub async fn answered(mut self) {
        self.is_answered = true;
        self.jobs.0.results.remove(&self.job.id);
        if let Some(elsewhere) = &self.jobs.0.elsewhere {
            elsewhere.remove(&self.job.id).await;
        }
    }

    /// Other processes know of the job from here on. Comes before its client is told where to ask.
    pub async fn tell_others(&self) {
        let Some(elsewhere) = self.jobs.0.elsewhere.clone() else { return };
        let _ = elsewhere.tell(&self.job).await; // told again soon
        let (jobs, job) = (self.jobs.clone(), Arc::clone(&self.job));
        tokio::spawn(async move { elsewhere.accompany(&job, || jobs.cancel(&job)).await });
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        if let Some(Ending::Finished(finished)) = self.job.announce() {
            self.jobs.tell(&self.job, &finished);
        }
    }
}

fn random_id() -> String {
    let mut bytes = [0; ID];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}
