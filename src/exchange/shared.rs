//! Whole answers of a route that are shared: what a request means, and one exchange for all that mean the same.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HOST, HeaderName, IF_MATCH,
    IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE, VARY,
};

use super::run::remove_conditions;
use super::{Account, Exchanges, Observer, Refused, Request};
use crate::cache::{
    Document, Key, KeyBuilder, NotStored, Place, Policy, RequestDirectives, ResponseDirectives, Rule, Scope,
    add_client, is_anybody, lasting,
};
use crate::handoff;
use crate::hop_by_hop;
use crate::media_type;
use crate::sharing::{Answer, Head, NotTaken, Publisher, Storable, Unanswered, Wanted, Work};
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;
use crate::time::wall_clock;
use crate::trace::SpanContext;

/// Whom and how the client asked, as far as it or somebody before us says: apps build links and redirects from these.
const ADDRESSED: [HeaderName; 5] = [
    HOST,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    FORWARDED,
];

/// What a request means, and who may share its answer.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// The same for requests that mean the same.
    pub key: Key,
    /// Who may share the answer, and for how long.
    pub policy: Policy,
}

/// An exchange whose answer is shared.
pub struct Shared<'a> {
    /// What its request means.
    pub meaning: Meaning,
    /// The route's rule.
    pub rule: &'a Rule,
    /// Its identity.
    pub exchange: handoff::Exchange,
    /// Whether the app may suspend.
    pub is_offered: bool,
    /// The client's request.
    pub request: Request,
    /// Its span.
    pub trace: SpanContext,
    /// Who looks on, if this exchange is the one that is run.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Meaning {
    /// Of a request as the app will see it: what it does not see must not tell requests apart, nor join them.
    pub fn of(rule: &Rule, request: &Request, exchanges: &Exchanges) -> Self {
        let Request { method, target, headers, body, .. } = request;
        let mut policy = Policy::new(rule.scope.clone(), rule.lifetimes);
        policy.tags.clone_from(&rule.tags);
        if rule.client_directives {
            policy.obey(RequestDirectives::of(headers));
        }
        // A part is no answer, and a precondition is the app's to check.
        if [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name)) {
            policy.obey(RequestDirectives { no_store: true, ..RequestDirectives::default() });
        }
        let mut key = KeyBuilder::default();
        key.add(b"route").add(rule.origin.as_bytes()).add(method.as_str().as_bytes()).add(target.as_bytes());
        for name in &ADDRESSED {
            key.add_values(headers, name);
        }
        if rule.scope == Scope::Credentials {
            add_client(key.add(b"credentials"), headers);
        }
        if body.is_empty() {
            return Self { key: key.finish(), policy };
        }
        key.add_values(headers, &CONTENT_TYPE).add_values(headers, &CONTENT_ENCODING);
        key.add_values(headers, &CONTENT_LANGUAGE);
        let raw = key.clone().add(b"raw").add(body).finish();
        let canonical = || {
            let document = is_json(headers).then(|| Document::read(body)).flatten()?;
            document.add_to(key.add(b"json"));
            Some(key.finish())
        };
        Self { key: exchanges.sharing.common.meaning_of(raw, canonical), policy }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = media_type::of(headers);
    let is_json = media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json");
    is_json && !headers.contains_key(CONTENT_ENCODING)
}

impl Exchanges {
    /// Runs an exchange, or shares the answer of another that means the same, to the head of the answer.
    ///
    /// # Errors
    /// Says why the app did not answer.
    ///
    /// # Cancel safety
    /// Dropping the future is leaving; the exchange goes on while others want its answer.
    pub async fn run_shared(self: &Arc<Self>, shared: Shared<'_>) -> Result<Answer<Refused>, Refused> {
        let Shared { meaning: Meaning { key, policy }, rule, exchange, is_offered, mut request, trace, observer } =
            shared;
        let asked = wall_clock();
        let wanted = Wanted {
            key,
            policy,
            place: Place::Route,
            origin: rule.origin.clone(),
            headers: request.headers.clone(),
            apart: Vec::new(),
            bound: self.config.limits.max_result,
        };
        if wanted.policy.scope != Scope::Nobody {
            remove_conditions(&mut request.headers); // the answer is for others too
        }
        // Those who send no credentials are everybody.
        let is_public = rule.scope == Scope::All || is_anybody(&request.headers);
        let work = Run { exchanges: Arc::clone(self), exchange, request, is_offered, is_public, trace, observer };
        let answer = self.sharing.answer(wanted, work).await;
        if let Ok(answer) = &answer {
            let _span = answer.found(&self.tracer, &trace, asked);
        }
        answer.map_err(|unanswered| match unanswered {
            Unanswered::NotCached => Reason::NotCached.into(),
            Unanswered::Failed(refused) => refused,
            Unanswered::Abandoned => Reason::Internal.into(),
        })
    }
}

