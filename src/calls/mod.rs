//! One call to a provider, whoever asks for it: what it means, who may share its answer, and the answer in the form
//! that was asked for. Told in order: `identity` says what the call means, `sharing` finds or fetches the answer,
//! `work` is how it is fetched, `reply` brings it into the caller's form. `limits` says which calls may be made at all where
//! somebody else decides that. It must never know what a client's request or
//! a pass is.

mod identity;
mod limits;
mod reply;
mod span;
mod twin;
mod work;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::buffers::Buffers;
use crate::cache::{Lifetimes, Place, Policy, RequestDirectives, Scope};
use crate::provider::{Failure, Provider, Request};
use crate::sharing::{Answer, Sharing, Unanswered, Wanted};
use crate::time::{Duration, wall_clock};
use crate::trace::{Span, SpanContext, Tracer};
use crate::usage::Meter;

pub use identity::{Identity, api, meaning_of_body};
pub use limits::{BadPattern, Beyond, Limits, Summary};
pub use reply::{Reply, ReplyBody};

/// How answers of calls are shared where neither view nor call says more.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long they may serve; a `ttl` of zero: in flight only.
    pub lifetimes: Lifetimes,
    /// Which calls share at all.
    pub when: When,
    /// Who shares.
    pub scope: Scope,
    /// Members of a call's JSON that mean nothing, at its top.
    pub ignore: Vec<String>,
    /// Headers that mean something, besides those that are known to.
    pub key_headers: Vec<HeaderName>,
    /// Bytes of an answer.
    pub max_result: usize,
}

/// Which calls share their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// Those at temperature 0 or with a seed, and embeddings.
    Deterministic,
    /// None.
    Never,
}

/// What the view says about one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// How long its answer is fresh.
    pub ttl: Option<Duration>,
    /// Who shares it.
    pub scope: Option<Scope>,
    /// Names by which it can be purged.
    pub tags: Vec<String>,
    /// Whether a stored answer will do.
    pub lookup: Option<bool>,
    /// Whether the answer may be stored.
    pub store: Option<bool>,
    /// How long it may serve in place of an error.
    pub stale_if_error: Option<Duration>,
    /// How long it may serve while it is fetched anew.
    pub stale_while_revalidate: Option<Duration>,
}

/// Where a call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A request of a route, which has this path pattern.
    Route(Arc<str>),
    /// A request that no route is for.
    NoRoute,
    /// An SDK outside a request.
    Egress,
}

impl Origin {
    /// The word for metric labels. Patterns begin with a slash, so that they are no other word.
    pub fn as_str(&self) -> &str {
        match self {
            Origin::Route(pattern) => pattern,
            Origin::NoRoute => "none",
            Origin::Egress => "egress",
        }
    }
}

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The headers by which whoever caused it is told apart.
    pub client: &'a HeaderMap,
    /// Where it comes from: with this, what it costs is counted.
    pub origin: &'a Origin,
    /// The span that it is below.
    pub trace: SpanContext,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// It wanted a stored answer or none.
    NotCached,
    /// The provider did not answer whole.
    Failed(Failure),
}

/// Everything a call needs.
#[derive(Debug)]
pub struct Calls {
    config: Config,
    sharing: Sharing<Failure>,
    buffers: Buffers,
    meter: Arc<Meter>,
    tracer: Tracer,
}

impl Calls {
    /// Puts the parts together.
    pub fn new(config: Config, sharing: Sharing<Failure>, buffers: Buffers, meter: Arc<Meter>, tracer: Tracer) -> Self {
        Self { config, sharing, buffers, meter, tracer }
    }

    /// Makes a call, or finds its answer.
    ///
    /// # Errors
    /// See [`NoReply`].
    ///
    /// # Cancel safety
    /// Dropping the future is leaving: the provider is still asked for as long as somebody else wants the answer.
    pub async fn make(
        &self,
        provider: &Provider,
        request: Request,
        said: &Directives,
        caller: &Caller<'_>,
    ) -> Result<Reply, NoReply> {
        let asked = wall_clock();
        let mut policy = self.policy(said);
        policy.obey(RequestDirectives::of(&request.headers));
        let identity = Identity::of(provider, &request, &self.config, &mut policy, caller.client);
        let wanted = Wanted {
            key: identity.key,
            policy,
            place: Place::Call,
            origin: provider.name().to_owned(),
            headers: HeaderMap::new(),
            apart: request.patience.map(|patience| patience.as_millis().to_le_bytes().to_vec()).unwrap_or_default(),
            bound: self.config.max_result,
        };
        let report = work::Report {
            meter: Arc::clone(&self.meter),
            origin: caller.origin.clone(),
            tracer: self.tracer.clone(),
            asker: caller.trace,
        };
        let fetch = || {
            let (lease, limit) = (self.buffers.lease(), self.config.max_result);
            work::Fetch::new(provider, request.clone(), &identity, lease, limit, report.clone())
        };
        let found = |answer: &Answer<Failure>| answer.found(&self.tracer, &caller.trace, asked);
        match reply(self.sharing.answer(wanted.clone(), fetch()).await, &identity, found).await {
            Err(Unfit::OtherForm) if wanted.policy.asked.only_if_cached => Err(NoReply::NotCached),
            Err(Unfit::OtherForm) => {
                // What others have cannot be brought into this caller's form.
                let alone = self.sharing.answer_alone(&wanted, fetch()).await;
                reply(alone, &identity, found).await.map_err(Unfit::into)
            }
            fit => fit.map_err(Unfit::into),
        }
    }

    fn policy(&self, said: &Directives) -> Policy {
        let Lifetimes { ttl, stale_while_revalidate, stale_if_error } = self.config.lifetimes;
        let lifetimes = Lifetimes {
            ttl: said.ttl.unwrap_or(ttl),
            stale_while_revalidate: said.stale_while_revalidate.unwrap_or(stale_while_revalidate),
            stale_if_error: said.stale_if_error.unwrap_or(stale_if_error),
        };
        let mut policy = Policy::new(said.scope.clone().unwrap_or_else(|| self.config.scope.clone()), lifetimes);
        policy.is_own_measure = true;
        policy.tags.clone_from(&said.tags);
        policy.lookup = said.lookup.unwrap_or(true);
        policy.store = said.store.unwrap_or(true);
        policy
    }
}

async fn reply(
    answer: Result<Answer<Failure>, Unanswered<Failure>>,
    identity: &Identity,
    found: impl FnOnce(&Answer<Failure>) -> Span,
) -> Result<Reply, Unfit> {
    match answer {
        Ok(answer) => {
            let span = found(&answer);
            Reply::new(answer, identity, span).await
        }
        Err(Unanswered::NotCached) => Err(Unfit::None(NoReply::NotCached)),
        Err(Unanswered::Failed(failure)) => Err(failure.into()),
        Err(Unanswered::Abandoned) => Err(reply::abandoned().into()),
    }
}

/// Why an answer is none for this caller.
enum Unfit {
    /// There is none.
    None(NoReply),
    /// It has a form that it cannot be brought out of.
    OtherForm,
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::None(NoReply::Failed(failure))
    }
}

impl From<Unfit> for NoReply {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::None(no_reply) => no_reply,
            Unfit::OtherForm => Self::Failed(reply::abandoned()), // an answer of one's own fits
        }
    }
}
