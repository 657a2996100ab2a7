use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::*;
use crate::cache::{Lifetimes, RequestDirectives, Scope};
use crate::drain::Drain;
use crate::telemetry::Registry;
use crate::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// What a test decides about the work.
#[derive(Debug)]
struct Script {
    tries: AtomicUsize,
    /// One permit for each answer that may be given.
    gate: Semaphore,
    fails: AtomicUsize,
    headers: HeaderMap,
    is_private: bool,
    varies: Vec<HeaderName>,
    said: ResponseDirectives,
}

impl Script {
    fn new() -> Self {
        Self {
            tries: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            fails: AtomicUsize::new(0),
            headers: HeaderMap::new(),
            is_private: false,
            varies: Vec::new(),
            said: ResponseDirectives::default(),
        }
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::SeqCst)
    }
}

struct Scripted(Arc<Script>);

/// The only failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Down;

#[async_trait]
impl Work<Down> for Scripted {
    async fn run(self: Box<Self>, to: &Publisher<'_, Down>) -> Result<Storable, Down> {
        let script = self.0;
        loop {
            let number = script.tries.fetch_add(1, Ordering::SeqCst) + 1;
            script.gate.acquire().await.unwrap().forget();
            if script.fails.load(Ordering::SeqCst) < number {
                let mut head = Head::new(StatusCode::OK, script.headers.clone(), None);
                head.is_private = script.is_private;
                head.varies = script.varies.clone().into();
                to.begin(head).await;
                to.push(Bytes::from(format!("answer {number}"))).await.unwrap();
                return Ok(Ok((script.said, HeaderMap::new())));
            }
            if !to.elect_successor() {
                return Err(Down);
            }
        }
    }

    fn cut_short(&self, _: NotTaken) -> Down {
        Down
    }
}

struct Scene {
    sharing: Sharing<Down>,
    script: Arc<Script>,
}

impl Scene {
    fn new(script: Script) -> Self {
        let config = Config {
            store: cache::Config { capacity: 1 << 20, max_entry: 1 << 16 },
            max_followers: 100,
            remote: RemoteConfig { lease: SECOND },
        };
        let common = Common::new(config, Drain::new(), None, &Registry::new().unwrap());
        Self { sharing: Sharing::new(common), script: Arc::new(script) }
    }

    fn wanted(&self, ttl: Duration) -> Wanted {
        let lifetimes = Lifetimes { ttl, stale_while_revalidate: ttl, stale_if_error: ttl * 2 };
        Wanted {
            key: Key::of([b"key".as_slice()]),
            policy: Policy::new(Scope::All, lifetimes),
            place: Place::Call,
            origin: "origin".into(),
            headers: HeaderMap::new(),
            apart: Vec::new(),
            bound: 1 << 20,
        }
    }

    /// Asks in a task of its own.
    fn ask(&self, wanted: Wanted) -> tokio::task::JoinHandle<Result<String, Unanswered<Down>>> {
        let (sharing, work) = (self.sharing.clone(), Scripted(Arc::clone(&self.script)));
        tokio::spawn(async move { Ok(text(sharing.answer(wanted, work).await?).await) })
    }

    /// Asks and lets the work answer.
    async fn answered(&self, wanted: Wanted) -> Result<String, Unanswered<Down>> {
        self.script.gate.add_permits(1);
        self.ask(wanted).await.unwrap()
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        while !what(self) {
            tokio::task::yield_now().await;
        }
    }

    fn waiting(&self) -> i64 {
        self.sharing.common.metrics.waiting()
    }
}

async fn text(answer: Answer<Down>) -> String {
    match answer {
        Answer::Stored { entry, .. } => format!("stored {}", String::from_utf8_lossy(&entry.body)),
        Answer::Live { mut reader, .. } => {
            let mut all = Vec::new();
            while let Ok(bytes) = reader.next().await {
                all.extend_from_slice(&bytes);
            }
            String::from_utf8(all).unwrap()
        }
    }
}

#[tokio::test]
async fn requests_that_mean_the_same_are_answered_by_one_piece_of_work() {
    let scene = Scene::new(Script::new());
    let asked: Vec<_> = (0..5).map(|_| scene.ask(scene.wanted(Duration::ZERO))).collect();
    scene.until(|scene| scene.waiting() == 4).await;
    scene.script.gate.add_permits(1);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok("answer 1".to_owned()));
    }
    assert_eq!(scene.script.tries(), 1);
    assert_eq!(scene.answered(scene.wanted(Duration::ZERO)).await, Ok("answer 2".to_owned()), "nothing is stored");
}

