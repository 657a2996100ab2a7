"""The simulated LLM does what its directives say, on the wire: other tests rely on it."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime

import pytest
from chat_project import is_answer_to
from harness import raw_http
from harness.providers import read_events, text_of
from harness.raw_http import Connection, Incomplete
from harness.simulated_llm import SimulatedLLM

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def body(prompt: str, **more: object) -> bytes:
    """A request."""
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": "m", "max_tokens": 9, "messages": messages, **more}).encode()


def post(llm: SimulatedLLM, prompt: str, path: str = CHAT, **more: object) -> raw_http.Response:
    """One call."""
    return raw_http.request(llm.address, "POST", path, body=body(prompt, **more))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("directive", "error"), [("[rst-body]", ConnectionResetError), ("[reset-body]", Incomplete)])
def test_a_body_ends_in_a_reset_or_a_close_as_it_is_told(directive, error, stream, llm):
    with Connection(llm.address) as connection:
        connection.start("POST", CHAT, body=body(f"{directive}[token-rate=1000]", stream=stream))
        with pytest.raises(error):
            connection.response("POST")
    llm.until_stats({"broken": 1, "in_flight": 0})


@pytest.mark.parametrize("stream", [False, True])
def test_a_dripping_body_is_whole_in_the_end(stream, llm):
    prompt = "[drip=50][token-rate=1000]"
    with Connection(llm.address) as connection:
        connection.start("POST", CHAT, body=body(prompt, stream=stream))
        received = connection.response("POST").body
    text = text_of(read_events(received)) if stream else json.loads(received)["choices"][0]["message"]["content"]
    assert is_answer_to(prompt, text)


@pytest.mark.parametrize(
    ("directive", "name", "value"),
    [("[retry-after=7]", "retry-after", "7"), ("[retry-after-ms=250]", "retry-after-ms", "250")],
)
def test_when_to_come_back_is_said_in_seconds_or_milliseconds(directive, name, value, llm):
    response = post(llm, f"[status=429]{directive}")
    assert (response.status, response.header(name)) == (429, value)


def test_when_to_come_back_is_said_as_a_date(llm):
    said = post(llm, "[status=429][retry-after-date=100s]").header("retry-after")
    assert 90 < parsedate_to_datetime(said).timestamp() - time.time() <= 100


def test_a_stream_may_end_in_the_providers_error(llm):
    prompt = "[error-body][token-rate=1000]"
    assert json.loads(post(llm, prompt, stream=True).body.split(b"data: ")[-1])["error"]["type"] == "server_error"
    last = post(llm, prompt, MESSAGES, stream=True).body.strip().split(b"\n")[-2:]
    assert last[0] == b"event: error"
    assert json.loads(last[1].removeprefix(b"data: "))["type"] == "error"
    assert post(llm, prompt).status == 503


@pytest.mark.parametrize(("path", "code"), [(CHAT, "context_length_exceeded"), (MESSAGES, "invalid_request_error")])
def test_a_prompt_that_is_too_long_is_refused_in_the_providers_words(path, code, llm):
    response = post(llm, "[refuse=context-length]", path)
    error = json.loads(response.body)["error"]
    assert (response.status, error.get("code", error["type"])) == (400, code)
