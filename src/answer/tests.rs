//! Both forms of an answer say the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{LONG, anthropic, chat, chat_choices, gemini, response};
use super::*;

const APIS: [Api; 7] = [
    Api::OpenaiChat,
    Api::OpenaiCompletions,
    Api::OpenaiResponses,
    Api::OpenaiEmbeddings,
    Api::AnthropicMessages,
    Api::GeminiGenerate,
    Api::GeminiEmbed,
];

fn stream(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn openai(events: &[Value]) -> String {
    stream(events) + "data: [DONE]\n\n"
}

fn assembled(api: Api, stream: &str) -> Value {
    serde_json::from_slice(&api.assemble(stream.as_bytes()).unwrap()).unwrap()
}

fn chunked(api: Api, plain: &Value) -> String {
    let plain = serde_json::to_vec_pretty(plain).unwrap();
    let chunked = api.chunk(&plain, true).unwrap();
    assert_eq!(api.chunk(&plain, true), Ok(chunked.clone()), "the same bytes each time");
    String::from_utf8(chunked.into()).unwrap()
}

fn survives(api: Api, plain: &Value) {
    let chunked = chunked(api, plain);
    assert_eq!(&assembled(api, &chunked), plain, "{chunked}");
    assert_eq!(api.storable(Form::Stream, chunked.as_bytes()), api.storable(Form::Plain, plain.to_string().as_bytes()));
}

#[test]
fn a_plain_answer_survives_its_stream() {
    survives(Api::OpenaiChat, &chat(&chat_choices()));
    survives(Api::AnthropicMessages, &anthropic());
    survives(Api::GeminiGenerate, &gemini());
    survives(Api::OpenaiResponses, &response());
    let logprobs = json!({"tokens": ["a"], "token_logprobs": [-0.5], "text_offset": [0], "top_logprobs": null});
    survives(
        Api::OpenaiCompletions,
        &json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "usage": {"total_tokens": 3}, "choices": [
            {"index": 0, "text": LONG, "finish_reason": "stop", "logprobs": null},
            {"index": 1, "text": LONG, "finish_reason": "stop", "logprobs": logprobs}]}),
    );
}

#[test]
fn answers_that_claim_one_place_are_not_mixed_in_a_stream() {
    let choice = |index: u64| json!({"index": index, "finish_reason": "stop", "message": {"content": "a"}});
    let chat = |choices: Value| Api::OpenaiChat.chunk(chat(&choices).to_string().as_bytes(), false);
    assert!(chat(json!([choice(1), choice(0)])).is_ok());
    assert_eq!(chat(json!([choice(0), choice(0)])), Err(Inconvertible::Unfamiliar));
    let candidate = json!({"finishReason": "STOP", "content": {"parts": [{"text": "a"}]}});
    let both = json!({"candidates": [candidate, candidate]}).to_string();
    assert_eq!(Api::GeminiGenerate.chunk(both.as_bytes(), false), Err(Inconvertible::Unfamiliar));
}

#[test]
fn numbers_and_order_stay_as_they_are_spelt() {
    let call = r#"{"z":1.50,"a":12345678901234567890123}"#;
    let plain = format!(
        r#"{{"type":"message","content":[{{"type":"tool_use","input":{call}}}],"stop_reason":"tool_use","usage":{{}}}}"#
    );
    let stream = Api::AnthropicMessages.chunk(plain.as_bytes(), false).unwrap();
    let assembled = Api::AnthropicMessages.assemble(&stream).unwrap();
    assert!(String::from_utf8_lossy(&assembled).contains(call));
}

#[test]
fn text_comes_in_fragments_of_sensible_size() {
    let events = chunked(Api::OpenaiChat, &chat(&chat_choices()));
    let deltas: Vec<String> = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert!(deltas.len() > 3 && deltas.iter().all(|delta| delta.chars().count() <= 64), "{deltas:?}");
}

#[test]
fn a_stream_counts_no_tokens_that_the_answer_did_not() {
    for usage in [json!(null), json!("none"), json!({}), json!({"service_tier": "standard"})] {
        let mut plain = anthropic();
        plain["usage"] = usage;
        let plain = plain.to_string();
        let stream = Api::AnthropicMessages.chunk(plain.as_bytes(), false).unwrap();
        assert_eq!(Api::AnthropicMessages.tokens(Form::Stream, &stream), None, "{plain}");
        assert_eq!(Api::AnthropicMessages.storable(Form::Stream, &stream), Ok(()), "{plain}");
    }
}

