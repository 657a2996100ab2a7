//! Hedging against the slow tail: a second request when the first takes long, and the first good head of either.

use std::pin::pin;

use futures_util::future::{Either, select};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Dialect, Request};
use crate::time::{Duration, timeout};

/// Whose result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Winner {
    First,
    Second,
}

/// The member of a body that has an answer kept as a turn of a conversation (OpenAI's Responses).
#[derive(Deserialize)]
struct Body {
    conversation: Option<IgnoredAny>,
}

/// Whether a request may be made twice: it asks for an answer, and changes nothing that the provider keeps.
pub(super) fn may_repeat(dialect: Dialect, request: &Request) -> bool {
    let keeps_a_turn = || !matches!(serde_json::from_slice(&request.body), Ok(Body { conversation: None }));
    dialect.knows(request.url.path()) && !keeps_a_turn()
}

/// Runs `first`, and from `after` on also what `second` gives, if it gives anything. The first good result wins and the
/// other request is cancelled; where none is good, that of `first`.
///
/// # Cancel safety
/// Dropping the future drops both.
pub(super) async fn race<T, S: Future<Output = T>>(
    first: impl Future<Output = T>,
    after: Duration,
    second: impl FnOnce() -> Option<S>,
    is_good: impl Fn(&T) -> bool,
) -> (T, Winner) {
    let mut first = pin!(first);
    if let Ok(result) = timeout(after, &mut first).await {
        return (result, Winner::First);
    }
    let Some(second) = second() else { return (first.await, Winner::First) };
    match select(first, pin!(second)).await {
        Either::Left((result, _)) if is_good(&result) => (result, Winner::First),
        Either::Right((result, _)) if is_good(&result) => (result, Winner::Second),
        Either::Left((own, second)) => {
            let result = second.await;
            if is_good(&result) { (result, Winner::Second) } else { (own, Winner::First) }
        }
        Either::Right((_, first)) => (first.await, Winner::First),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Instant, sleep};
    use std::cell::Cell;
    use std::rc::Rc;

    const AFTER: Duration = Duration::from_millis(100);

    type Answer = Result<&'static str, &'static str>;

    async fn answers(millis: u64, answer: Answer) -> Answer {
        sleep(Duration::from_millis(millis)).await;
        answer
    }

    async fn raced(first: (u64, Answer), second: Option<(u64, Answer)>) -> (Answer, Winner, u128) {
        let began = Instant::now();
        let second = || second.map(|(millis, answer)| answers(millis, answer));
        let (answer, winner) = race(answers(first.0, first.1), AFTER, second, Result::is_ok).await;
        (answer, winner, began.elapsed().as_millis())
    }

    #[test]
    fn only_what_changes_nothing_is_asked_twice() {
        let may = |path: &str, body: &'static str| {
            let url = format!("http://a{path}").parse().unwrap();
            let headers = http::HeaderMap::new();
            let request = Request { method: http::Method::POST, url, headers, body: body.into(), patience: None };
            may_repeat(Dialect::Openai, &request)
        };
        assert!(may("/v1/chat/completions", r#"{"model":"m"}"#));
        assert!(may("/v1/responses", r#"{"conversation":null}"#));
        assert!(!may("/v1/responses", r#"{"conversation":"conv_1"}"#));
        assert!(!may("/v1/responses", "what is it?"));
        assert!(!may("/v1/batches", "{}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_answer_in_time_needs_no_second_request() {
        let asked = Cell::new(false);
        let second = || {
            asked.set(true);
            Some(answers(0, Ok("second")))
        };
        let raced = race(answers(99, Ok("first")), AFTER, second, Result::is_ok).await;
        assert_eq!((raced, asked.get()), ((Ok("first"), Winner::First), false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_wins_and_the_other_is_cancelled() {
        assert_eq!(raced((500, Ok("first")), Some((50, Ok("second")))).await, (Ok("second"), Winner::Second, 150));
        assert_eq!(raced((130, Ok("first")), Some((50, Ok("second")))).await, (Ok("first"), Winner::First, 130));
        let alive = Rc::new(());
        let held = Rc::clone(&alive);
        let first = async move {
            let _held = held;
            answers(10_000, Ok("first")).await
        };
        race(first, AFTER, || Some(answers(50, Ok("second"))), Result::is_ok).await.0.unwrap();
        assert_eq!(Rc::strong_count(&alive), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_answer_waits_for_a_good_one() {
        assert_eq!(raced((130, Err("first")), Some((50, Ok("second")))).await, (Ok("second"), Winner::Second, 150));
        assert_eq!(raced((500, Ok("first")), Some((50, Err("second")))).await, (Ok("first"), Winner::First, 500));
        assert_eq!(raced((130, Err("first")), Some((50, Err("second")))).await, (Err("first"), Winner::First, 150));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_second_request_the_first_is_waited_for() {
        assert_eq!(raced((500, Ok("first")), None).await, (Ok("first"), Winner::First, 500));
    }
}
