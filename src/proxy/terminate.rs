//! Requests that a provider answers: the app says whether it may, then the call is made with the provider's key, and no
//! worker is held while the model speaks. Neither side sees what the other is trusted with: the client's credentials
//! stay here, and so do the provider's.

use http::HeaderMap;
use http::header::{
    ACCEPT, ALT_SVC, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, SET_COOKIE, STRICT_TRANSPORT_SECURITY, USER_AGENT,
};
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;
use url::form_urlencoded;

use super::body::Unread;
use super::call::{self, Call};
use super::context::{Context, Granted};
use super::{Gateway, buffered, request, respond};
use crate::backend::Answer;
use crate::calls::{self, Beyond, Reply, Summary};
use crate::exchange::{Grant, Place, Question, Refused, Request, Suspended, Verdict};
use crate::handoff::Exchange;
use crate::media_type;
use crate::provider::{self, Provider};
use crate::relay::{Format, Translator};
use crate::route::{Policy, Termination};
use crate::status::Waiting;
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;

/// What a provider is told of a client's headers. Nothing else: an app may take any header for a credential.
const TOWARDS_PROVIDER: [HeaderName; 8] = [
    ACCEPT,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    USER_AGENT,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("idempotency-key"),
];

/// Parameters of a query in which clients send credentials.
const CREDENTIALS: [&str; 8] =
    ["key", "api_key", "api-key", "apikey", "token", "access_token", "oauth_token", "auth_token"];

/// What a provider says of its own site, or of the account that its key belongs to.
const OF_THE_PROVIDER: [HeaderName; 10] = [
    SET_COOKIE,
    STRICT_TRANSPORT_SECURITY,
    ALT_SVC,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("anthropic-organization-id"),
];
/// The beginning of the headers by which browsers know which sites may read an answer: the app's to say.
const CORS: &str = "access-control-";

/// Who answers.
enum Answered {
    /// The app, in the provider's place.
    ByApp(Answer),
    /// The provider.
    ByProvider(Box<Provided>),
}

/// A provider's answer.
struct Provided {
    reply: Reply,
    translator: Option<Translator>,
    /// The user's place, and the time that no worker spends.
    _held: (Option<Place>, Suspended, Waiting),
}

/// Reads the request, has the call made, and answers the client; `true` says that this was done.
pub(super) async fn run(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    policy: Policy,
    termination: &Termination,
) -> Result<bool> {
    context.account.mode = Mode::Terminate;
    let exchange = match request::accept(gateway, session, context) {
        Ok(exchange) => exchange,
        Err(refused) => return respond::refuse(gateway, session, context, refused).await,
    };
    let (body, lease) = match buffered::read(gateway, session).await {
        Ok(read) => read,
        Err(Unread::Refused(reason)) => return respond::refuse(gateway, session, context, reason.into()).await,
        Err(Unread::ClientGone) => return Ok(respond::gone(session, context)),
    };
    context.account.client += context.began.elapsed();
    let Ok(request) = buffered::take_request(gateway, session, body, lease, policy) else {
        return Ok(respond::gone(session, context));
    };
    let terminated = Terminated { gateway, termination, exchange, request };
    let ended = tokio::select! {
        biased;
        ended = Box::pin(buffered::contained(terminated.run(context))) => ended,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match ended {
        Ok(Answered::ByApp(answer)) => buffered::answered(gateway, session, context, answer.into()).await,
        Ok(Answered::ByProvider(provided)) => {
            let Provided { reply, translator, _held } = *provided;
            call::answered(gateway, session, context, reply, translator).await
        }
        Err(refused) => respond::refuse(gateway, session, context, refused).await,
    }
}

/// A request on its way to a provider.
struct Terminated<'a> {
    gateway: &'a Gateway,
    termination: &'a Termination,
    exchange: Exchange,
    request: Request,
}

