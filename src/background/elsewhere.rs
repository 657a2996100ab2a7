//! Jobs of other processes, by way of the Redis that they share: how those stand that are under way, and the results of
//! those that ended. A job under way is told of for as long as its process lives; then it is lost, and not found.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::job::{Job, Note, Phase};
use super::owner::Owner;
use super::results::{Answer, Ended, Finished, Refusal, number};
use crate::buffers::Buffers;
use crate::cache::Key;
use crate::cache::record::Headers;
use crate::redis::{self, Redis, Script, Unavailable};
use crate::sealed;
use crate::time::{Duration, Instant, sleep, timeout_at};

/// Between two signs of life of a job.
const BEAT: Duration = Duration::from_secs(2);
/// How long a job is believed to be under way without a sign of life.
const BELIEVED: Duration = Duration::from_secs(10);
/// Between two looks at a job of which the bell was missed.
const PATIENCE: Duration = Duration::from_secs(1);

/// KEYS: gone, standing. ARGV: standing, time. 0 when its owner has ended it.
const TELL: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
";

/// KEYS: gone, standing, result. ARGV: result, time, channel.
const PUT: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[3], '')
return 1
";

/// KEYS: gone, standing, result. ARGV: time, channel.
const REMOVE: &str = "
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('PUBLISH', ARGV[2], '')
return 1
";

/// What processes tell one another of their jobs. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    redis: Redis,
    retention: Duration,
    /// Memory for results that are read.
    memory: Buffers,
    scripts: Arc<Scripts>,
}

struct Scripts {
    tell: Script,
    put: Script,
    remove: Script,
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripts")
    }
}

/// A job under way in another process.
#[derive(Clone, Debug)]
pub struct Distant {
    /// What its owner asks for it by.
    pub id: String,
    /// When it began, in Unix milliseconds.
    pub created: u64,
    /// What it did when that was last told.
    pub phase: Phase,
    /// Trips through a worker that were begun.
    pub passes: u32,
    /// Calls to providers that were begun.
    pub calls: u32,
    /// Bytes of the answer so far.
    pub bytes: usize,
    pub(super) owner: Owner,
    at: Elsewhere,
}

