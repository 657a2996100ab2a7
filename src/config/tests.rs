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
