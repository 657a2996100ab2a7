//! What decides how a request is carried: known from its head alone, before or after Pingora has read it.

use http::{Method, header};
use pingora::protocols::http::ServerSession;

use super::Gateway;
use crate::background::{self, Preferences, asks_for_background};
use crate::cache::Rule;
use crate::handoff::Offer;
use crate::route::{Policy, Termination};
use crate::trace::TRACEPARENT;

/// Headers that are looked at. A request with more is Pingora's to judge, once its head is there.
const MOST_HEADERS: usize = 64;

/// How a request that is read whole is treated.
#[derive(Clone, Copy)]
pub(super) struct Plan<'g> {
    pub(super) policy: Policy,
    /// What the app is offered; `None` where it may not suspend.
    pub(super) offer: Option<&'g Offer>,
    /// How the answer is shared.
    pub(super) rule: Option<&'g Rule>,
    /// Which provider answers.
    pub(super) termination: Option<&'g Termination>,
    /// How it becomes a job, where its client prefers that.
    pub(super) background: Option<&'g background::Rule>,
}

/// As much as is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Preview<'a> {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The declared length of the body.
    pub length: Option<usize>,
    is_upgrade: bool,
    /// Whether the client would rather not wait.
    prefers_background: bool,
    /// Bytes of the head, where they are at hand.
    pub head_length: usize,
    /// Whether nothing but its bytes matters: HTTP/1.1, no `Expect`, and the connection is kept.
    pub is_self_contained: bool,
}

/// What bytes from a client may be the beginning of.
#[derive(Debug, PartialEq, Eq)]
pub enum Glimpse<'a> {
    /// A head that goes on.
    Partial,
    /// A request without doubt.
    Clear(Preview<'a>),
    /// Something for Pingora to judge.
    Unclear,
}

impl<'a> Preview<'a> {
    /// Of a request that Pingora has read.
    pub(super) fn of(session: &'a ServerSession) -> Self {
        let head = session.req_header();
        Self {
            method: head.method.clone(),
            path: head.uri.path(),
            length: super::body::declared_length(session),
            is_upgrade: session.is_upgrade_req(),
            prefers_background: Preferences::of(&head.headers).respond_async,
            head_length: 0,
            is_self_contained: false,
        }
    }

    /// The route's policy.
    pub(super) fn policy(&self, gateway: &Gateway) -> Policy {
        gateway.routes.find(&self.method, self.path)
    }

    /// The plan for a request that is read whole, because the app may suspend it or its answer is shared. Uploads that
    /// are too large to be sent again and upgrades cannot be, nor can HEAD, whose answer has no body. What a provider answers
    /// is always read whole: nothing of it is the app's. Requests about jobs are not the app's either.
    pub(super) fn plan<'g>(&self, gateway: &'g Gateway) -> Option<Plan<'g>> {
        let policy = self.policy(gateway);
        if let Some(termination) = policy.termination.and_then(|rule| gateway.routes.termination(rule)) {
            return Some(Plan { policy, offer: None, rule: None, termination: Some(termination), background: None });
        }
        let fits = self.length.is_none_or(|length| length <= gateway.config.max_body);
        let is_about_a_job = gateway.job_in(self.path).is_some();
        if !fits || self.is_upgrade || self.method == Method::HEAD || is_about_a_job {
            return None;
        }
        let offer = gateway.exchanges.offer.as_ref().filter(|_| policy.handoff);
        let rule = policy.sharing.and_then(|sharing| gateway.routes.cache(sharing));
        let background = policy.background.filter(|_| self.prefers_background);
        let background = background.and_then(|rule| gateway.routes.background(rule));
        let is_read = offer.is_some() || rule.is_some() || background.is_some();
        is_read.then_some(Plan { policy, offer, rule, termination: None, background })
    }
}

impl<'a> Glimpse<'a> {
    /// Of what has arrived.
    pub fn of(head: &'a [u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) => Self::Partial,
            Ok(httparse::Status::Complete(length)) => clear(&request, length).map_or(Self::Unclear, Self::Clear),
            Err(httparse::Error::TooManyHeaders) if !has_end(head) => Self::Partial,
            Err(_) => Self::Unclear,
        }
    }
}

