//! What is sent, and where.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, http};

use crate::flags::Flags;

/// What becomes unique in each request.
const UNIQUE: &str = "{n}";

/// The requests of one run.
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    path: String,
    method: String,
    authorization: Option<String>,
    body_template: Option<String>,
    /// Tells this run's requests from any other's, so that nothing is answered from a cache.
    run: String,
    made: Cell<u64>,
}

impl Target {
    pub(crate) fn new(flags: &Flags) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let default_method = if flags.body_template.is_some() { "POST" } else { "GET" };
        let (authority, path) = parts(&flags.url).ok_or("--url: write http://host:port/path")?;
        let target = Self {
            address: if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") },
            path: path.to_owned(),
            method: flags.method.as_deref().unwrap_or(default_method).to_owned(),
            authorization: flags.token.as_ref().map(|token| format!("Token {token}")),
            body_template: flags.body_template.clone(),
            run: format!("{:x}", now.as_micros()),
            made: Cell::new(0),
        };
        target.request(&target.path, "0").map_err(|error| format!("no such request can be made: {error}"))?;
        Ok(target)
    }

    /// The next request and the body that it has. `path` stands in for the URL's.
    pub(crate) fn next(&self, path: Option<&str>) -> (Request<Full<Bytes>>, Bytes) {
        let number = self.made.get();
        self.made.set(number + 1);
        let unique = format!("{}-{number}", self.run);
        self.request(path.unwrap_or(&self.path), &unique).expect("one like it was made, and paths of traces are paths")
    }

    fn request(&self, path: &str, unique: &str) -> Result<(Request<Full<Bytes>>, Bytes), http::Error> {
        let body = self.body_template.as_ref().map(|template| template.replace(UNIQUE, unique));
        let mut request = Request::builder()
            .method(&*filled(&self.method, unique))
            .uri(&*filled(path, unique))
            .header(HOST, &self.address)
            .header(ACCEPT, "*/*");
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(body.unwrap_or_default());
        Ok((request.body(Full::new(body.clone()))?, body))
    }
}

/// A template with what is unique; as it is where nothing is.
fn filled<'a>(template: &'a str, unique: &str) -> Cow<'a, str> {
    if template.contains(UNIQUE) { template.replace(UNIQUE, unique).into() } else { template.into() }
}

/// `host:port` and path of a URL.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!authority.is_empty()).then_some((authority, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let flags = [&["", "--requests", "1"], arguments].concat();
        Target::new(&Flags::parse_from(flags))
    }

    #[test]
    fn what_is_unique_is_so_in_method_path_and_body() {
        let arguments = ["--url", "http://h:1/{n}?q={n}", "--method", "M{n}", "--body-template", "\"{n}\""];
        let target = target(&arguments).unwrap();
        let made: Vec<_> = (0..2)
            .map(|_| {
                let (request, body) = target.next(None);
                let text = std::str::from_utf8(&body).unwrap().trim_matches('"').to_owned();
                assert_eq!(request.uri().to_string(), format!("/{text}?q={text}"));
                assert_eq!(request.method().as_str(), format!("M{text}"));
                text
            })
            .collect();
        assert_ne!(made[0], made[1]);
    }

    #[test]
    fn a_path_stands_in_for_that_of_the_url() {
        let target = target(&["--url", "http://h"]).unwrap();
        assert_eq!(target.address, "h:80");
        assert_eq!(target.next(None).0.uri(), "/");
        assert_eq!(target.next(Some("/a?b")).0.uri(), "/a?b");
    }

    #[test]
    fn a_request_that_cannot_be_made_is_refused_at_the_start() {
        for arguments in
            [&["--url", "https://h/"][..], &["--url", "http:///x"], &["--url", "http://h/", "--method", "A B"]]
        {
            assert!(target(arguments).is_err(), "{arguments:?}");
        }
    }
}
