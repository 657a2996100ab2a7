//! Directives: `[name]` or `[name=value]` in a prompt changes how this one call behaves.
//! Anything in brackets that is not a directive is ordinary text.

use std::time::Duration;

use crate::behaviour::{Behaviour, Fault, Finish, Refusal, RetryAfter};

/// Applies every directive in `text`, in order, to `behaviour`.
pub fn apply(text: &str, behaviour: &mut Behaviour) {
    for (_, inside) in brackets(text) {
        apply_one(inside, behaviour);
    }
}

/// `text` without its directives.
pub fn strip(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (at, inside) in brackets(text) {
        if apply_one(inside, &mut Behaviour::default()) {
            kept.push_str(&text[from..at]);
            from = at + inside.len() + 2;
        }
    }
    kept.push_str(&text[from..]);
    kept
}

/// What stands in square brackets, with the position of the opening one.
fn brackets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('[').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let end = rest.find(['[', ']'])?;
        rest[end..].starts_with(']').then(|| (at, &rest[..end]))
    })
}

/// Whether `inside` was a directive.
fn apply_one(inside: &str, behaviour: &mut Behaviour) -> bool {
    match inside.split_once('=') {
        Some((name, value)) => set(name, value, behaviour).is_some(),
        None => switch(inside, behaviour).is_some(),
    }
}

fn set(name: &str, value: &str, behaviour: &mut Behaviour) -> Option<()> {
    match name {
        "latency" => behaviour.latency = duration(value)?,
        "tokens" => behaviour.tokens = value.parse().ok()?,
        "token-rate" => behaviour.token_rate = value.parse().ok().filter(|rate| *rate > 0.0)?,
        "status" => behaviour.status = status(value)?,
        "retry-after" => behaviour.retry_after = Some(RetryAfter::Verbatim(value.to_owned())),
        "retry-after-ms" => behaviour.retry_after = Some(RetryAfter::Millis(value.to_owned())),
        "retry-after-date" => behaviour.retry_after = Some(RetryAfter::Date(duration(value)?)),
        "refuse" => behaviour.refusal = Some(refusal(value)?),
        "drip" => behaviour.drip = Some(value.parse().ok()?),
        "finish" => behaviour.finish = finish(value)?,
        "fail-first" => {
            let (count, code) = value.split_once(':')?;
            behaviour.fail_first = Some((count.parse().ok()?, status(code)?));
        }
        _ => return None,
    }
    Some(())
}

fn switch(name: &str, behaviour: &mut Behaviour) -> Option<()> {
    match name {
        "tool" => behaviour.tool = true,
        "stamp" => behaviour.stamp = true,
        "hang" => behaviour.fault = Fault::Hang,
        "hang-body" => behaviour.fault = Fault::HangBody,
        "reset" => behaviour.fault = Fault::Reset,
        "reset-body" => behaviour.fault = Fault::ResetBody,
        "rst-body" => behaviour.fault = Fault::RstBody,
        "error-body" => behaviour.fault = Fault::ErrorBody,
        "malformed" => behaviour.fault = Fault::Malformed,
        "garbage" => behaviour.fault = Fault::Garbage,
        "garbage-http" => behaviour.fault = Fault::GarbageHttp,
        _ => return None,
    }
    Some(())
}

/// `500ms`, `2s`, `0`.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    humantime::parse_duration(text).ok()
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (200..600).contains(code))
}

fn refusal(text: &str) -> Option<Refusal> {
    match text {
        "context-length" => Some(Refusal::ContextLength),
        "content-filter" => Some(Refusal::ContentFilter),
        _ => None,
    }
}

fn finish(text: &str) -> Option<Finish> {
    match text {
        "stop" => Some(Finish::Stop),
        "length" => Some(Finish::Length),
        "filter" => Some(Finish::Filter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Behaviour {
        let mut behaviour = Behaviour::default();
        apply(text, &mut behaviour);
        behaviour
    }

    #[test]
    fn directives_change_only_what_they_name() {
        let read = read("Hi [latency=500ms] there [tokens=3] [status=429][retry-after=1] [tool]");
        assert_eq!(read.latency, Duration::from_millis(500));
        assert_eq!((read.tokens, read.status, read.tool), (3, 429, true));
        assert_eq!(read.retry_after, Some(RetryAfter::Verbatim("1".to_owned())));
        assert_eq!(read.token_rate, Behaviour::default().token_rate);
    }

    #[test]
    fn fail_first_takes_a_count_and_a_status() {
        assert_eq!(read("[fail-first=2:503]").fail_first, Some((2, 503)));
    }

    #[test]
    fn when_to_come_back_has_three_spellings() {
        assert_eq!(read("[retry-after-ms=250]").retry_after, Some(RetryAfter::Millis("250".to_owned())));
        let later = RetryAfter::Date(Duration::from_secs(2));
        assert_eq!(read("[retry-after-date=2s]").retry_after, Some(later));
    }

    #[test]
    fn what_is_not_a_directive_is_text() {
        for text in
            ["[x]", "[latency=soon]", "[status=9]", "[drip=0]", "[refuse=me]", "[[1]", "[latency=1s", "list[0]", "é[ü]"]
        {
            assert_eq!(read(text), Behaviour::default(), "{text}");
            assert_eq!(strip(text), text);
        }
    }

    #[test]
    fn stripping_takes_directives_out_wherever_they_are() {
        assert_eq!(strip("[hang]a [0] [tokens=1]b[reset]"), "a [0] b");
        assert_eq!(strip("[[hang]"), "[");
    }
}