#[test]
fn usage_is_streamed_only_to_those_who_ask() {
    let plain = chat(&chat_choices()).to_string();
    let silent = Api::OpenaiChat.chunk(plain.as_bytes(), false).unwrap();
    assert!(!String::from_utf8_lossy(&silent).contains("usage"));
    let told = Api::OpenaiChat.chunk(plain.as_bytes(), true).unwrap();
    let mut filter = UsageFilter::new();
    let filtered = String::from_utf8_lossy(&filter.push(told)).replace(",\"usage\":null", "");
    assert_eq!(filtered, String::from_utf8_lossy(&silent));
}

#[test]
fn what_openais_chunks_say_in_pieces_is_joined() {
    let chunk = |choices: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": null, "obfuscation": "xyz"});
    let delta = |delta: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]));
    let call = |index: u64, call: Value| {
        let mut call = call;
        call["index"] = json!(index);
        delta(json!({ "tool_calls": [call] }))
    };
    let answer = assembled(
        Api::OpenaiChat,
        &openai(&[
            json!({"id": "", "model": "", "created": 0, "object": "", "choices": [], "prompt_filter_results": [1]}),
            delta(json!({"role": "assistant", "content": "", "refusal": null})),
            delta(json!({"role": "assistant", "content": "Hel"})),
            delta(json!({"content": "lo", "x_note": "a"})),
            delta(json!({"content": null, "x_note": "b", "x_score": 1})),
            call(1, json!({"id": "b", "type": "function", "function": {"name": "stop", "arguments": ""}})),
            call(0, json!({"id": "a", "type": "function", "function": {"name": "go", "arguments": "{\"n\""}})),
            call(1, json!({"id": "", "function": {"arguments": "{}"}})),
            call(0, json!({"function": {"name": "go", "arguments": ":1}"}})),
            chunk(json!([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])),
            json!({"id": "c", "choices": [], "usage": {"total_tokens": 5}}),
        ]),
    );
    let message = json!({"role": "assistant", "content": "Hello", "refusal": null, "x_note": "ab", "x_score": 1, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "go", "arguments": "{\"n\":1}"}},
        {"id": "b", "type": "function", "function": {"name": "stop", "arguments": "{}"}}]});
    let expected = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "prompt_filter_results": [1],
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {"total_tokens": 5}});
    assert_eq!(answer, expected);
}

#[test]
fn anthropics_end_is_laid_over_its_beginning() {
    let answer = assembled(
        Api::AnthropicMessages,
        &stream(&[
            json!({"type": "message_start", "message": {"type": "message", "content": [], "stop_reason": null,
                "usage": {"input_tokens": 5, "output_tokens": 1, "service_tier": "standard"}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "citations": null}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"a": 1}}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": 7, "input_tokens": null}}),
            json!({"type": "message_stop"}),
        ]),
    );
    let expected = json!({"type": "message", "content": [{"type": "text", "text": "Hi", "citations": [{"a": 1}]}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 5, "output_tokens": 7, "service_tier": "standard"}});
    assert_eq!(answer, expected);
}

#[test]
fn geminis_parts_are_joined_where_they_are_alike() {
    let part = |part: Value| json!({"candidates": [{"content": {"parts": [part], "role": "model"}}], "usageMetadata": {"t": 1}});
    let call = json!({"functionCall": {"name": "go", "args": {}}});
    let answer = assembled(
        Api::GeminiGenerate,
        &stream(&[
            part(json!({"text": "hm", "thought": true})),
            part(json!({"text": "Hel"})),
            part(json!({"text": "lo"})),
            part(call.clone()),
            json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP"}], "usageMetadata": {"t": 2}}),
        ]),
    );
    let expected = json!({"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
        {"text": "hm", "thought": true}, {"text": "Hello"}, call]}}], "usageMetadata": {"t": 2}});
    assert_eq!(answer, expected);
}

