//! Every default, named, with its unit in its type and its reason beside it. `config/reference.toml` shows the
//! same values; a test compares them.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// All interfaces: a sidecar serves its pod's address.
pub(super) const LISTEN: &str = "0.0.0.0:8080";
/// Loopback: metrics and probes tell about traffic; a pod's scrape and probe address is set on purpose.
pub(super) const ADMIN: &str = "127.0.0.1:9180";
/// Kubernetes changes files and sends no signal.
pub(super) const WATCH: bool = true;
/// Who sends requests learns late that this process is unready.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// As long as endpoints take to leave load balancers in most clusters.
pub(super) const PROPAGATION: Duration = Duration::from_secs(5);
/// Exchanges that wait for a model may take this long to end at a shutdown.
pub(super) const DRAIN: Duration = Duration::from_secs(60);
/// Below the 75 s of common load balancers' idle time-outs.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);
/// A body that must be sent again is held in memory for the whole exchange.
pub(super) const MAX_BODY: usize = 8 * MIB;
/// Long enough for 8 MiB at 2 Mbit/s.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes nothing for this long is gone.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// All bodies and results of all exchanges.
pub(super) const BUFFERED: usize = 512 * MIB;
/// The page is on the admin listener, which is the operator's.
pub(super) const STATUS_PATHS: bool = true;

/// Where gunicorn listens by default.
pub(super) const BACKEND: &str = "127.0.0.1:8000";
/// gunicorn's own default.
pub(super) const WORKERS: usize = 1;
/// gunicorn's own default.
pub(super) const THREADS: usize = 1;
/// Below gunicorn's 30 s, so that Siding's answer comes before gunicorn kills the worker.
pub(super) const BACKEND_TIMEOUT: Duration = Duration::from_secs(25);
/// The app is on this machine or next to it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Below gunicorn's own keep-alive of 2 s.
pub(super) const BACKEND_KEEPALIVE: Duration = Duration::from_secs(1);
/// Most JSON answers fit, so that a slow client does not hold a worker.
pub(super) const RESPONSE_BUFFER: usize = MIB;
/// A second of work for a pool that serves a thousand requests a second.
pub(super) const QUEUE_CAPACITY: usize = 1000;
/// As many exchanges as may wait for providers on a machine with the usual 20,000 descriptors.
pub(super) const RESUME_CAPACITY: usize = 20_000;
/// People give up earlier than that.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_secs(15);

/// The environment variable both sides read.
pub(super) const SECRET_ENV: &str = "SIDING_SECRET";
/// Calls that one pass may ask for at once.
pub(super) const MAX_CALLS: usize = 8;
/// The largest prompt, as JSON.
pub(super) const MAX_CALL_BYTES: usize = 4 * MIB;
/// The largest answer of a provider.
pub(super) const MAX_RESULT: usize = 8 * MIB;
/// All results of one exchange.
pub(super) const MAX_JOURNAL: usize = 32 * MIB;
/// Trips of one request through workers.
pub(super) const MAX_PASSES: u32 = 16;
/// Well below the 60 s after which load balancers take a silent connection for dead.
pub(super) const RELAY_KEEPALIVE: Duration = Duration::from_secs(15);
/// Longer than any chat that a person waits for.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);

/// Providers answer a SYN at once or not at all.
pub(super) const PROVIDER_CONNECT: Duration = Duration::from_secs(3);
/// Reasoning models think for a minute and more before the first byte.
pub(super) const PROVIDER_FIRST_BYTE: Duration = Duration::from_secs(120);
/// Providers send keep-alives every few seconds in streams.
pub(super) const PROVIDER_IDLE: Duration = Duration::from_secs(60);
/// The SDKs' own default.
pub(super) const PROVIDER_TOTAL: Duration = Duration::from_secs(600);
/// One retry.
pub(super) const RETRY_ATTEMPTS: u32 = 2;
/// One call in ten.
pub(super) const RETRY_BUDGET: f64 = 0.1;
/// A provider that fails every second call serves nobody well.
pub(super) const BREAKER_FAILURES: f64 = 0.5;
/// A handful of failures is no trend.
pub(super) const BREAKER_MINIMUM: u32 = 20;
/// What was half a minute ago says little about now.
pub(super) const BREAKER_WINDOW: Duration = Duration::from_secs(30);
/// Retries would come back about then.
pub(super) const BREAKER_COOLDOWN: Duration = Duration::from_secs(5);
/// One could be luck.
pub(super) const BREAKER_PROBES: u32 = 2;
/// As many as may wait on a machine with the usual 20,000 descriptors: nobody waits without cause.
pub(super) const MOST_CONCURRENCY: usize = 20_000;
/// A refusal while fewer are under way tells of the account, or of others who use it.
pub(super) const LEAST_CONCURRENCY: usize = 10;
/// Most answers of chat models have begun by then.
pub(super) const HEDGE_AFTER: Duration = Duration::from_secs(2);
/// One call in twenty, which is the slow tail.
pub(super) const HEDGE_BUDGET: f64 = 0.05;

/// Two hundred thousand answers of a page each.
/// What names in Redis begin with.
pub(super) const REDIS_PREFIX: &str = "siding";
/// A command on the same network takes less than a millisecond; a request waits no longer than this for one that does not
/// come.
pub(super) const REDIS_TIMEOUT: Duration = Duration::from_millis(50);
/// Until a connection is given up and tried again.
pub(super) const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Until a process that leads a flight and is silent is taken to be dead.
pub(super) const REDIS_LEASE: Duration = Duration::from_secs(3);
pub(super) const CACHE_CAPACITY: usize = 256 * MIB;
/// The longest answers of models are a tenth of it.
pub(super) const CACHE_MAX_ENTRY: usize = 4 * MIB;
/// As many as may wait on a machine with the usual 20,000 descriptors.
pub(super) const MAX_FOLLOWERS: usize = 20_000;
/// Answers are shared in flight; how long they stay right is the operator's to say.
pub(super) const CACHE_TTL: Duration = Duration::ZERO;
/// Nothing is served stale unasked.
pub(super) const STALE: Duration = Duration::ZERO;
/// The whole prompt is in the call.
pub(super) const CALL_SCOPE: &str = "app";
/// They name who asks, or tune the provider's own cache; the model never sees them.
pub(super) const CACHE_IGNORE: [&str; 4] = ["user", "metadata", "safety_identifier", "prompt_cache_key"];

/// No app has its own pages there.
pub(super) const JOBS_PATH: &str = "/.siding/jobs";
/// A client that was away comes back within it.
pub(super) const JOB_RETENTION: Duration = Duration::from_secs(3600);
/// A thousand answers of JSON.
pub(super) const JOBS_CAPACITY: usize = 64 * MIB;
/// As large as an answer of a provider.
pub(super) const JOB_MAX_RESULT: usize = 8 * MIB;
/// Each holds its request's body.
pub(super) const MAX_JOBS: usize = 1000;
/// At the limit of common load balancers' idle time-outs.
pub(super) const JOB_MAX_WAIT: Duration = Duration::from_secs(60);
/// Django's SESSION_COOKIE_NAME.
pub(super) const JOB_COOKIES: [&str; 1] = ["sessionid"];

/// Siding's own lines; Pingora's only where something is wrong.
pub(super) const LOG_FILTER: &str = "warn,siding=info";

/// Enough to see slow ones among many, and little for a collector.
pub(super) const TRACE_SAMPLE: f64 = 0.1;
/// Two identities in one header: the vendors' support may ask for them.
pub(super) const TRACE_PROVIDERS: bool = true;
