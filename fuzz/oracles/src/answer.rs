//! The two forms of an answer, and the way between them: `siding::answer::Api`.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use siding::answer::{Api, Form, Splitter};

use crate::json::Tree;
use crate::said::Said;
use crate::{APIS, choice};

/// A letter for the API, one for whether usage is asked for, then an answer in either form. What can be brought into the
/// other form says the same there, and can be brought back.
pub fn answer(data: &[u8]) {
    let Some(([api, usage], body)) = data.split_first_chunk() else { return };
    let (api, usage) = (choice(*api, &APIS), choice(*usage, &[false, true]));
    for form in [Form::Plain, Form::Stream] {
        let (storable, tokens) = (api.storable(form, body), api.tokens(form, body));
        assert_eq!((storable, tokens), (api.storable(form, body), api.tokens(form, body)));
    }
    if let Ok(plain) = api.assemble(body) {
        let plain = is_object(&plain).expect("an assembled answer is an object");
        assert_eq!(api.storable(Form::Stream, body), api.storable(Form::Plain, plain.as_bytes()));
    }
    if let Ok(stream) = api.chunk(body, usage) {
        assert_eq!(api.chunk(body, usage).as_ref(), Ok(&stream), "the same bytes each time");
        assert_eq!(whole_events(&stream), stream.len(), "a stream ends with an event");
        if api.storable(Form::Plain, body).is_ok() && is_unambiguous(body) && is_usual(api, body) {
            converted(api, body, &stream, usage);
        }
    }
}

/// What may be stored is given to callers of both forms.
fn converted(api: Api, plain: &[u8], stream: &[u8], usage: bool) {
    assert_eq!(api.storable(Form::Stream, stream), Ok(()), "{}", String::from_utf8_lossy(stream));
    let back = api.assemble(stream).expect("what is storable can be assembled");
    let [one, streamed, other] = [plain, stream, &back].map(|answer| said(api, answer));
    assert_eq!(one, streamed, "{}", String::from_utf8_lossy(stream));
    assert_eq!(one, other, "{}", String::from_utf8_lossy(&back));
    let is_told = usage || !matches!(api, Api::OpenaiChat | Api::OpenaiCompletions);
    assert_eq!(api.tokens(Form::Plain, plain).filter(|_| is_told), api.tokens(Form::Plain, &back));
}

/// White space in the input of a tool means nothing, nor is an empty input more than none. Pages are told of parts of any
/// kind in one form, and of known kinds in the other.
fn said(api: Api, answer: &[u8]) -> Said {
    let mut said = Said { tokens: None, sources: Vec::new(), ..Said::of(api, answer) };
    for (.., input) in &mut said.calls {
        if let Ok(value) = serde_json::from_str::<Value>(input) {
            *input = if value == json!({}) { String::new() } else { value.to_string() };
        }
    }
    said
}

fn is_object(json: &[u8]) -> Option<&str> {
    let raw: &RawValue = serde_json::from_slice(json).ok()?;
    raw.get().starts_with('{').then_some(raw.get())
}

fn is_unambiguous(json: &[u8]) -> bool {
    Tree::read(json).is_some_and(|tree| tree.is_unambiguous())
}

/// Whether nothing is in it that its API never sends, and that readers of one form see and those of the other don't.
fn is_usual(api: Api, json: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(json) else { return false };
    let all = |list: &Value, is_usual: &dyn Fn(&Value) -> bool| list.as_array().into_iter().flatten().all(is_usual);
    let lacks = |object: &Value, keys: &[&str]| keys.iter().all(|key| object[*key].is_null());
    let has_objects = |list: &Value| all(list, &Value::is_object);
    // Of several answers the first is told.
    let has_first = |list: &Value| !all(list, &|one| one["index"].as_u64().is_some_and(|index| index > 0));
    match api {
        Api::OpenaiChat => {
            let is_usual = |choice: &Value| {
                let calls = &choice["message"]["tool_calls"];
                lacks(choice, &["text", "delta"]) && all(calls, &|call| lacks(call, &["index"]))
            };
            lacks(&answer, &["type"]) && has_first(&answer["choices"]) && all(&answer["choices"], &is_usual)
        }
        Api::OpenaiCompletions => {
            let is_usual = |choice: &Value| lacks(choice, &["message", "delta"]);
            lacks(&answer, &["type"]) && has_first(&answer["choices"]) && all(&answer["choices"], &is_usual)
        }
        Api::OpenaiResponses => lacks(&answer, &["type"]),
        Api::AnthropicMessages => all(&answer["content"], &|block| has_objects(&block["citations"])),
        Api::GeminiGenerate => all(&answer["candidates"], &|candidate| {
            let content = &candidate["content"];
            (content.is_null() || content.is_object()) && has_objects(&content["parts"])
        }),
        Api::OpenaiEmbeddings | Api::GeminiEmbed => false,
    }
}

fn whole_events(stream: &[u8]) -> usize {
    let (mut splitter, mut whole) = (Splitter::new(), 0);
    while let Some(end) = splitter.end(&stream[whole..]) {
        whole += end;
    }
    whole
}
