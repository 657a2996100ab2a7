use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::job::OVERHEAD;
use super::*;
use crate::drain::Drain;
use crate::telemetry::{Reason, Registry};
use crate::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);
/// What a job holds besides its answer.
const BARE: u64 = OVERHEAD as u64;

fn config() -> Config {
    Config {
        path: "/jobs".into(),
        retention: MINUTE,
        capacity: 2 * OVERHEAD + 100,
        max_result: 60,
        max_jobs: 2,
        max_wait: MINUTE,
        ownership: Ownership { by_credentials: true, cookies: vec!["sessionid".into()] },
    }
}

fn jobs() -> (Jobs, Registry) {
    let registry = Registry::new().unwrap();
    (Jobs::new(config(), [], Drain::new(), None, &registry).unwrap(), registry)
}

fn credentials(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("authorization"), HeaderValue::from_static(value))])
}

fn begin(jobs: &Jobs) -> (Running, Caller) {
    jobs.begin(&credentials("me"), "exchange", &Rule::default()).unwrap()
}

/// A job that ended with this answer.
async fn finished(jobs: &Jobs, body: &'static [u8]) -> Arc<Job> {
    let (running, _) = begin(jobs);
    let job = Arc::clone(running.job());
    running.begin(StatusCode::CREATED, HeaderMap::new()).unwrap();
    running.push(Bytes::from_static(body)).unwrap();
    running.finish(None).await;
    job
}

async fn answer(jobs: &Jobs, job: &Job) -> Option<Bytes> {
    match jobs.find(&job.id, &credentials("me")).await? {
        Found::Distant(_) => unreachable!("there is no other process"),
        Found::Finished(finished) => match &finished.ended {
            Ended::Answered(answer) => Some(answer.body.clone()),
            Ended::Refused(refusal) => panic!("{refusal:?}"),
        },
        Found::Job(_) => panic!("still under way"),
    }
}

/// What Prometheus would read.
fn value(registry: &Registry, series: &str) -> u64 {
    let text = registry.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
}

#[tokio::test]
async fn a_job_goes_from_its_queue_to_its_answer() {
    let (jobs, registry) = jobs();
    let (running, caller) = begin(&jobs);
    let phase = || running.job().snapshot().map(|it| (it.phase, it.passes, it.calls)).unwrap();
    assert_eq!(phase(), (Phase::Queued, 0, 0));
    running.job().now(Phase::Calling, 1, 2);
    assert_eq!(phase(), (Phase::Calling, 1, 2));
    assert_eq!(value(&registry, "siding_jobs{state=\"calling\"}"), 1);
    running.begin(StatusCode::OK, HeaderMap::new()).unwrap();
    running.push(Bytes::from_static("a\u{20ac}".as_bytes()).slice(..2)).unwrap();
    assert_eq!(running.job().snapshot().unwrap().output, Some(Text::Text("a".into())), "as far as it is text");
    assert_eq!(value(&registry, "siding_job_result_bytes"), BARE + 2);
    let job = Arc::clone(caller.job());
    running.finish(None).await;
    assert_eq!(answer(&jobs, &job).await.unwrap().len(), 2);
    assert!(matches!(job.ended().await, Ending::Finished(finished) if finished.ended.status() == StatusCode::OK));
    assert_eq!(value(&registry, "siding_jobs{state=\"calling\"}"), 0);
    assert_eq!(value(&registry, "siding_jobs_ended_total{outcome=\"answered\"}"), 1);
    assert_eq!(value(&registry, "siding_job_results"), 1);
}

#[tokio::test]
async fn an_answer_with_a_length_is_told_when_it_is_complete() {
    let (jobs, _) = jobs();
    let (running, _caller) = begin(&jobs);
    let length = (http::header::CONTENT_LENGTH, HeaderValue::from_static("4"));
    running.begin(StatusCode::OK, HeaderMap::from_iter([length])).unwrap();
    running.push(Bytes::from_static(b"half")).unwrap();
    let snapshot = running.job().snapshot().unwrap();
    assert_eq!((snapshot.bytes, snapshot.output), (4, None));
}

