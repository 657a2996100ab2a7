//! Which rule a request falls under. First match in file order; it must never look at a body.

use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use http::Method;

use crate::admission::{Bulkhead, Class};
use crate::background;
use crate::cache::Rule;

/// A rule as configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// A path pattern: `*` within a segment, `**` across segments.
    pub path: Pattern,
    /// Methods it is for; empty for all.
    pub methods: Vec<Method>,
    /// Its place in the queue.
    pub class: Class,
    /// Whether the app may suspend.
    pub handoff: bool,
    /// Workers it may occupy at once.
    pub max_workers: Option<usize>,
    /// Whether and how its answers are shared.
    pub cache: Option<Rule>,
    /// Whether a provider answers in the app's place.
    pub terminate: Option<Termination>,
    /// Whether its requests may become jobs.
    pub background: Option<background::Rule>,
}

/// Requests that a provider answers; the app only says whether it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// The provider's name.
    pub provider: String,
    /// Where the app is asked: an absolute path. `None`: nobody is.
    pub authorize: Option<String>,
    /// What is taken off the beginning of the path before it is joined to the provider's base URL.
    pub strip: String,
}

/// RFC 10008: a safe request with content.
const QUERY: &str = "QUERY";

/// Whether requests of this method can share answers. POST must be named by its route.
pub fn may_share(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::POST) || method.as_str() == QUERY
}

/// A path pattern.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher, Arc<str>);

/// Not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("not a path pattern: {0}; write an absolute path with * (within a segment) or ** (across segments)")]
pub struct BadPattern(String);

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.1
    }
}

impl std::str::FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if !text.starts_with('/') {
            return Err(BadPattern("it does not begin with /".into()));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        glob.map(|glob| Self(glob.compile_matcher(), text.into())).map_err(|error| BadPattern(error.kind().to_string()))
    }
}

/// What a request's rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its place in the queue.
    pub class: Class,
    /// Whether the app may suspend.
    pub handoff: bool,
    /// The limit it shares with the other requests of its rule.
    pub bulkhead: Option<Bulkhead>,
    /// How its answer is shared.
    pub sharing: Option<SharingRule>,
    /// The rule; `None` where none matches.
    pub rule: Option<RuleNumber>,
    /// Which provider answers it in the app's place.
    pub termination: Option<TerminationRule>,
    /// Whether it may become a job.
    pub background: Option<BackgroundRule>,
}

/// Names a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleNumber(usize);

/// Names a rule's [`Rule`] of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingRule(usize);

/// Names a rule's [`Termination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminationRule(usize);

/// Names a rule's [`background::Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundRule(usize);

/// What holds where no rule matches.
const DEFAULT: Policy = Policy {
    class: Class::Interactive,
    handoff: true,
    bulkhead: None,
    sharing: None,
    rule: None,
    termination: None,
    background: None,
};

/// The limits that rules set, each with a name that is the same as long as the rule is.
pub fn bulkheads(configs: &[Config]) -> Vec<(String, usize)> {
    let named = |config: &Config| {
        let methods: Vec<&str> = config.methods.iter().map(Method::as_str).collect();
        Some((format!("{} {}", methods.join(","), config.path.as_str()), config.max_workers?))
    };
    configs.iter().filter_map(named).collect()
}

/// All rules, compiled.
#[derive(Debug)]
pub struct Table {
    rules: Vec<(Config, Policy)>,
    has_background: bool,
}

impl Table {
    /// Compiles rules. `bulkheads` are those of [`bulkheads`], in its order.
    pub fn new(configs: Vec<Config>, bulkheads: &[Bulkhead]) -> Self {
        let mut bulkheads = bulkheads.iter().copied();
        let has_background = configs.iter().any(|config| config.background.is_some());
        let rules = configs
            .into_iter()
            .enumerate()
            .map(|(position, config)| {
                let bulkhead = config.max_workers.and_then(|_| bulkheads.next());
                let sharing = config.cache.is_some().then_some(SharingRule(position));
                let termination = config.terminate.is_some().then_some(TerminationRule(position));
                // What is not answered from the provider (a preflight) is the app's, which has no reason to suspend.
                let handoff = config.handoff && termination.is_none();
                let rule = Some(RuleNumber(position));
                let background = config.background.is_some().then_some(BackgroundRule(position));
                let policy = Policy { class: config.class, handoff, bulkhead, sharing, rule, termination, background };
                (config, policy)
            })
            .collect();
        Self { rules, has_background }
    }

