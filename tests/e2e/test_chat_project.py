"""The same behaviour on every server, on the oldest and newest Django, with every library, with Siding and
without."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import chat_project
import pytest
from chat_project import Chat, is_answer_to
from harness.waiting import until

COMBINATIONS = list(itertools.product(chat_project.pythons(), chat_project.SERVERS, chat_project.FRONTS))
LIBRARIES = ["", "anthropic/", "gemini/", "requests/", "httpx/"]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def chat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    django, server, front = request.param
    directory = tmp_path_factory.mktemp("chat")
    python = chat_project.pythons()[django]
    with chat_project.running(directory, server=server, python=python, behind_siding=front == "siding") as running:
        yield running


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_chat_is_answered_once_and_written_once(chat: Chat, library: str) -> None:
    prompt = f"what is {library or 'the first'} about?"
    answer = chat.ask(prompt, f"/api/chat/{library}")
    assert answer.status == 200, answer.body
    assert is_answer_to(prompt, answer.json["answer"])
    assert chat.calls(prompt) == 1
    assert chat.rows(prompt) == [("user", prompt), ("assistant", answer.json["answer"])]


def test_three_sdks_in_turn_each_get_their_own_answer(chat: Chat) -> None:
    prompt = "a chain of three"
    answer = chat.ask(prompt, "/api/chat/chain/")
    assert answer.status == 200, answer.body
    first, second, third = answer.json["steps"]
    assert is_answer_to(prompt, first)
    assert is_answer_to(f"Review: {first}", second)
    assert is_answer_to(f"Conclude: {second}", third)
    assert [chat.calls(asked) for asked in (prompt, f"Review: {first}", f"Conclude: {second}")] == [1, 1, 1]
    assert chat.rows(prompt) == [("user", prompt), ("assistant", third)]


def test_gathered_calls_are_made_together_and_each_gets_its_own_answer(chat: Chat) -> None:
    prompt = "[latency=300ms] three at once"
    chat.llm.reset()
    answer = chat.ask(prompt, "/api/chat/compare/")
    assert answer.status == 200, answer.body
    assert [is_answer_to(prompt, text) for text in answer.json["answers"].values()] == [True] * 3
    assert chat.calls(prompt) == 3
    assert chat.llm.stats()["max_in_flight"] == (3 if chat.is_behind_siding else 1)
    assert [role for role, _ in chat.rows(prompt)] == ["user", "assistant"]


def test_a_streaming_view_is_delivered_whole_and_written_once(chat: Chat) -> None:
    prompt = "stream this"
    answer = chat.ask(prompt, "/api/chat/stream/")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/event-stream"
    events = [event.split("\n") for event in answer.body.decode().split("\n\n") if event]
    tokens = [json.loads(data.removeprefix("data: "))["text"] for name, data in events if name == "event: token"]
    done = json.loads(events[-1][1].removeprefix("data: "))
    assert events[-1][0] == "event: done"
    assert "".join(tokens) == done["answer"]
    assert is_answer_to(prompt, done["answer"])
    assert chat.calls(prompt) == 1
    assert chat.rows(prompt) == [("user", prompt), ("assistant", done["answer"])]


@pytest.mark.parametrize("library", ["", "anthropic/", "gemini/"])
@pytest.mark.parametrize("format", ["provider", "text", "ui-message-stream"])
def test_a_relayed_chat_streams_in_its_format_and_writes_both_messages(chat: Chat, library: str, format: str) -> None:
    prompt = f"relay {library or 'this'} as {format}"
    answer = chat.ask(prompt, f"/api/relay/{library}", format=format)
    assert answer.status == 200, answer.body
    is_text = format == "text"
    assert answer.headers["content-type"].startswith("text/plain" if is_text else "text/event-stream")
    assert answer.headers.get("x-vercel-ai-ui-message-stream") == ("v1" if format == "ui-message-stream" else None)
    # Behind Siding the answer is saved after the client has had it.
    until("both messages", lambda: len(chat.rows(prompt)) == 2)
    user, assistant = chat.rows(prompt)
    assert user == ("user", prompt)
    assert is_answer_to(prompt, assistant[1])
    assert (answer.body.decode() == assistant[1]) == is_text
    assert chat.calls(prompt) == 1


@pytest.mark.parametrize("library", ["", "anthropic/", "gemini/"])
def test_a_refused_relay_is_answered_by_the_view(chat: Chat, library: str) -> None:
    prompt = f"[status=400] relay {library}"
    answer = chat.ask(prompt, f"/api/relay/{library}")
    assert answer.status == 502, answer.body
    assert answer.json == {"error": "the model refused", "provider_status": 400}
    assert chat.rows(prompt) == [("user", prompt)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_providers_error_is_what_the_library_raises_of_itself(chat: Chat, library: str, status: int) -> None:
    prompt = f"[status={status}] {library}"
    answer = chat.ask(prompt, f"/api/chat/{library}")
    assert answer.status == 502, answer.body
    assert answer.json == {"error": "the model refused", "provider_status": status}
    retried = chat.is_behind_siding and status == 500
    assert chat.calls(prompt) == (2 if retried else 1)
    assert chat.rows(prompt) == [("user", prompt)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_provider_that_breaks_off_is_unreachable(chat: Chat, library: str) -> None:
    prompt = f"[reset-body] {library}"
    answer = chat.ask(prompt, f"/api/chat/{library}")
    assert answer.status == 502, answer.body
    assert answer.json == {"error": "the model cannot be reached"}
    assert chat.calls(prompt) == 1
    assert chat.rows(prompt) == [("user", prompt)]


def test_concurrent_chats_are_not_mixed_up(chat: Chat) -> None:
    prompts = [f"question {n} of many" for n in range(24)]
    paths = itertools.cycle(f"/api/chat/{library}" for library in LIBRARIES)
    with ThreadPoolExecutor(len(prompts)) as clients:
        answers = list(clients.map(chat.ask, prompts, paths))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.status == 200, answer.body
        assert is_answer_to(prompt, answer.json["answer"])
        assert chat.calls(prompt) == 1
        assert chat.rows(prompt) == [("user", prompt), ("assistant", answer.json["answer"])]


def test_what_needs_no_llm_is_served_as_ever(chat: Chat) -> None:
    assert chat.send("GET", "/api/fast/").status == 200
    assert chat.send("GET", "/api/fast/", headers={"Authorization": "Token wrong"}).status in (200, 401)
    assert chat.ask("no token", headers=None).status == 200
    assert chat.send("POST", "/api/chat/", b"{}", {"Content-Type": "application/json"}).status == 400
    refused = chat.send("POST", "/api/chat/", b"{}", {"Authorization": "", "Content-Type": "application/json"})
    assert refused.status == 401


@pytest.mark.parametrize("size", [10, 3_000_000, 9_000_000])
def test_uploads_arrive_whole_whether_they_are_buffered_or_streamed(chat: Chat, size: int) -> None:
    content = bytes(n % 251 for n in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = head + content + b"\r\n--b--\r\n"
    answer = chat.send("POST", "/api/upload/", body, {"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status in (200, 201), answer.body
    assert answer.json["size"] == size
    assert answer.json["sha256"] == hashlib.sha256(content).hexdigest()


def test_siding_counts_what_happens(chat: Chat) -> None:
    if chat.siding is None:
        assert chat.llm.stats()["in_flight"] == 0
        return
    before = chat.siding.value("siding_exchanges_total", mode="replay", outcome="answered")
    assert chat.ask("count this").status == 200
    assert chat.ask("and this", "/api/chat/chain/").status == 200
    assert chat.siding.value("siding_exchanges_total", mode="replay", outcome="answered") == before + 2
    for family in (
        "siding_workers_busy",
        "siding_exchanges_suspended",
        "siding_handoff_refused_total",
        "siding_drift_total",
        "siding_results_unconsumed_total",
    ):
        assert chat.siding.value(family) == 0, family
