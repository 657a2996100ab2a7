"""Formats of a relayed stream, held to the cases that the proxy is held to."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from django_siding import formats
from django_siding.deltas.events import LARGEST, Intake, Oversized, is_event_stream

CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "tests" / "relay-formats").glob("*.json"))
}
URLS = {
    "openai-chat": "https://api.openai.com/v1/chat/completions",
    "openai-completions": "http://127.0.0.1:8000/v1/completions",
    "openai-responses": "https://api.openai.com/v1/responses?a=b",
    "anthropic-messages": "https://api.anthropic.com/v1/messages",
    "gemini-generate": "https://g.example/v1beta/models/g:streamGenerateContent?alt=sse",
}
CHAT = URLS["openai-chat"]
HALF = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def translated(format, url, stream, size=None):
    translator = formats.translator(format, url)
    size = size or len(stream) or 1
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    told = b"".join(map(translator.feed, pieces)) + translator.finish()
    return translator, told


def parts(stream):
    data = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n")[:-1]]
    is_done = data[-1:] == [b"[DONE]"]
    return [json.loads(part) for part in data[: -1 if is_done else None]], is_done


def test_there_is_a_case_for_every_api():
    assert {case["api"] for case in CASES.values()} == set(URLS)


def test_the_text_is_what_the_provider_said(case):
    _, text = translated("text", URLS[case["api"]], case["stream"].encode())
    assert text.decode() == case["text"]


def test_ui_messages_tell_what_the_provider_said(case):
    _, stream = translated("ui-message-stream", URLS[case["api"]], case["stream"].encode())
    told, is_done = parts(stream)
    assert told == case["ui"]
    assert is_done == (case["failure"] is None)


@pytest.mark.parametrize("format", formats.FORMATS)
def test_whatever_the_format_the_answer_is_collected(case, format):
    translator, _ = translated(format, URLS[case["api"]], case["stream"].encode())
    assert translator.text == case["text"]
    assert translator.finish_reason == case["finish_reason"]
    assert translator.usage == case["usage"]
    assert translator.error == case["failure"]


@pytest.mark.parametrize("format", formats.FORMATS)
def test_the_formats_do_not_depend_on_how_a_stream_is_split(case, format):
    url, stream = URLS[case["api"]], case["stream"].encode()
    _, whole = translated(format, url, stream)
    for size in (1, 2, 3, 7, 64):
        assert translated(format, url, stream, size)[1] == whole, size
    if format == "provider":
        assert whole == stream


@pytest.mark.parametrize("format", formats.FORMATS)
def test_no_damage_is_an_exception_or_depends_on_the_splits(case, format):
    chance = random.Random(case["stream"])
    for _ in range(8):
        stream = bytearray(case["stream"].encode())
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(stream) + 1)
            stream[at : at + chance.randrange(30)] = chance.randbytes(chance.randrange(6))
        for url in URLS.values():
            _, whole = translated(format, url, bytes(stream))
            assert translated(format, url, bytes(stream), 5)[1] == whole


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_every_kind_of_line_end_ends_an_event(end, size):
    stream = HALF.decode().replace("\n", end).encode() * 3
    for format in ("text", "provider"):
        translator, told = translated(format, CHAT, stream, size)
        assert translator.text == "aaa"
        assert told == (b"aaa" if format == "text" else stream)


def test_a_broken_stream_ends_with_an_error_after_its_last_whole_event():
    translator = formats.translator("provider", CHAT)
    assert translator.feed(HALF + b'data: {"cho') == HALF
    error = json.loads(translator.fail('It "broke".\n').removeprefix(b"data: "))
    assert error["error"]["message"] == 'It "broke".\n'


def test_each_api_reports_a_broken_stream_in_its_own_way():
    said = {
        api: formats.translator("provider", url).fail("m").decode() for api, url in URLS.items()
    }
    openai = {"message": "m", "type": "server_error", "param": None, "code": "stream_interrupted"}
    documents = {api: json.loads(event.partition("data: ")[2]) for api, event in said.items()}
    assert documents == {
        "openai-chat": {"error": openai},
        "openai-completions": {"error": openai},
        "openai-responses": {**openai, "type": "error", "error": openai},
        "anthropic-messages": {"type": "error", "error": {"type": "api_error", "message": "m"}},
        "gemini-generate": {"error": {"code": 502, "message": "m", "status": "UNAVAILABLE"}},
    }
    named = {api for api, event in said.items() if event.startswith("event: error\n")}
    assert named == {"openai-responses", "anthropic-messages"}


def test_an_event_too_large_to_hold_is_handed_on_and_an_error_begins_its_own_line():
    translator = formats.translator("provider", CHAT)
    large = b"data: " + b"a" * (2 << 20)
    assert translator.feed(large) == large
    assert translator.feed(b"b") == b"b"
    assert translator.fail("m").startswith(b"\n\ndata: ")


def test_what_is_too_large_to_be_read_is_named_and_the_next_event_read():
    large = b"data: " + b"a" * (LARGEST + 1) + b"\n\n"
    for size in (1 << 16, len(large) + 20):
        intake, seen = Intake(), []
        stream = large + b"data: 2\n\n"
        for at in range(0, len(stream), size):
            seen += intake.feed(stream[at : at + size])
        assert isinstance(seen[0], Oversized)
        assert [event.data for event in seen[1:]] == [b"2"]


def test_what_is_not_a_stream_of_events_has_no_error():
    translator = formats.translator("provider", CHAT)
    assert translator.feed(b'{"id":') == b'{"id":'
    assert translator.fail("m") is None
    assert formats.translator("text", CHAT).fail("m") is None
    assert formats.translator("provider", "https://x.example/other").fail("m") is None


def test_a_broken_ui_stream_reports_one_error_and_no_end():
    translator = formats.translator("ui-message-stream", CHAT)
    translator.feed(HALF)
    assert parts(translator.fail("m")) == ([{"type": "error", "errorText": "m"}], False)
    assert (translator.fail("m"), translator.finish()) == (b"", b"")


def test_half_a_character_breaks_nothing():
    text = b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
    parts = b'[{"functionCall":{"args":{"a":"\\ud83d"}}}]'
    call = b'data: {"candidates":[{"content":{"parts":%s}}]}\n\n' % parts
    for format in formats.FORMATS:
        translated(format, CHAT, text + HALF)
        translated(format, URLS["gemini-generate"], call)
    assert translated("text", CHAT, text + HALF)[1] == b"a"


def test_an_api_that_is_not_known_has_only_the_providers_format():
    url = "https://x.example/v1/embeddings"
    assert formats.understands("provider", url)
    assert not formats.understands("text", url)
    assert translated("provider", url, HALF)[1] == HALF
    for format in ("text", "ui-message-stream"):
        translator, told = translated(format, url, HALF)
        assert told == b""
        assert translator.text == ""


def test_the_form_is_told_from_the_beginning():
    assert [is_event_stream(begin) for begin in (b"", b"\xef\xbb", b" \n")] == [None] * 3
    assert is_event_stream(b"\xef\xbb\xbf {") is False
    assert is_event_stream(b" " * 64) is True


def test_a_format_has_its_headers():
    assert formats.content_type("provider", "text/event-stream; a=b") == "text/event-stream; a=b"
    assert formats.content_type("text", "x/y") == "text/plain; charset=utf-8"
    assert formats.content_type("ui-message-stream", "x/y") == "text/event-stream"
    assert formats.headers("text")["X-Accel-Buffering"] == "no"
    assert formats.headers("ui-message-stream")["x-vercel-ai-ui-message-stream"] == "v1"
    with pytest.raises(ValueError, match="provider, text, ui-message-stream"):
        formats.translator("html", CHAT)