#[tokio::test(start_paused = true)]
async fn a_stored_answer_serves_while_it_is_fresh_then_stale_while_one_fetches_it_anew() {
    let scene = Scene::new(Script::new());
    assert_eq!(scene.answered(scene.wanted(SECOND * 10)).await, Ok("answer 1".to_owned()));
    let stored = Ok("stored answer 1".to_owned());
    assert_eq!(scene.ask(scene.wanted(SECOND * 10)).await.unwrap(), stored);
    tokio::time::advance(SECOND * 11).await;
    for _ in 0..3 {
        assert_eq!(scene.ask(scene.wanted(SECOND * 10)).await.unwrap(), stored, "stale, at once");
    }
    scene.until(|scene| scene.script.tries() == 2).await;
    scene.script.gate.add_permits(1);
    scene.until(|scene| scene.sharing.flights.is_empty()).await;
    assert_eq!(scene.ask(scene.wanted(SECOND * 10)).await.unwrap(), Ok("stored answer 2".to_owned()));
    assert_eq!(scene.script.tries(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_serves_where_fetching_it_anew_fails() {
    let scene = Scene::new(Script::new());
    assert_eq!(scene.answered(scene.wanted(SECOND * 10)).await, Ok("answer 1".to_owned()));
    scene.script.fails.store(9, Ordering::SeqCst);
    tokio::time::advance(SECOND * 25).await;
    assert_eq!(scene.answered(scene.wanted(SECOND * 10)).await, Ok("stored answer 1".to_owned()));
    tokio::time::advance(SECOND * 25).await;
    assert_eq!(scene.answered(scene.wanted(SECOND * 10)).await, Err(Unanswered::Failed(Down)));
}

#[tokio::test]
async fn a_failed_try_is_repeated_twice_for_those_who_wait_and_then_fails_for_all() {
    let script = Script::new();
    script.fails.store(9, Ordering::SeqCst);
    let scene = Scene::new(script);
    let asked: Vec<_> = (0..3).map(|_| scene.ask(scene.wanted(Duration::ZERO))).collect();
    scene.until(|scene| scene.waiting() == 2).await;
    scene.script.gate.add_permits(9);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(Unanswered::Failed(Down)));
    }
    assert_eq!(scene.script.tries(), 3);
}

#[tokio::test]
async fn a_private_answer_is_its_own_and_nobody_waits_for_the_next() {
    let scene = Scene::new(Script { is_private: true, ..Script::new() });
    let asked: Vec<_> = (0..3).map(|_| scene.ask(scene.wanted(SECOND))).collect();
    scene.until(|scene| scene.waiting() == 2).await;
    scene.script.gate.add_permits(3);
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap().unwrap());
    }
    answers.sort();
    assert_eq!(answers, ["answer 1", "answer 2", "answer 3"]);
    let next: Vec<_> = (0..2).map(|_| scene.ask(scene.wanted(SECOND))).collect();
    scene.until(|scene| scene.script.tries() == 5).await;
    assert_eq!(scene.waiting(), 0);
    scene.script.gate.add_permits(2);
    for asked in next {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_varies_is_shared_by_those_who_sent_the_same() {
    let scene = Scene::new(Script { varies: vec![header("accept-language")], ..Script::new() });
    let asking = |language: &'static str| {
        let mut wanted = scene.wanted(SECOND);
        wanted.headers.insert(header("accept-language"), HeaderValue::from_static(language));
        scene.ask(wanted)
    };
    let asked: Vec<_> = ["de", "de", "en", "en"].map(asking).into();
    scene.until(|scene| scene.waiting() == 3).await;
    scene.script.gate.add_permits(2);
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap().unwrap());
    }
    let bare = answers.iter().map(|answer| answer.trim_start_matches("stored ")).collect::<Vec<_>>();
    assert!(bare[0] == bare[1] && bare[2] == bare[3] && bare[0] != bare[2], "{answers:?}");
    assert_eq!(scene.script.tries(), 2);
    assert!(asking("en").await.unwrap().unwrap().starts_with("stored"));
}

#[tokio::test]
async fn work_that_everybody_left_is_given_up() {
    let scene = Scene::new(Script::new());
    let asked = scene.ask(scene.wanted(Duration::ZERO));
    scene.until(|scene| scene.script.tries() == 1).await;
    asked.abort();
    scene.until(|scene| scene.sharing.flights.is_empty()).await;
    assert_eq!(scene.answered(scene.wanted(Duration::ZERO)).await, Ok("answer 2".to_owned()));
}

#[tokio::test]
async fn a_request_may_want_a_stored_answer_or_none() {
    let scene = Scene::new(Script::new());
    let mut wanted = scene.wanted(SECOND);
    wanted.policy.obey(RequestDirectives { only_if_cached: true, ..RequestDirectives::default() });
    assert_eq!(scene.ask(wanted.clone()).await.unwrap(), Err(Unanswered::NotCached));
    scene.answered(scene.wanted(SECOND)).await.unwrap();
    assert_eq!(scene.ask(wanted).await.unwrap(), Ok("stored answer 1".to_owned()));
}

fn header(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}