#[test]
fn only_good_answers_are_stored() {
    let openai = |finish: &str, arguments: &str| {
        chat(&json!([{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": null,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "go", "arguments": arguments}}]}}]))
    };
    let with = |mut answer: Value, pointer: &str, value: Value| {
        *answer.pointer_mut(pointer).unwrap() = value;
        answer
    };
    let gemini_end = |reason: &str| with(gemini(), "/candidates/0/finishReason", json!(reason));
    let status = |status: &str| with(response(), "/status", json!(status));
    for (api, answer, verdict) in [
        (Api::OpenaiChat, openai("tool_calls", "{}"), Ok(())),
        (Api::OpenaiChat, openai("tool_calls", "{\"a\""), Err(Unstorable::InvalidToolCall)),
        (Api::OpenaiChat, openai("length", "{}"), Err(Unstorable::Truncated)),
        (Api::OpenaiChat, openai("content_filter", "{}"), Err(Unstorable::Filtered)),
        (Api::OpenaiChat, openai("odd", "{}"), Err(Unstorable::Incomplete)),
        (Api::OpenaiChat, json!({"error": {"message": "no"}}), Err(Unstorable::Error)),
        (Api::OpenaiChat, json!({"choices": []}), Err(Unstorable::Malformed)),
        (Api::OpenaiEmbeddings, json!({"data": []}), Ok(())),
        (Api::AnthropicMessages, anthropic(), Ok(())),
        (Api::AnthropicMessages, with(anthropic(), "/stop_reason", json!("refusal")), Err(Unstorable::Filtered)),
        (Api::AnthropicMessages, with(anthropic(), "/stop_reason", json!("max_tokens")), Err(Unstorable::Truncated)),
        (Api::AnthropicMessages, with(anthropic(), "/content/6/input", json!("{")), Err(Unstorable::InvalidToolCall)),
        (Api::GeminiGenerate, gemini(), Ok(())),
        (Api::GeminiGenerate, gemini_end("MAX_TOKENS"), Err(Unstorable::Truncated)),
        (Api::GeminiGenerate, gemini_end("SAFETY"), Err(Unstorable::Filtered)),
        (Api::GeminiGenerate, with(gemini(), "/candidates/0/content", json!("text")), Err(Unstorable::Malformed)),
        (Api::GeminiGenerate, json!({"promptFeedback": {"blockReason": "SAFETY"}}), Err(Unstorable::Filtered)),
        (Api::OpenaiResponses, response(), Ok(())),
        (Api::OpenaiResponses, status("queued"), Err(Unstorable::Background)),
        (Api::OpenaiResponses, status("incomplete"), Err(Unstorable::Truncated)),
        (Api::OpenaiResponses, status("failed"), Err(Unstorable::Error)),
        (Api::GeminiEmbed, json!({"embeddings": [{"values": [1]}]}), Ok(())),
    ] {
        assert_eq!(api.storable(Form::Plain, answer.to_string().as_bytes()), verdict, "{api:?} {answer}");
    }
}

#[test]
fn a_stream_cut_anywhere_is_not_stored() {
    let mut one_candidate = gemini();
    one_candidate["candidates"].as_array_mut().unwrap().truncate(1);
    for (api, plain) in [
        (Api::OpenaiChat, chat(&chat_choices())),
        (Api::OpenaiResponses, response()),
        (Api::AnthropicMessages, anthropic()),
        (Api::GeminiGenerate, one_candidate),
    ] {
        let stream = chunked(api, &plain).into_bytes();
        for cut in (0..stream.len()).rev().step_by(17) {
            assert_eq!(api.storable(Form::Stream, &stream[..cut]), Err(Unstorable::Incomplete), "{api:?} {cut}");
        }
        let failed =
            [b"event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"no\"}}\n\n", &stream[..]].concat();
        assert_eq!(api.storable(Form::Stream, &failed), Err(Unstorable::Error), "{api:?}");
    }
}

#[test]
fn nesting_is_not_followed_for_ever() {
    let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let chunk = format!(r#"data: {{"choices":[{{"index":0,"delta":{{"x":{deep}}}}}]}}"#);
    let stream = format!("{chunk}\n\n{chunk}\n\ndata: [DONE]\n\n");
    assert_eq!(Api::OpenaiChat.assemble(stream.as_bytes()), Err(Inconvertible::Unfamiliar));
}

#[test]
fn an_answer_that_names_ever_more_is_not_joined() {
    let fields = |count: usize| -> Value { (0..count).map(|at| (format!("x{at}"), json!(at))).collect() };
    let events = |each: &dyn Fn(usize) -> Value| -> Vec<Value> { (0..2000).map(each).collect() };
    let openai_choice = |choice: Value| json!({"object": "chat.completion.chunk", "choices": [choice]});
    let call = |at: usize| json!({"index": 0, "delta": {"tool_calls": [{"index": at, "id": "a"}]}});
    let field = |at: usize| json!({format!("x{at}"): 1});
    let block = |index: usize| json!({"type": "content_block_start", "index": index, "content_block": fields(2000)});
    for (api, events) in [
        (Api::OpenaiChat, events(&|at| openai_choice(call(at)))),
        (Api::OpenaiChat, events(&field)),
        (Api::OpenaiChat, events(&|at| openai_choice(json!({"index": 0, "delta": field(at)})))),
        (Api::GeminiGenerate, events(&field)),
        (Api::GeminiGenerate, vec![json!({"candidates": [{"content": fields(2000)}]})]),
        (Api::AnthropicMessages, vec![json!({"type": "message_start", "message": fields(2000)})]),
        (Api::AnthropicMessages, events(&block)),
    ] {
        let assembled = api.assemble(stream(&events).as_bytes());
        assert_eq!(assembled, Err(Inconvertible::Unfamiliar), "{api:?} {}", events[0]);
    }
}

#[test]
fn an_api_is_known_by_the_end_of_its_path() {
    for (vendor, path, api) in [
        (Vendor::Openai, "/v1/chat/completions", Some(Api::OpenaiChat)),
        (Vendor::Openai, "/v1/completions", Some(Api::OpenaiCompletions)),
        (Vendor::Openai, "/v1/responses", Some(Api::OpenaiResponses)),
        (Vendor::Openai, "/v1/responses/resp_1", None),
        (Vendor::Anthropic, "/v1/messages", Some(Api::AnthropicMessages)),
        (Vendor::Anthropic, "/v1/messages/count_tokens", None),
        (Vendor::Anthropic, "/v1/messages/batches", None),
        (Vendor::Gemini, "/v1beta/models/g:streamGenerateContent", Some(Api::GeminiGenerate)),
        (Vendor::Gemini, "/v1beta/models/g:countTokens", None),
    ] {
        assert_eq!(Api::of(vendor, path), api, "{path}");
    }
}

#[test]
fn every_reason_has_its_own_word() {
    let words: std::collections::HashSet<_> = Unstorable::ALL.into_iter().map(Unstorable::as_str).collect();
    assert_eq!(words.len(), Unstorable::ALL.len());
}

fn message() -> impl Strategy<Value = Value> {
    let call = ("[a-z_]{1,9}", "[a-z]{1,9}", ".{0,150}").prop_map(
        |(id, name, to)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": json!({"to": to}).to_string()}}),
    );
    let extra =
        prop_oneof![Just(json!([])), Just(json!({"a": "b"})), ".{0,70}".prop_map(|text| json!(text)), Just(json!(7))];
    let content = proptest::option::of(".{0,300}");
    (content, proptest::option::of(".{1,150}"), proptest::collection::vec(call, 0..4), proptest::option::of(extra))
        .prop_map(|(content, reasoning, calls, extra)| {
            let mut message = json!({"role": "assistant", "content": content, "refusal": null});
            let calls = (!calls.is_empty()).then_some(json!(calls));
            for (key, value) in
                [("reasoning_content", reasoning.map(Value::from)), ("tool_calls", calls), ("x_extra", extra)]
            {
                if let Some(value) = value {
                    message[key] = value;
                }
            }
            message
        })
}

/// Answers of both forms, damaged.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let plain = [chat(&chat_choices()), anthropic(), gemini(), response()].map(|plain| plain.to_string());
    let apis = [Api::OpenaiChat, Api::AnthropicMessages, Api::GeminiGenerate, Api::OpenaiResponses];
    let streams = apis.iter().zip(&plain).map(|(api, plain)| api.chunk(plain.as_bytes(), true).unwrap().to_vec());
    let answers: Vec<Vec<u8>> = streams.chain(plain.iter().map(|plain| plain.clone().into_bytes())).collect();
    let wrong = ["null", "[]", "{}", "\"\"", "7", ",", "\n\n", "\r", "\\", "data: {}\n\n", "\"index\":1,", "}]}"];
    let wrong = prop_oneof![
        proptest::sample::select(wrong.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..9)
    ];
    let damage = (any::<proptest::sample::Index>(), 0..40_usize, wrong);
    (proptest::sample::select(answers), proptest::collection::vec(damage, 0..4)).prop_map(|(mut answer, damages)| {
        for (at, length, wrong) in damages {
            let start = at.index(answer.len() + 1);
            let end = answer.len().min(start + length);
            answer.splice(start..end, wrong);
        }
        answer
    })
}

fn try_everything(bytes: Vec<u8>) {
    for api in APIS {
        let _ = api.asked("/a:streamGenerateContent", Some("alt=sse"), &bytes);
        let _ = (api.with_usage(&bytes), api.assemble(&bytes), api.chunk(&bytes, true));
        let _ = (api.storable(Form::Plain, &bytes), api.storable(Form::Stream, &bytes));
    }
    let _ = UsageFilter::new().push(bytes.into());
}

proptest! {
    #[test]
    fn any_chat_answer_survives_its_stream(messages in proptest::collection::vec(message(), 1..4)) {
        let choice = |(index, message)| json!({"index": index, "message": message, "logprobs": null, "finish_reason": "stop"});
        survives(Api::OpenaiChat, &chat(&messages.into_iter().enumerate().map(choice).collect()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        try_everything(bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(bytes in damaged()) {
        try_everything(bytes);
    }
}
