//! `POST /-/purge`: stored answers are removed.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use url::form_urlencoded;

use super::pages::{Answer, text};
use crate::cache::Selector;
use crate::sharing::{Common, Purged};

/// Removes stored answers: `POST /-/purge?all`, or `?key=`, `?tag=`, `?origin=` (a route's path or a provider's name).
pub(super) async fn run(common: &Common, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST here\n");
    }
    let query = request.uri().query().unwrap_or_default();
    let Some(selector) = selector(query) else {
        return text(StatusCode::BAD_REQUEST, "say what: ?all, ?key=KEY, ?tag=TAG or ?origin=ROUTE-OR-PROVIDER\n");
    };
    let Purged { count, others } = common.purge(&selector).await;
    tracing::info!(?selector, count, "purged");
    text(
        StatusCode::OK,
        match others {
            None => format!("{count} entries\n"),
            Some(true) => format!("{count} entries here; the other processes are told\n"),
            Some(false) => {
                format!("{count} entries here; Redis is away: the other processes are told when it is back\n")
            }
        },
    )
}

/// What exactly one parameter names.
fn selector(query: &str) -> Option<Selector> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (name, value) = pairs.next().filter(|_| pairs.next().is_none())?;
    match &*name {
        "all" if value.is_empty() => Some(Selector::All),
        "key" => value.parse().ok().map(Selector::Key),
        "tag" => Some(Selector::Tag(value.into_owned())),
        "origin" => Some(Selector::Origin(value.into_owned())),
        _ => None,
    }
}