/// Whether a head ends in these bytes, wherever.
fn has_end(head: &[u8]) -> bool {
    head.windows(2).any(|bytes| bytes == b"\n\n") || head.windows(3).any(|bytes| bytes == b"\n\r\n")
}

/// Doubtful is whatever two readers might take for two things.
fn clear<'a>(request: &httparse::Request<'_, 'a>, head_length: usize) -> Option<Preview<'a>> {
    let method = Method::from_bytes(request.method?.as_bytes()).ok().filter(|method| method != Method::CONNECT)?;
    let target = request.path.filter(|target| target.starts_with('/') && target.bytes().all(is_plain))?;
    let path = target.split('?').next()?;
    let (mut length, mut is_upgrade, mut is_self_contained) = (None, false, request.version == Some(1));
    let mut prefers_background = false;
    for field in &*request.headers {
        if field.name.eq_ignore_ascii_case(header::TRANSFER_ENCODING.as_str()) {
            return None;
        }
        if field.name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str()) {
            let text = std::str::from_utf8(field.value).ok()?;
            let is_number = length.is_none() && text.bytes().all(|byte| byte.is_ascii_digit());
            length = Some(text.parse().ok().filter(|_| is_number)?);
        }
        prefers_background |= asks_for_background(field.name, field.value);
        is_upgrade |= field.name.eq_ignore_ascii_case(header::UPGRADE.as_str());
        // A request that names its trace never comes again.
        is_self_contained &= !field.name.eq_ignore_ascii_case(header::EXPECT.as_str())
            && !field.name.eq_ignore_ascii_case(TRACEPARENT.as_str())
            && (!field.name.eq_ignore_ascii_case(header::CONNECTION.as_str())
                || field.value.eq_ignore_ascii_case(b"keep-alive"));
    }
    Some(Preview { method, path, length, is_upgrade, prefers_background, head_length, is_self_contained })
}

/// What a URI may hold without being rewritten (RFC 3986, section 2).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plain_request_is_clear_once_its_head_is_complete() {
        let head = b"POST /api/chat/?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        let preview = Preview {
            method: Method::POST,
            path: "/api/chat/",
            length: Some(2),
            is_upgrade: false,
            prefers_background: false,
            head_length: head.len() - 2,
            is_self_contained: true,
        };
        assert_eq!(Glimpse::of(head), Glimpse::Clear(preview));
        assert_eq!(Glimpse::of(&head[..40]), Glimpse::Partial);
        assert_eq!(Glimpse::of(b""), Glimpse::Partial);
    }

    #[test]
    fn a_request_that_asks_something_of_the_connection_is_more_than_its_bytes() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: keep-alive, x-a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nTraceParent: 00-\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
        ] {
            let Glimpse::Clear(preview) = Glimpse::of(head.as_bytes()) else { panic!("{head}") };
            assert_eq!(preview.is_self_contained, expected, "{head}");
        }
    }

    #[test]
    fn a_head_of_many_headers_is_partial_until_it_ends() {
        let many = format!("GET / HTTP/1.1\r\n{}", "X-A: 1\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(Glimpse::of(many.as_bytes()), Glimpse::Partial);
        assert_eq!(Glimpse::of(format!("{many}\r\n").as_bytes()), Glimpse::Unclear);
        assert_eq!(Glimpse::of(format!("{many}\r\nbody").as_bytes()), Glimpse::Unclear);
        assert_eq!(Glimpse::of(many.replace('\r', "").as_bytes()), Glimpse::Partial);
        assert_eq!(Glimpse::of(format!("{}\n", many.replace('\r', "")).as_bytes()), Glimpse::Unclear);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_left_to_pingora() {
        for doubtful in [
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "GET /a\\b HTTP/1.1\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert_eq!(Glimpse::of(doubtful.as_bytes()), Glimpse::Unclear, "{doubtful}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Glimpse::of(&head);
        }
    }
}