impl Terminated<'_> {
    /// To the head of the answer, the app's or the provider's.
    async fn run(self, context: &mut Context) -> Result<Answered, Refused> {
        let Some((provider, mut call)) = self.call() else { return Err(Reason::BadRequest.into()) };
        let grant = match self.authorized(&Summary::of(provider, &call), context).await? {
            Verdict::Denied(answer) => return Ok(Answered::ByApp(answer)),
            Verdict::Granted { grant, headers } => {
                context.granted = Some(Box::new(Granted { user: grant.user.clone(), headers }));
                context.needs_no_app();
                grant
            }
        };
        grant.limits.hold(provider, &mut call).map_err(beyond)?;
        let exchanges = &self.gateway.exchanges;
        let subject = self.request.subject(&self.exchange.id, Mode::Terminate, &exchanges.status);
        let waiting = exchanges.status.wait(subject, provider.name(), 1);
        let held = (exchanges.place(&grant)?, exchanges.metrics().suspend(Mode::Terminate), waiting);
        let api = calls::api(provider, &call.method, &call.url);
        let Request { headers, origin, .. } = &self.request;
        let call = Call { provider, request: call, said: &grant.said, client: headers, origin };
        let mut reply = call::make(self.gateway, call, &mut context.account).await?;
        if let Some(granted) = &context.granted {
            towards_client(&mut reply.headers, &granted.headers);
        }
        let is_stream = media_type::of(&reply.headers).eq_ignore_ascii_case("text/event-stream");
        let translator = is_stream.then(|| Translator::new(Format::Provider, api));
        Ok(Answered::ByProvider(Box::new(Provided { reply, translator, _held: held })))
    }

    async fn authorized(&self, call: &Summary, context: &mut Context) -> Result<Verdict, Refused> {
        let Some(path) = &self.termination.authorize else {
            return Ok(Verdict::Granted { grant: Grant::default(), headers: HeaderMap::new() });
        };
        let Request { method, target, headers, class, bulkhead, .. } = &self.request;
        let name = self.request.name(&self.gateway.exchanges.status);
        let question = Question { path, method, target, headers, call, class: *class, bulkhead: *bulkhead, name };
        Box::pin(self.gateway.exchanges.authorize(&self.exchange, question, &mut context.account)).await
    }

    /// The request to the provider. `None` where the path leads elsewhere than it says.
    fn call(&self) -> Option<(&Provider, provider::Request)> {
        let provider = self.gateway.exchanges.providers.named(&self.termination.provider)?;
        let target = self.request.target.strip_prefix(&self.termination.strip)?;
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut url = provider.url(path)?;
        // The route's pattern matched this path, not another that it may stand for.
        if !url.path().ends_with(path) {
            return None;
        }
        url.set_query(query.map(without_credentials).filter(|query| !query.is_empty()).as_deref());
        let Request { method, headers, body, .. } = &self.request;
        let (method, headers, body) = (method.clone(), towards_provider(headers), body.clone());
        Some((provider, provider::Request { method, url, headers, body, patience: None }))
    }
}

fn towards_provider(headers: &HeaderMap) -> HeaderMap {
    let meant = headers.iter().filter(|(name, _)| TOWARDS_PROVIDER.contains(name));
    meant.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn without_credentials(query: &str) -> String {
    let is_credential = |pair: &str| {
        let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.to_ascii_lowercase());
        name.is_some_and(|name| CREDENTIALS.contains(&&*name))
    };
    query.split('&').filter(|pair| !is_credential(pair)).collect::<Vec<_>>().join("&")
}

/// What the provider says of itself is taken out, and what the app says to the client is put in.
fn towards_client(headers: &mut HeaderMap, of_the_app: &HeaderMap) {
    let cors: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(CORS)).cloned().collect();
    for name in cors.iter().chain(&OF_THE_PROVIDER) {
        headers.remove(name);
    }
    for (name, value) in of_the_app {
        headers.append(name.clone(), value.clone());
    }
}

fn beyond(beyond: Beyond) -> Refused {
    match beyond {
        Beyond::Model => Reason::ModelNotAllowed.into(),
        Beyond::Output => Reason::OutputLimit.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn credentials_in_a_query_are_taken_out_and_the_rest_stays_as_it_is() {
        for (query, kept) in [
            ("alt=sse", "alt=sse"),
            ("key=AIza&alt=sse", "alt=sse"),
            ("alt=sse&%6Bey=AIza", "alt=sse"),
            ("Access_Token=a&pageToken=b%20c&x", "pageToken=b%20c&x"),
            ("key", ""),
        ] {
            assert_eq!(without_credentials(query), kept);
        }
    }

    #[test]
    fn what_the_provider_says_of_itself_is_replaced_by_what_the_app_says() {
        let mut answer = headers(&[
            ("content-type", "application/json"),
            ("set-cookie", "__cf_bm=x; Domain=api.openai.com"),
            ("access-control-expose-headers", "X-Request-ID"),
            ("alt-svc", "h3=\":443\""),
            ("openai-organization", "our-company"),
            ("vary", "Origin"),
        ]);
        let app = headers(&[
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("vary", "Cookie"),
            ("access-control-allow-origin", "*"),
        ]);
        towards_client(&mut answer, &app);
        let mut left: Vec<_> = answer.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        let expected = [
            ("access-control-allow-origin", "*"),
            ("content-type", "application/json"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("vary", "Cookie"),
            ("vary", "Origin"),
        ];
        assert_eq!(left, expected);
    }
}
