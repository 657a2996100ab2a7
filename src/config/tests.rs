use std::collections::BTreeMap;

use super::*;

fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([("SIDING_SECRET".to_owned(), "0123456789abcdef".to_owned())])
}

fn read(text: &str) -> Result<Config, Faults> {
    let environment = environment();
    load(&Source { origin: "siding.toml", text, backend: None, no_handoff: false, environment: &environment })
}

fn faults(text: &str) -> String {
    read(text).expect_err("must be refused").to_string()
}

#[test]
fn an_empty_file_is_a_whole_configuration() {
    let config = read("").unwrap();
    assert_eq!(config.admission.workers, 1);
    assert_eq!(config.providers.len(), 3);
}

#[test]
fn the_reference_shows_the_defaults() {
    let (reference, empty) = (read(REFERENCE).unwrap(), read("").unwrap());
    assert_eq!(format!("{reference:#?}"), format!("{empty:#?}"));
}

#[test]
fn every_fault_is_reported_at_once_with_line_key_and_remedy() {
    let text = r#"
[server]
listen = ["localhost:8080"]
max_body = "8 bananas"
colour = "red"
[backend]
workers = 0
timeout = 25
addres = "127.0.0.1:8000"
queue = { capacity = 10, timeout = "soon" }
[handoff]
deadline = "1s"
[providers.openai]
dialect = "klingon"
base_url = "https://api.openai.com"
[providers.other]
dialect = "openai"
[[routes]]
path = "api/**"
methods = ["post"]
"#;
    let reported = faults(text);
    for expected in [
        "siding.toml:3: server.listen[0]: localhost:8080 is not ip:port; write an IP address, such as 0.0.0.0:8080",
        "siding.toml:4: server.max_body: ",
        "siding.toml:5: server.colour: there is no key `colour`; known here are ",
        "siding.toml:7: backend.workers: must be at least 1",
        "siding.toml:8: backend.timeout: invalid type: integer `25`, expected a duration in quotes",
        "siding.toml:9: backend.addres: there is no key `addres`; known here are `address`",
        "siding.toml:10: backend.queue.timeout: ",
        "siding.toml:12: handoff.deadline: must be longer than backend.timeout",
        "siding.toml:14: providers.openai.dialect: unknown variant `klingon`, expected one of `openai`",
        "siding.toml:16: providers.other.base_url: add this key, it has no default",
        "siding.toml:19: routes[0].path: not a path pattern",
    ] {
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_line() {
    let reported = faults("[server]\nlisten = [\n[backend\nworkers = 2\n");
    assert!(reported.starts_with("siding.toml:"), "{reported}");
    assert!(reported.contains("not TOML"), "{reported}");
    let lines = reported.lines().filter_map(|line| line.strip_prefix("siding.toml:")?.split(':').next()?.parse().ok());
    let lines: Vec<usize> = lines.collect();
    assert!(lines.len() > 1 && lines.is_sorted(), "{reported}");
}

#[test]
fn hand_off_without_a_secret_is_refused_with_the_way_out() {
    let environment = BTreeMap::new();
    let mut source = Source { origin: "flags", text: "", backend: None, no_handoff: false, environment: &environment };
    let reported = load(&source).unwrap_err().to_string();
    assert!(
        reported.contains("SIDING_SECRET is not set") && reported.contains("handoff.enabled = false"),
        "{reported}"
    );
    source.no_handoff = true;
    assert!(load(&source).unwrap().keys.is_none());
    assert!(read("[handoff]\nsecret_env = \"OTHER\"").is_err());
}

#[test]
fn the_backend_flag_overrides_the_file() {
    let environment = environment();
    let text = "[backend]\naddress = \"127.0.0.1:1\"";
    let mut source =
        Source { origin: "f", text, backend: Some("unix:/run/a.sock"), no_handoff: false, environment: &environment };
    assert_eq!(load(&source).unwrap().backend.address.to_string(), "unix:/run/a.sock");
    source.backend = Some("nonsense");
    assert!(load(&source).unwrap_err().to_string().contains("f: --backend: write host:port"));
}

#[test]
fn one_address_is_not_given_to_two_listeners() {
    let reported = faults("[server]\nlisten = [\"127.0.0.1:80\"]\nadmin = \"127.0.0.1:80\"");
    assert!(
        reported.contains("siding.toml:3: server.admin: 127.0.0.1:80 is used by server.listen[0] already"),
        "{reported}"
    );
}

#[test]
fn a_provider_key_that_is_not_in_the_environment_is_a_fault() {
    let reported = faults("[providers.a]\ndialect = \"openai\"\nbase_url = \"http://a\"\napi_key_env = \"NOT_SET\"");
    assert!(
        reported.contains("siding.toml:4: providers.a.api_key_env: the environment variable NOT_SET"),
        "{reported}"
    );
}

#[test]
fn a_price_must_be_whole_and_one_that_a_model_can_have() {
    let reported = faults("[prices.\"gpt-4.1\"]\ninput = -1\ncached_input = nan\n[prices.b]\ncost = 1");
    for expected in [
        "siding.toml:2: prices.gpt-4.1.input: must be between 0 and 1000000: dollars for a million tokens",
        "siding.toml:1: prices.gpt-4.1.output: add this key, it has no default",
        "siding.toml:3: prices.gpt-4.1.cached_input: must be between",
        "siding.toml:5: prices.b.cost: there is no key `cost`; known here are `input`, `output`, `cached_input`",
    ] {
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
    let config = read("[prices.\"openai/m\"]\ninput = 3\noutput = 0.5").unwrap();
    assert_eq!(config.prices["openai/m"], usage::Price { input: 3.0, output: 0.5, cached_input: 3.0 });
}

#[test]
fn a_pool_of_keys_is_read_in_order_and_its_faults_name_their_place() {
    let provider = "[providers.a]\ndialect = \"openai\"\nbase_url = \"http://a\"\n";
    let two = format!("{provider}api_key_env = \"SIDING_SECRET\"\napi_keys_env = [\"SIDING_SECRET\", \"NOT_SET\"]");
    let reported = faults(&two);
    assert!(
        reported.contains("siding.toml:5: providers.a.api_keys_env[0]: SIDING_SECRET is named twice"),
        "{reported}"
    );
    assert!(reported.contains("siding.toml:5: providers.a.api_keys_env[1]: the environment variable"), "{reported}");
    let config = read(&format!("{provider}api_keys_env = [\"SIDING_SECRET\"]")).unwrap();
    assert_eq!(config.providers[0].keys[0].variable, "SIDING_SECRET");
}

#[test]
fn a_breaker_is_a_table_or_false() {
    let with = |breaker: &str| {
        read(&format!("[providers.a]\ndialect = \"openai\"\nbase_url = \"http://a\"\nbreaker = {breaker}"))
    };
    assert_eq!(with("false").unwrap().providers[0].breaker, None);
    let breaker = with("{ probes = 7 }").unwrap().providers[0].breaker.unwrap();
    assert_eq!((breaker.probes, breaker.minimum), (7, 20));
    for (wrong, expected) in [
        ("true", "siding.toml:4: providers.a.breaker: write a table in braces"),
        ("{ prob = 1 }", "siding.toml:4: providers.a.breaker.prob: there is no key `prob`; known here are"),
        ("{ window = 3 }", "siding.toml:4: providers.a.breaker.window: invalid type: integer `3`, expected a duration"),
        ("{ failures = 0.0 }", "siding.toml:4: providers.a.breaker.failures: must be above 0 and at most 1"),
        ("{ probes = 0 }", "siding.toml:4: providers.a.breaker.probes: must be at least 1"),
    ] {
        let reported = with(wrong).unwrap_err().to_string();
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
}

#[test]
fn bounds_of_concurrency_and_hedging_are_checked() {
    let reported = faults(
        "[providers.a]\ndialect = \"openai\"\nbase_url = \"http://a\"\nconcurrency = { max = 2, min = 3 }\n\
         hedge = { after = \"0s\", budget = 2.0 }\n[providers.b]\ndialect = \"openai\"\nbase_url = \"http://b\"\n\
         concurrency = { min = 0 }",
    );
    for expected in [
        "siding.toml:4: providers.a.concurrency.max: must be at least concurrency.min, 3",
        "siding.toml:5: providers.a.hedge.after: must be longer than 0s",
        "siding.toml:5: providers.a.hedge.budget: must be above 0 and at most 1",
        "siding.toml:9: providers.b.concurrency.min: must be at least 1",
    ] {
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
}

#[test]
fn fallbacks_must_be_able_to_answer_in_the_providers_place() {
    let text = r#"
[providers.a]
dialect = "openai"
base_url = "http://a"
fallback = ["nobody", "a", "b", "c", ":", "c:small", ":other"]
[providers.b]
dialect = "gemini"
base_url = "http://b"
fallback = [":models/x"]
[providers.c]
dialect = "openai"
base_url = "http://c"
stream_options = false
fallback = ["a"]
"#;
    let reported = faults(text);
    for expected in [
        "siding.toml:5: providers.a.fallback[0]: there is no provider nobody; name a configured provider",
        "siding.toml:5: providers.a.fallback[1]: a provider is no fallback of itself",
        "siding.toml:5: providers.a.fallback[2]: b has another dialect",
        "siding.toml:5: providers.a.fallback[3]: c refuses stream_options",
        "siding.toml:5: providers.a.fallback[4]: write the name of a model after the colon",
        "siding.toml:9: providers.b.fallback[0]: write the name of a model after the colon",
    ] {
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
    assert!(!reported.contains("providers.a.fallback[6]") && !reported.contains("providers.c"), "{reported}");
    let named = read("[providers.a]\ndialect = \"openai\"\nbase_url = \"http://a\"\nfallback = [\":m:1\"]").unwrap();
    assert_eq!(named.providers[0].fallback[0].to_string(), "a:m:1");
}

#[test]
fn secrets_never_show_in_debug_output() {
    let shown = format!("{:?}", read("").unwrap());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn a_period_that_would_overflow_the_clock_is_a_fault() {
    let reported = faults("[handoff]\ndeadline = \"10000years\"\n[server]\ndrain = \"99999999999s\"");
    assert!(reported.contains("siding.toml:2: handoff.deadline: must be at most 7days"), "{reported}");
    assert!(reported.contains("siding.toml:4: server.drain: must be at most 7days"), "{reported}");
}

#[test]
fn numbers_beyond_every_machine_are_faults() {
    let reported = faults("[server]\nthreads = 2000\n[backend]\nworkers = 9000000000000000000\nthreads = 3");
    assert!(reported.contains("siding.toml:2: server.threads: must be at most 1024"), "{reported}");
    assert!(reported.contains("siding.toml:4: backend.workers: workers x threads must be"), "{reported}");
    assert!(
        read("[handoff]\nmax_calls = 9000000000000000000")
            .is_ok_and(|c| c.exchange.limits.max_document() == usize::MAX)
    );
}

#[test]
fn a_terminated_route_names_a_provider_and_who_authorises_it() {
    let config = read(
        "[[routes]]\npath = \"/llm/**\"\nterminate = { provider = \"openai\", authorize = \"/auth/?a=b\", strip = \"/llm\" }\n\
         [[routes]]\npath = \"/open\"\nterminate = { provider = \"gemini\", public = true }",
    );
    let routes = config.unwrap().routes;
    let [asked, public] = [0, 1].map(|n: usize| routes[n].terminate.clone().unwrap());
    assert_eq!((asked.provider.as_str(), asked.strip.as_str()), ("openai", "/llm"));
    assert_eq!((asked.authorize.as_deref(), public.authorize), (Some("/auth/?a=b"), None));
}

#[test]
fn every_fault_of_a_terminated_route_is_reported_with_its_remedy() {
    let fault_of = |terminate: &str| faults(&format!("[[routes]]\npath = \"/llm/**\"\nterminate = {{ {terminate} }}"));
    for (terminate, expected) in [
        (r#"authorize = "/a""#, "siding.toml:3: routes[0].terminate.provider: add this key"),
        (r#"provider = "other", public = true"#, "there is no provider \"other\"; known are anthropic, gemini, openai"),
        (r#"provider = "openai""#, "siding.toml:3: routes[0].terminate.authorize: name the app's path"),
        (r#"provider = "openai", authorize = "/a", public = true"#, "terminate.public: a public route asks nobody"),
        (r#"provider = "openai", authorize = "http://a/""#, "terminate.authorize: \"http://a/\" is not a path"),
        (r#"provider = "openai", authorize = "/a b""#, "terminate.authorize: "),
        (r#"provider = "openai", authorize = "/a#b""#, "terminate.authorize: "),
        (r#"provider = "openai", public = true, strip = "llm""#, "terminate.strip: must be the beginning"),
        (r#"provider = "openai", public = true, strip = "/llm/""#, "terminate.strip: "),
        (r#"provider = "openai", public = true, strip = "/l""#, "terminate.strip: "),
        (r#"provider = "openai", public = true, strip = "/llm/**""#, "terminate.strip: "),
        (r#"provider = "openai", public = true, key = 1"#, "terminate.key: there is no key `key`"),
    ] {
        let reported = fault_of(terminate);
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
    let other = faults(
        "[[routes]]\npath = \"/llm\"\nhandoff = true\ncache = {}\nbackground = true\nterminate = { provider = \"openai\", public = true }",
    );
    for key in ["3: routes[0].handoff", "4: routes[0].cache", "5: routes[0].background"] {
        assert_eq!(other.matches(&format!("siding.toml:{key}: take this out")).count(), 1, "{other}");
    }
}

#[test]
fn a_route_makes_jobs_with_or_without_a_receiver_or_not_at_all() {
    let environment = BTreeMap::from([("HOOK".to_owned(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())]);
    let webhook = |said: &str| {
        let text = format!("handoff.enabled = false\n[[routes]]\npath = \"/a\"\nbackground = {said}");
        let origin = "siding.toml";
        let source = Source { origin, text: &text, backend: None, no_handoff: false, environment: &environment };
        load(&source).unwrap().routes[0].background.clone().map(|rule| rule.webhook.is_some())
    };
    assert_eq!(webhook("false"), None);
    assert_eq!(webhook("true"), Some(false));
    assert_eq!(webhook("{}"), Some(false));
    assert_eq!(webhook("{ webhook = \"https://a/\", webhook_secret_env = \"HOOK\" }"), Some(true));
}

#[test]
fn what_cannot_be_a_job_is_a_fault() {
    let environment = BTreeMap::from([("SHORT".to_owned(), "whsec_c2hvcnQ=".to_owned())]);
    let text = r#"
[handoff]
enabled = false
[background]
path = "jobs/"
capacity = "1MiB"
max_jobs = 0
owner = "anybody"
[[routes]]
path = "/a"
background = "yes"
[[routes]]
path = "/b"
background = { webhook = "https://app.example/hook" }
[[routes]]
path = "/c"
background = { webhook = "app.example/hook", webhook_secret_env = "NOT_SET" }
[[routes]]
path = "/d"
background = { webhook = "https://app.example/hook", webhook_secret_env = "SHORT" }
[[routes]]
path = "/e"
background = { hook = "https://app.example/hook" }
"#;
    let source = Source { origin: "siding.toml", text, backend: None, no_handoff: false, environment: &environment };
    let reported = load(&source).expect_err("must be refused").to_string();
    for expected in [
        "siding.toml:5: background.path: write an absolute path",
        "siding.toml:4: background.max_result: must be at most background.capacity",
        "siding.toml:7: background.max_jobs: must be at least 1",
        "siding.toml:8: background.owner: unknown variant `anybody`, expected `credentials` or `id`",
        "siding.toml:11: routes[0].background: invalid type: string \"yes\", expected true, false, or { webhook = ",
        "siding.toml:14: routes[1].background.webhook_secret_env: add this key",
        "siding.toml:17: routes[2].background.webhook_secret_env: the environment variable NOT_SET is not set",
        "siding.toml:20: routes[3].background.webhook_secret_env: the secret must be whsec_",
        "siding.toml:23: routes[4].background.hook: there is no key `hook`, expected `webhook` or `webhook_secret_env`",
    ] {
        assert!(reported.contains(expected), "missing: {expected}\nin:\n{reported}");
    }
}

fn traced(text: &str, variables: &[(&str, &str)]) -> Result<crate::trace::Config, String> {
    let mut environment = environment();
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let source = Source { origin: "siding.toml", text, backend: None, no_handoff: false, environment: &environment };
    load(&source).map(|config| config.tracing).map_err(|faults| faults.to_string())
}

#[test]
fn spans_go_to_the_collector_that_the_file_names_or_else_the_environment() {
    let endpoint = |text: &str, variables: &[(&str, &str)]| {
        traced(text, variables).unwrap().endpoint.map(|endpoint| endpoint.url())
    };
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318");
    let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://exact/traces");
    assert_eq!(endpoint("", &[]), None);
    assert_eq!(endpoint("", &[base]).as_deref(), Some("http://base:4318/v1/traces"));
    assert_eq!(endpoint("", &[base, exact]).as_deref(), Some("http://exact/traces"));
    assert_eq!(endpoint("", &[base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None, "it is not spoken");
    assert_eq!(endpoint("", &[base, ("OTEL_SDK_DISABLED", "true")]), None);
    assert_eq!(endpoint("tracing.endpoint = \"\"", &[base]), None);
    let own = "tracing.endpoint = \"http://own\"";
    assert_eq!(endpoint(own, &[base, exact]).as_deref(), Some("http://own/v1/traces"));
}

#[test]
fn faults_of_tracing_are_told_with_their_remedy_and_without_a_secret() {
    for (text, variables, expected) in [
        ("[tracing]\nsample = 1.5", &[][..], "siding.toml:2: tracing.sample: must be a share from 0.0 (none) to 1.0"),
        ("[tracing]\nendpoint = \"collector:4317\"", &[], "siding.toml:2: tracing.endpoint: write an absolute http"),
        (
            "[tracing]\nendpoint = \"http://a\"\nheaders_env = \"H\"",
            &[],
            "siding.toml:3: tracing.headers_env: the environment variable H is not set",
        ),
        (
            "[tracing]\nendpoint = \"http://a\"\nheaders_env = \"H\"",
            &[("H", "hush")],
            "siding.toml:3: tracing.headers_env: the environment variable H must be name=value pairs",
        ),
        (
            "",
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")],
            "tracing.endpoint: the environment variable OTEL_EXPORTER_OTLP_ENDPOINT: write an absolute http",
        ),
    ] {
        let reported = traced(text, variables).unwrap_err();
        assert!(reported.contains(expected) && !reported.contains("hush"), "{reported}");
    }
}