    /// The policy for a request. `path` has no query.
    pub fn find(&self, method: &Method, path: &str) -> Policy {
        let matches = |config: &Config| {
            (config.methods.is_empty() || config.methods.contains(method)) && config.path.0.is_match(path)
        };
        let Some((config, policy)) = self.rules.iter().find(|(config, _)| matches(config)) else { return DEFAULT };
        let may_share = may_share(method) && (method != Method::POST || config.methods.contains(method));
        Policy {
            sharing: policy.sharing.filter(|_| may_share),
            // Browsers ask with OPTIONS whether a site may call, without credentials: the app knows.
            termination: policy.termination.filter(|_| method != Method::OPTIONS),
            ..*policy
        }
    }

    /// How requests under a rule are answered from a provider.
    pub fn termination(&self, TerminationRule(position): TerminationRule) -> Option<&Termination> {
        self.rules.get(position).and_then(|(config, _)| config.terminate.as_ref())
    }

    /// A rule's path pattern, as it was written.
    pub fn pattern(&self, RuleNumber(position): RuleNumber) -> Option<&Arc<str>> {
        self.rules.get(position).map(|(config, _)| &config.path.1)
    }

    /// Every pattern, in order.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(config, _)| config.path.as_str())
    }

    /// How answers under a rule are shared.
    pub fn cache(&self, SharingRule(position): SharingRule) -> Option<&Rule> {
        self.rules.get(position).and_then(|(config, _)| config.cache.as_ref())
    }

    /// How requests under a rule become jobs.
    pub fn background(&self, BackgroundRule(position): BackgroundRule) -> Option<&background::Rule> {
        self.rules.get(position).and_then(|(config, _)| config.background.as_ref())
    }

    /// Whether requests become jobs under any rule.
    pub fn has_background(&self) -> bool {
        self.has_background
    }

    /// All rules under which requests become jobs.
    pub fn all_background(&self) -> impl Iterator<Item = &background::Rule> {
        self.rules.iter().filter_map(|(config, _)| config.background.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, methods: &[Method], class: Class, max_workers: Option<usize>) -> Config {
        Config {
            path: path.parse().unwrap(),
            methods: methods.to_vec(),
            class,
            handoff: true,
            max_workers,
            cache: None,
            terminate: None,
            background: None,
        }
    }

    #[test]
    fn a_terminated_route_leaves_preflights_to_the_app_which_cannot_suspend_in_them() {
        let termination = Termination { provider: "openai".into(), authorize: None, strip: String::new() };
        let rule = Config { terminate: Some(termination.clone()), ..rule("/llm/**", &[], Class::Batch, None) };
        let table = Table::new(vec![rule], &[]);
        let found = table.find(&Method::POST, "/llm/v1").termination.and_then(|rule| table.termination(rule));
        assert_eq!(found, Some(&termination));
        let preflight = table.find(&Method::OPTIONS, "/llm/v1");
        assert_eq!((preflight.termination, preflight.handoff), (None, false));
    }

    #[test]
    fn the_first_rule_that_matches_path_and_method_counts() {
        let rules = vec![
            rule("/api/*/report", &[Method::POST], Class::Batch, Some(1)),
            rule("/api/**", &[], Class::Resume, Some(3)),
        ];
        assert_eq!(bulkheads(&rules), [("POST /api/*/report".to_owned(), 1), (" /api/**".to_owned(), 3)]);
        let table = Table::new(rules, &[Bulkhead(7), Bulkhead(4)]);
        assert_eq!(table.find(&Method::POST, "/api/a/report").bulkhead, Some(Bulkhead(7)));
        assert_eq!(table.find(&Method::GET, "/api/a/report").bulkhead, Some(Bulkhead(4)));
        let class = |method, path| table.find(&method, path).class;
        assert_eq!(class(Method::POST, "/api/a/report"), Class::Batch);
        assert_eq!(class(Method::GET, "/api/a/report"), Class::Resume);
        assert_eq!(class(Method::POST, "/api/a/b/report"), Class::Resume);
        assert_eq!(table.find(&Method::GET, "/"), DEFAULT);
    }

    #[test]
    fn a_pattern_must_be_an_absolute_path() {
        assert!("api/**".parse::<Pattern>().is_err());
        assert!("/api/[".parse::<Pattern>().is_err());
    }
}
