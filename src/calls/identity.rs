//! What a call means: two calls with one key may be answered by one answer. Everything in the body counts except what is
//! listed as meaningless, so that a parameter nobody has heard of yet counts too.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use super::{Config, When};
use crate::answer::{Api, Asked, Vendor};
use crate::cache::{Document, Key, KeyBuilder, Policy, Scope, add_client, is_anybody};
use crate::provider::{ACCOUNT, Dialect, Provider, Request};

/// Headers that change an answer.
const MEANINGFUL: [HeaderName; 7] = [
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-goog-user-project"),
    CONTENT_TYPE,
];
/// The query parameters that are an account, or the form of the answer.
const NOT_MEANT: [&str; 2] = ["key", "alt"];
/// How a form of the answer is asked for; one answer serves both.
const FORM: [&str; 2] = ["stream", "stream_options"];

/// What a call means.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The same for calls that mean the same.
    pub key: Key,
    /// The API and the form of the answer, where both are understood and the answer is shared.
    pub(super) asked: Option<(Api, Asked)>,
    /// The API, where it is known.
    pub(super) api: Option<Api>,
}

impl Identity {
    /// Of a call. What cannot be shared makes its policy share with nobody.
    pub(super) fn of(
        provider: &Provider,
        request: &Request,
        config: &Config,
        policy: &mut Policy,
        client: &HeaderMap,
    ) -> Self {
        let api = api(provider, &request.method, &request.url);
        let asked = api.and_then(|api| Some((api, asked(api, request)?)));
        let document = asked.and_then(|_| Document::read(&request.body));
        let shares = document.as_ref().is_some_and(|document| match config.when {
            // Each turn changes the conversation that the provider keeps.
            _ if document.has("conversation") => false,
            When::Always => true,
            When::Deterministic => is_deterministic(asked, document),
            When::Never => false,
        });
        let mut key = KeyBuilder::default();
        // A name may belong to another server after a reload.
        key.add(b"call").add(provider.name().as_bytes()).add(provider.base_url().as_bytes());
        add_target(request, &mut key);
        add_headers(request, config, &mut key);
        add_account(provider, request, &mut key);
        add_scope(policy, client, &mut key);
        if let Some(document) = document {
            meaning(document, &config.ignore).add_to(&mut key);
        }
        if !shares {
            policy.scope = Scope::Nobody;
        }
        Self { key: key.finish(), asked: asked.filter(|_| policy.scope != Scope::Nobody), api }
    }
}

/// What a call's body means, and the part of its key that the body is. `None` for what has no canonical form.
pub fn meaning_of_body<'a>(json: &'a [u8], ignored: &[String]) -> Option<(Key, Document<'a>)> {
    let document = meaning(Document::read(json)?, ignored);
    let mut key = KeyBuilder::default();
    document.add_to(&mut key);
    Some((key.finish(), document))
}

fn meaning<'a>(document: Document<'a>, ignored: &[String]) -> Document<'a> {
    document.without(&FORM).without(ignored)
}

/// The API that a request is for, where it is known.
pub fn api(provider: &Provider, method: &Method, url: &Url) -> Option<Api> {
    api_of(vendor(provider), method, url)
}

pub(super) fn api_of(vendor: Vendor, method: &Method, url: &Url) -> Option<Api> {
    Api::of(vendor, url.path()).filter(|_| method == Method::POST)
}

pub(super) fn vendor(provider: &Provider) -> Vendor {
    match provider.dialect() {
        Dialect::Openai => Vendor::Openai,
        Dialect::Anthropic => Vendor::Anthropic,
        Dialect::Gemini => Vendor::Gemini,
    }
}

/// What is asked of an API; `None` for what is not understood, so not shared.
pub(super) fn asked(api: Api, request: &Request) -> Option<Asked> {
    api.asked(request.url.path(), request.url.query(), &request.body)
}

fn add_target(request: &Request, key: &mut KeyBuilder) {
    key.add(request.url.path().replace(":streamGenerateContent", ":generateContent").as_bytes());
    for (name, value) in request.url.query_pairs().filter(|(name, _)| !NOT_MEANT.contains(&&**name)) {
        key.add(name.as_bytes()).add(value.as_bytes());
    }
}

fn add_headers(request: &Request, config: &Config, key: &mut KeyBuilder) {
    key.add(b"headers");
    add_values(&request.headers, MEANINGFUL.iter().chain(&config.key_headers), key);
}

/// Whoever has another account with the provider shares nothing. A provider with a key of its own is asked with that,
/// whatever the app sent.
fn add_account(provider: &Provider, request: &Request, key: &mut KeyBuilder) {
    key.add(b"account");
    if provider.has_key() {
        return;
    }
    add_values(&request.headers, &ACCOUNT, key);
    for (_, value) in request.url.query_pairs().filter(|(name, _)| name == "key") {
        key.add(b"key").add(value.as_bytes());
    }
}

fn add_scope(policy: &mut Policy, client: &HeaderMap, key: &mut KeyBuilder) {
    match &policy.scope {
        Scope::All | Scope::Nobody => {
            key.add(b"all");
        }
        Scope::Named(name) => {
            key.add(b"named").add(name.as_bytes());
        }
        // Clients that cannot be told apart share nothing.
        Scope::Credentials if is_anybody(client) => policy.scope = Scope::Nobody,
        Scope::Credentials => add_client(key.add(b"credentials"), client),
    }
}

fn add_values<'a>(headers: &HeaderMap, names: impl IntoIterator<Item = &'a HeaderName>, key: &mut KeyBuilder) {
    for name in names {
        key.add_values(headers, name);
    }
}

/// Whether the caller wants the same answer each time, as far as the model can give it.
fn is_deterministic(asked: Option<(Api, Asked)>, document: &Document<'_>) -> bool {
    let is_zero = |path: &[&str]| document.bare(path).and_then(|text| text.parse().ok()).is_some_and(|t: f64| t == 0.0);
    let has_seed = |path: &[&str]| document.bare(path).is_some_and(|text| text != "null");
    match asked.map(|(api, _)| api) {
        Some(Api::OpenaiEmbeddings | Api::GeminiEmbed) => true,
        Some(Api::GeminiGenerate) => {
            is_zero(&["generationConfig", "temperature"]) || has_seed(&["generationConfig", "seed"])
        }
        Some(_) => is_zero(&["temperature"]) || has_seed(&["seed"]),
        None => false,
    }
}