/// An exchange on behalf of all who share its answer.
struct Run {
    exchanges: Arc<Exchanges>,
    exchange: handoff::Exchange,
    request: Request,
    is_offered: bool,
    is_public: bool,
    trace: SpanContext,
    observer: Option<Arc<dyn Observer>>,
}

#[async_trait]
impl Work<Refused> for Run {
    async fn run(self: Box<Self>, to: &Publisher<'_, Refused>) -> Result<Storable, Refused> {
        let _needs_app = self.exchanges.drain.enter();
        let mut answer = loop {
            let mut account = Account::new(Mode::Plain);
            account.observer.clone_from(&self.observer);
            account.trace = self.trace;
            let (exchange, request) = (self.exchange.clone(), self.request_again());
            let running = self.exchanges.run(self.is_offered, exchange, request, &mut account);
            match Box::pin(running).await {
                Ok(answer) => break answer,
                Err(refused) if self.may_help(refused.reason) && to.elect_successor() => {}
                Err(refused) => return Err(refused),
            }
        };
        hop_by_hop::remove(&mut answer.headers);
        let said = ResponseDirectives::of(&answer.headers);
        let varies = varies(&answer.headers);
        let mut head = Head::new(answer.status, answer.headers, Some(self.exchanges.buffers.lease()));
        head.leader = self.trace;
        head.is_private = varies.is_none()
            || answer.body.is_relayed() // its last pass is for its own client
            || head.headers.contains_key(SET_COOKIE)
            || said.no_store
            || (said.private && self.is_public);
        head.varies = varies.unwrap_or_default().into();
        let (status, kept, is_private) = (head.status, lasting(&head.headers), head.is_private);
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        to.begin(head).await;
        let mut received = 0;
        while let Some(piece) = answer.body.next().await {
            let piece = piece.map_err(|_| Refused::from(Reason::BackendClosed))?;
            let length = piece.len();
            to.push(piece).await.map_err(cut_short)?;
            received += length;
            if declared == Some(received) {
                break; // all is here, whatever the connection does now
            }
        }
        if answer.body.is_cut_short() {
            return Err(Reason::ProviderFailed.into());
        }
        Ok(match (status.is_success(), is_private) {
            (false, _) => Err(NotStored::Status),
            (true, true) => Err(NotStored::Private),
            (true, false) => Ok((said, kept)),
        })
    }

    fn cut_short(&self, why: NotTaken) -> Refused {
        cut_short(why)
    }
}

fn cut_short(why: NotTaken) -> Refused {
    match why {
        NotTaken::Full => Reason::BuffersFull.into(),
        NotTaken::Differs => Reason::BackendClosed.into(),
    }
}

impl Run {
    /// The body is accounted for once.
    fn request_again(&self) -> Request {
        let Request { method, target, headers, body, class, bulkhead, origin, .. } = &self.request;
        let (class, bulkhead, lease) = (*class, *bulkhead, self.exchanges.buffers.lease());
        let (method, target, headers, body) = (method.clone(), target.clone(), headers.clone(), body.clone());
        Request { method, target, headers, body, lease, class, bulkhead, origin: origin.clone() }
    }

    /// Whether another try may help, and can do no harm: nothing ran, or running twice means nothing.
    fn may_help(&self, reason: Reason) -> bool {
        let is_safe = self.request.method.is_safe() || self.request.method.as_str() == "QUERY";
        reason == Reason::BackendConnect
            || (is_safe && matches!(reason, Reason::BackendClosed | Reason::BackendTimeout | Reason::BackendProtocol))
    }
}

/// The request headers on which an answer depends; `None` when it depends on more than headers.
fn varies(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let values = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<HeaderName> = names.try_fold(Vec::new(), |mut names, name| {
        names.push(HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| name != "*")?);
        Some(names)
    })?;
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn vary(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(VARY, HeaderValue::from_static(value))])
    }

    #[test]
    fn an_answer_depends_on_the_headers_it_names_in_any_order_or_on_everything() {
        assert_eq!(varies(&vary("Origin, Accept-Language,origin")), varies(&vary("accept-language , origin")));
        assert_eq!(varies(&HeaderMap::new()), Some(vec![]));
        assert_eq!(varies(&vary("Accept, *")), None);
        assert_eq!(varies(&vary("no name")), None);
    }
}
