"""One call for many: chats of a real Django with one sync worker, and the vendors' SDKs in both forms."""

from __future__ import annotations

import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import chat_project
import pytest
from chat_project import Chat, is_answer_to
from harness.addresses import free_address, listens
from harness.backend import ChatProject
from harness.providers import Gate
from harness.siding import Siding
from harness.signing import SECRET
from harness.steps import Answer
from harness.waiting import until

CHATS = 200
SCRIPT = Path(__file__).with_name("sdk_answers.py")
APIS = ["openai chat", "openai responses", "anthropic", "gemini"]
FAMILIES = ("siding_coalesced_waiting", "siding_flight_elections_total", "siding_workers_busy", "siding_drift_total")


@pytest.mark.parametrize("django", chat_project.pythons())
def test_200_identical_chats_on_one_sync_worker_cost_one_call(
    tmp_path: Path, django: str, llm, scripted, stack: ExitStack
) -> None:
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    environment = {"OPENAI_BASE_URL": f"{gate.url}/v1", "LLM_TIMEOUT": "60", "SIDING_SECRET": SECRET}
    python = chat_project.pythons()[django]
    backend = stack.enter_context(ChatProject(tmp_path, python=python, environment=environment))
    proxy = stack.enter_context(Siding(tmp_path, backend.address, gate.url, {"backend": {"workers": 1}}))
    proxy.until_app()
    chat, prompt = Chat(proxy.url, llm, backend, proxy), "what everybody asks"
    with ThreadPoolExecutor(CHATS) as clients:
        pending = [clients.submit(chat.ask, prompt) for _ in range(CHATS)]
        try:
            waiting = f"{CHATS - 1} chats to wait for the first"
            until(waiting, lambda: proxy.value("siding_coalesced_waiting") == CHATS - 1, patience=60)
        finally:
            opened.set()
        answers = [asked.result() for asked in pending]
    assert [answer.status for answer in answers] == [200] * CHATS
    assert all(is_answer_to(prompt, answer.json["answer"]) for answer in answers)
    assert chat.calls(prompt) == llm.stats()["total"] == 1
    [text] = {answer.json["answer"] for answer in answers}
    rows = chat.rows(prompt)
    assert sorted(rows) == [("assistant", text)] * CHATS + [("user", prompt)] * CHATS
    assert proxy.value("siding_cache_requests_total", place="call", result="miss") == 1
    assert proxy.value("siding_cache_requests_total", place="call", result="collapsed") == CHATS - 1
    assert proxy.value("siding_coalesced_requests_total") == CHATS - 1
    assert proxy.value("siding_flights_total", outcome="complete") == 1
    assert proxy.value("siding_cache_stored_total") == 0
    proxy.until_value(0, "siding_exchanges_in_flight")
    assert {family: proxy.value(family) for family in FAMILIES} == dict.fromkeys(FAMILIES, 0)
    assert chat.ask(prompt).status == 200
    assert chat.calls(prompt) == 2, "without a ttl nothing is kept"
    proxy.until_value(0, "siding_exchanges_in_flight")
    outcomes = {name: proxy.value("siding_exchanges_total", outcome=name) for name in ("answered", "client-gone")}
    assert outcomes == {"answered": CHATS + 1, "client-gone": 0}, "whoever got all of its answer is not gone"


def sdks(python: str, address: str, asked: list[dict[str, Any]], *, together: bool = False) -> list[dict[str, Any]]:
    """The final answers."""
    told = json.dumps({"base": f"http://{address}", "ask": asked, "together": together})
    done = subprocess.run([python, SCRIPT], input=told, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def started(stack: ExitStack, directory: Path, worker: Any, url: str, **cache: Any) -> tuple[Siding, str]:
    """A proxy with an egress, and where that listens."""
    address = free_address()
    settings = {"server": {"egress": address}, "cache": cache}
    proxy = stack.enter_context(Siding(directory, worker.address, dict.fromkeys(NAMES, url), settings))
    until("the egress to listen", lambda: listens(address))
    return proxy, address


NAMES = ("openai", "anthropic", "gemini")


def is_right(answer: dict[str, Any], prompt: str, tool: bool) -> bool:
    """Whether an SDK made a complete answer to this very prompt of it."""
    assert answer["id"]
    assert answer["usage"]
    if tool:
        [[*_, arguments]] = answer["calls"]
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
        return is_answer_to(prompt, parsed["city"] + " ") or is_answer_to(prompt, parsed["city"])
    return is_answer_to(prompt, answer["text"]) and answer["calls"] == []


@pytest.mark.parametrize("django", chat_project.pythons())
def test_an_sdk_that_asks_in_the_other_form_gets_the_same_answer(django, llm, scripted, stack, tmp_path):
    # 9, 10, 13, 14
    proxy, address = started(stack, tmp_path, scripted(Answer()), llm.url, ttl="1h")
    asked = []
    for api in APIS:
        for tool in (False, True):
            for order in ((False, True), (True, False)):
                prompt = f"{'[tool]' if tool else ''} {api}, {'stream' if order[0] else 'plain'} first"
                asked += [{"api": api, "prompt": prompt, "tool": tool, "stream": stream} for stream in order]
    answers = sdks(chat_project.pythons()[django], address, asked)
    for first, second, question in zip(answers[::2], answers[1::2], asked[::2], strict=True):
        assert first == second, question
        assert is_right(first, question["prompt"], question["tool"]), (question, first)
        assert llm.stats(question["prompt"])["total"] == 1, question
    assert proxy.value("siding_cache_requests_total", place="call", result="miss") == len(asked) / 2
    assert proxy.value("siding_cache_requests_total", place="call", result="hit") == len(asked) / 2
    assert proxy.value("siding_cache_stored_total", place="call") == len(asked) / 2


@pytest.mark.parametrize("django", chat_project.pythons())
@pytest.mark.parametrize("api", APIS)
def test_sdks_that_ask_together_in_both_forms_get_one_answer(api, django, llm, scripted, stack, tmp_path):
    # 9, 10
    opened = threading.Event()
    gate = scripted(Gate(llm, opened))
    proxy, address = started(stack, tmp_path, scripted(Answer()), gate.url)
    asked = [
        {"api": api, "prompt": f"{'[tool]' if tool else ''} together", "tool": tool, "stream": stream}
        for tool in (False, True)
        for stream in (False, True, True, False)
    ]
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(sdks, chat_project.pythons()[django], address, asked, together=True)
        try:
            until("all to wait", lambda: proxy.value("siding_coalesced_waiting") == 6 or pending.done(), patience=60)
        finally:
            opened.set()
        answers = pending.result()
    for answer, question in zip(answers, asked, strict=True):
        assert is_right(answer, question["prompt"], question["tool"]), (question, answer)
    for same in (answers[:4], answers[4:]):
        assert same == [same[0]] * 4
    assert [llm.stats(question["prompt"])["total"] for question in asked] == [1] * 8
    assert proxy.value("siding_coalesced_requests_total") == 6
    assert proxy.value("siding_flights_total", outcome="complete") == 2