#[tokio::test]
async fn a_job_of_somebody_else_is_none() {
    let (jobs, _) = jobs();
    let (running, _caller) = begin(&jobs);
    let id = running.job().id.clone();
    for headers in [credentials("other"), HeaderMap::new()] {
        assert!(jobs.find(&id, &headers).await.is_none());
    }
    assert!(jobs.find(&id, &credentials("me")).await.is_some());
    assert!(jobs.find("0123", &credentials("me")).await.is_none());
    running.finish(None).await;
    assert!(jobs.find(&id, &credentials("other")).await.is_none());
}

#[tokio::test]
async fn there_are_never_more_jobs_under_way_than_allowed() {
    let (jobs, registry) = jobs();
    let (first, _second) = (begin(&jobs), begin(&jobs));
    let refused = jobs.begin(&credentials("me"), "exchange", &Rule::default());
    assert_eq!(refused.err(), Some(TooMany));
    assert_eq!(value(&registry, "siding_jobs_rejected_total"), 1);
    let (running, caller) = first;
    drop(caller);
    running.finish(None).await;
    begin(&jobs);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_its_time() {
    let (jobs, registry) = jobs();
    let job = finished(&jobs, b"answer").await;
    sleep(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(answer(&jobs, &job).await, Some(Bytes::from_static(b"answer")));
    sleep(Duration::from_millis(1)).await;
    drop(job);
    jobs.observe();
    assert_eq!(value(&registry, "siding_job_results_dropped_total{reason=\"expired\"}"), 1);
    assert_eq!(value(&registry, "siding_job_results"), 0);
    assert_eq!(value(&registry, "siding_job_result_bytes"), 0);
}

#[tokio::test]
async fn the_oldest_results_make_room_for_new_ones() {
    let (jobs, registry) = jobs();
    let (first, second) =
        (finished(&jobs, &[b'a'; 40]).await.id.clone(), finished(&jobs, &[b'b'; 40]).await.id.clone());
    let third = finished(&jobs, &[b'c'; 60]).await;
    assert!(jobs.find(&first, &credentials("me")).await.is_none());
    assert!(jobs.find(&second, &credentials("me")).await.is_some());
    assert_eq!(answer(&jobs, &third).await, Some(Bytes::from_static(&[b'c'; 60])));
    assert_eq!(value(&registry, "siding_job_results_dropped_total{reason=\"evicted\"}"), 1);
    assert_eq!(value(&registry, "siding_job_result_bytes"), 2 * BARE + 100);
}

#[tokio::test]
async fn results_without_content_take_memory_too() {
    let (jobs, registry) = jobs();
    for _ in 0..10 {
        finished(&jobs, b"").await;
    }
    assert_eq!(value(&registry, "siding_job_results"), 2);
    let (one, _two) = (begin(&jobs), begin(&jobs));
    assert_eq!(value(&registry, "siding_job_results"), 0, "what is under way goes before what has ended");
    let many =
        HeaderMap::from_iter([(HeaderName::from_static("x-long"), HeaderValue::from_str(&"x".repeat(100)).unwrap())]);
    assert_eq!(one.0.begin(StatusCode::OK, many), Err(TooLarge));
}

#[tokio::test]
async fn an_answer_larger_than_allowed_is_refused_whatever_could_make_room() {
    let (jobs, _) = jobs();
    let (running, _caller) = begin(&jobs);
    running.push(Bytes::from_static(&[0; 60])).unwrap();
    assert_eq!(running.push(Bytes::from_static(&[0; 1])), Err(TooLarge));
    let (other, _caller) = begin(&jobs);
    other.push(Bytes::from_static(&[0; 40])).unwrap();
    assert_eq!(other.push(Bytes::from_static(&[0; 1])), Err(TooLarge), "what is under way is not dropped");
}

#[tokio::test]
async fn what_is_refused_holds_no_answer() {
    let (jobs, registry) = jobs();
    let (running, _) = begin(&jobs);
    running.push(Bytes::from_static(&[0; 60])).unwrap();
    let job = Arc::clone(running.job());
    let refusal = Refusal { reason: Reason::Deadline, retry_after: None, status: StatusCode::GATEWAY_TIMEOUT };
    running.finish(Some(refusal)).await;
    let Ending::Finished(kept) = job.ended().await else { panic!("not cancelled") };
    assert!(matches!(&kept.ended, Ended::Refused(kept) if *kept == refusal));
    assert_eq!(value(&registry, "siding_job_result_bytes"), BARE);
    assert_eq!(value(&registry, "siding_jobs_ended_total{outcome=\"refused\"}"), 1);
}

#[tokio::test]
async fn an_owner_ends_a_job_and_forgets_a_result() {
    let (jobs, registry) = jobs();
    let (running, caller) = begin(&jobs);
    let job = Arc::clone(caller.job());
    let found = jobs.find(&job.id, &credentials("me")).await.unwrap();
    jobs.remove(&found).await;
    running.cancelled().await;
    assert!(jobs.find(&job.id, &credentials("me")).await.is_none());
    running.finish(None).await;
    assert!(jobs.find(&job.id, &credentials("me")).await.is_none(), "its answer came too late");
    assert_eq!(value(&registry, "siding_jobs_ended_total{outcome=\"cancelled\"}"), 1);
    assert_eq!(value(&registry, "siding_jobs_ended_total{outcome=\"answered\"}"), 0);

    let job = finished(&jobs, b"answer").await;
    let found = jobs.find(&job.id, &credentials("me")).await.unwrap();
    jobs.remove(&found).await;
    assert!(jobs.find(&job.id, &credentials("me")).await.is_none());
}

#[tokio::test]
async fn work_that_vanishes_is_an_internal_error() {
    let (jobs, _) = jobs();
    let (running, caller) = begin(&jobs);
    drop(running);
    let Ending::Finished(finished) = caller.job().ended().await else { panic!("not cancelled") };
    assert_eq!(finished.ended.word(), "internal");
    assert!(jobs.find(&caller.job().id, &credentials("me")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_as_long_as_it_would_and_no_longer() {
    let (jobs, _) = jobs();
    let (running, caller) = begin(&jobs);
    assert!(caller.wait(MINUTE).await.is_none());
    let finishing = async {
        sleep(MINUTE).await;
        running.finish(None).await;
    };
    let (found, ()) = tokio::join!(caller.wait(2 * MINUTE), finishing);
    let id = found.unwrap().id.clone();
    caller.answered().await;
    assert!(jobs.find(&id, &credentials("me")).await.is_none(), "nobody was told where it is");
}

#[tokio::test(start_paused = true)]
async fn events_come_as_things_happen_with_comments_in_long_silences() {
    let (jobs, _) = jobs();
    let (running, caller) = begin(&jobs);
    let mut events = Events::of(Arc::clone(caller.job()), Cursor::default());
    let mut next = async || String::from_utf8(events.next().await.unwrap_or_default().into()).unwrap();
    assert!(next().await.contains("\"queued\""));
    assert_eq!(next().await, ": keep-alive\n\n");
    let telling = async {
        sleep(Duration::from_secs(1)).await;
        running.now(Phase::Running, 1, 0);
    };
    assert!(tokio::join!(next(), telling).0.contains("\"running\""));
    running.begin(StatusCode::OK, HeaderMap::new()).unwrap();
    running.push(Bytes::from_static(b"ab")).unwrap();
    running.finish(None).await;
    assert!(next().await.ends_with("event: output\ndata: {\"text\":\"ab\"}\n\n"));
    assert!(next().await.contains("event: done\ndata: {\"status\":200,"));
    assert_eq!(next().await, "");
}

#[tokio::test]
async fn readers_of_a_job_that_is_cancelled_are_told() {
    let (jobs, _) = jobs();
    let (_running, caller) = begin(&jobs);
    let mut events = Events::of(Arc::clone(caller.job()), Cursor::default());
    events.next().await;
    jobs.remove(&Found::Job(Arc::clone(caller.job()))).await;
    let told = events.next().await.unwrap();
    assert!(told.ends_with(b"data: {\"status\":null,\"outcome\":\"cancelled\"}\n\n"), "{told:?}");
    assert_eq!(events.next().await, None);
}
