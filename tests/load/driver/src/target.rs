//! What is sent, and where.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};

use crate::flags::Flags;

/// The requests of one run.
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    path: String,
    authorization: Option<String>,
    body_template: Option<String>,
    /// Tells this run's requests from any other's, so that nothing is answered from a cache.
    run: String,
    made: Cell<u64>,
}

impl Target {
    pub(crate) fn new(flags: &Flags) -> Result<Self, String> {
        let uri: Uri = flags.url.parse().map_err(|error| format!("--url: {error}"))?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let address = authority.ok_or("--url: write http://host:port/path")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            address: if address.port().is_some() { address.to_string() } else { format!("{address}:80") },
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            authorization: flags.token.as_ref().map(|token| format!("Token {token}")),
            body_template: flags.body_template.clone(),
            run: format!("{:x}", now.as_micros()),
            made: Cell::new(0),
        })
    }

    /// The next request and the body that it has.
    pub(crate) fn next(&self) -> (Request<Full<Bytes>>, Bytes) {
        let number = self.made.get();
        self.made.set(number + 1);
        let body =
            self.body_template.as_ref().map(|template| template.replace("{n}", &format!("{}-{number}", self.run)));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request =
            Request::builder().method(method).uri(&self.path).header(HOST, &self.address).header(ACCEPT, "*/*");
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(body.unwrap_or_default());
        let request = request.body(Full::new(body.clone())).expect("the URL was parsed and the token is one word");
        (request, body)
    }
}