/// What is known of a job elsewhere.
#[derive(Debug)]
pub(super) enum Known {
    UnderWay(Distant),
    Finished(Arc<Finished>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    owner: Owner,
    created: u64,
    phase: Phase,
    passes: u32,
    calls: u32,
    bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Left {
    exchange: String,
    owner: Owner,
    story: Vec<Note>,
    how: How,
}

#[derive(Debug, Serialize, Deserialize)]
enum How {
    Answered {
        #[serde(with = "number")]
        status: http::StatusCode,
        headers: Headers,
    },
    Refused(Refusal),
}

impl Elsewhere {
    pub(super) fn new(redis: Redis, retention: Duration, memory: Buffers) -> Self {
        let [tell, put, remove] = [TELL, PUT, REMOVE].map(Script::new);
        Self { redis, retention, memory, scripts: Arc::new(Scripts { tell, put, remove }) }
    }

    /// Tells of a job under way until it ends. Its owner may have ended it elsewhere: it is cancelled by `cancel` then.
    pub(super) async fn accompany(&self, job: &Job, cancel: impl FnOnce()) {
        loop {
            if matches!(self.tell(job).await, Ok(false)) {
                return cancel();
            }
            tokio::select! {
                _ = job.ended() => return,
                () = sleep(BEAT) => {}
            }
        }
    }

    /// Whether the job is wanted; it is where that cannot be had.
    pub(super) async fn tell(&self, job: &Job) -> Result<bool, Unavailable> {
        let Ok(snapshot) = job.snapshot() else { return Ok(true) };
        let standing = Standing {
            owner: job.owner,
            created: job.created,
            phase: snapshot.phase,
            passes: snapshot.passes,
            calls: snapshot.calls,
            bytes: snapshot.bytes,
        };
        let sealed = sealed::seal(place(&job.id).as_array(), &standing, &[]);
        let mut call = self.scripts.tell.key(self.name("job-gone", &job.id));
        call.key(self.name("job-standing", &job.id)).arg(&sealed[..]).arg(millis(BELIEVED));
        let wanted: u8 = self.redis.invoke(&call).await?;
        Ok(wanted == 1)
    }

    /// Keeps a result for all.
    pub(super) async fn put(&self, finished: &Finished) -> Result<(), Unavailable> {
        let Finished { id, exchange, owner, ended, story, .. } = finished;
        let (how, body) = match ended {
            Ended::Answered(Answer { status, headers, body }) => {
                (How::Answered { status: *status, headers: headers.into() }, body.clone())
            }
            Ended::Refused(refusal) => (How::Refused(*refusal), Bytes::new()),
        };
        let left = Left { exchange: exchange.clone(), owner: *owner, story: story.clone(), how };
        let sealed = sealed::seal(place(id).as_array(), &left, &body);
        let mut call = self.scripts.put.key(self.name("job-gone", id));
        call.key(self.name("job-standing", id)).key(self.name("job", id));
        call.arg(&sealed[..]).arg(millis(self.retention)).arg(self.name("job-bell", id));
        let _: u8 = self.redis.invoke(&call).await?;
        Ok(())
    }

    /// What is known of a job.
    pub(super) async fn get(&self, id: &str) -> Option<Known> {
        if !self.redis.is_up() {
            return None;
        }
        // On one server, so one command will do.
        let mut both = redis::cmd("MGET");
        both.arg(self.name("job", id)).arg(self.name("job-standing", id));
        let found: (Option<Vec<u8>>, Option<Vec<u8>>) = self.redis.run(&both).await.ok()?;
        match found {
            (Some(result), _) => self.finished(id, &result.into()).map(Known::Finished),
            (None, Some(standing)) => self.distant(id, &standing.into()).map(Known::UnderWay),
            (None, None) => None,
        }
    }

    fn finished(&self, id: &str, bytes: &Bytes) -> Option<Arc<Finished>> {
        let (Left { exchange, owner, story, how }, body) = sealed::open(place(id).as_array(), bytes)?;
        let mut lease = self.memory.lease();
        lease.grow(bytes.len()).ok()?;
        let ended = match how {
            How::Answered { status, headers } => Ended::Answered(Answer { status, headers: headers.read()?, body }),
            How::Refused(refusal) => Ended::Refused(refusal),
        };
        Some(Arc::new(Finished { id: id.to_owned(), exchange, owner, ended, story, _lease: lease }))
    }

    fn distant(&self, id: &str, bytes: &Bytes) -> Option<Distant> {
        let (standing, _) = sealed::open::<Standing>(place(id).as_array(), bytes)?;
        let Standing { owner, created, phase, passes, calls, bytes } = standing;
        Some(Distant { id: id.to_owned(), created, phase, passes, calls, bytes, owner, at: self.clone() })
    }

    /// Forgets a job everywhere, and ends it where it is under way.
    pub(super) async fn remove(&self, id: &str) {
        let mut call = self.scripts.remove.key(self.name("job-gone", id));
        call.key(self.name("job-standing", id)).key(self.name("job", id));
        call.arg(millis(BELIEVED * 3)).arg(self.name("job-bell", id));
        let removed: Result<u8, Unavailable> = self.redis.invoke(&call).await;
        if removed.is_err() {
            tracing::debug!("a job could not be removed from Redis; it goes when its time comes");
        }
    }

    /// Names of one job are on one server. The identity may be its only secret, so that names hold its hash.
    fn name(&self, kind: &str, id: &str) -> String {
        self.redis.name(kind, &place(id).to_string())
    }
}

impl Distant {
    /// Waits so long for its end; `None` while it is under way, or when it is lost.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn ended(&self, period: Duration) -> Option<Arc<Finished>> {
        let until = Instant::now() + period;
        let bell = self.at.redis.listen(self.at.name("job-bell", &self.id));
        loop {
            let rung = bell.rung();
            match self.at.get(&self.id).await {
                Some(Known::Finished(finished)) => return Some(finished),
                Some(Known::UnderWay(_)) => {}
                None if self.at.redis.is_up() => return None,
                None => {}
            }
            let pause = async {
                tokio::select! {
                    () = rung => {}
                    () = sleep(PATIENCE) => {}
                }
            };
            timeout_at(until, pause).await.ok()?;
        }
    }
}

fn place(id: &str) -> Key {
    Key::of([b"job".as_slice(), id.as_bytes()])
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
