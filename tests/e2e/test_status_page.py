"""The status page: what its JSON says while workers are busy and others wait, and what a browser shows of it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness import browser
from harness.browser import VIEWS, View
from harness.calls import chat
from harness.raw_http import Connection
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from harness.steps import Answer, Close, HandOver, Hang, Tell, by_pass, by_path
from harness.waiting import until

# Whoever waits does so until the test is over.
SETTINGS = {
    "backend": {"workers": 2, "timeout": "5m", "queue": {"timeout": "5m"}},
    "routes": [{"path": "/api/**"}, {"path": "/streamed/**", "handoff": False}],
}
# Targets that must do nothing in the page, whatever they are answered.
MARKUP = ["/fails/<img src=x onerror=alert(1)>", "/fails/%3Cimg%20src=x%20onerror=alert(1)%3E"]


def status(proxy: Siding) -> dict[str, Any]:
    """What the page reads."""
    return json.loads(proxy.page("/-/status").body)


def request_of(told: dict[str, Any]) -> tuple[str, str | None, str | None, str]:
    """Which request something is about."""
    return told["method"], told["route"], told["path"], told["mode"]


Starts = Callable[..., Any]


@contextmanager
def scene(
    llm: SimulatedLLM,
    scripted: Starts,
    siding: Starts,
    settings: dict[str, Any] | None = None,
    failing: Sequence[str] = ("/fails?token=secret",),
) -> Iterator[Siding]:
    """One exchange waits for a provider, one worker serves a client who is there, one serves a client who left, and one
    request waits for a worker. Before that, those that are `failing` failed."""
    release = threading.Event()
    hands_over = by_pass(HandOver([chat(llm.url, "[hang]"), chat(llm.url, "[hang] too")]), Tell())
    worker = scripted(
        by_path(fails=Close(), api=hands_over, busy=Hang(release), streamed=Hang(release), queued=Answer(200, b"next"))
    )
    proxy = siding(worker, llm.url, settings or SETTINGS)
    with ExitStack() as clients:
        clients.callback(release.set)
        for target in failing:
            assert proxy.request("POST", target, body=b"").status >= 400
        waiting, busy, leaving, queued = (clients.enter_context(proxy.connect()) for _ in range(4))
        waiting.start("POST", "/api/chat?token=secret", body=b"question")
        llm.until_stats({"in_flight": 2})
        busy.start("GET", "/streamed/secretly?token=secret")
        until("it to be in a worker", lambda: worker.in_progress == 1)
        leaving.start("GET", "/busy?token=secret")
        until("both to be in workers", lambda: worker.in_progress == 2)
        leaving.close()
        proxy.until_value(1, "siding_workers_orphaned")
        queued.start("GET", "/queued")
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        yield proxy


def test_it_says_what_each_worker_does_who_waits_for_what_and_what_failed(llm, scripted, siding):
    with scene(llm, scripted, siding) as proxy:
        told = status(proxy)
        workers, waiting, queue = told["workers"], told["waiting"], told["queue"]
        assert (workers["busy"], workers["limit"], workers["orphaned"]) == (2, 2, 1)
        streamed, busy = workers["slots"]
        assert request_of(streamed) == ("GET", "/streamed/**", None, "pass-through")
        assert request_of(busy) == ("GET", None, "/busy", "plain")
        assert [(slot["slot"], slot["pass"], slot["orphaned"]) for slot in workers["slots"]] == [
            (1, 0, False),
            (2, 0, True),
        ]
        assert queue["depth"] == {"resume": 0, "interactive": 1, "batch": 0}
        assert queue["oldest_seconds"] > 0
        assert (waiting["exchanges"], waiting["by_provider"]) == (1, {"openai": 1})
        (longest,) = waiting["longest"]
        assert request_of(longest) == ("POST", "/api/**", None, "replay")
        assert (longest["provider"], longest["calls"]) == ("openai", 2)
        assert longest["waiting_seconds"] == waiting["longest_seconds"] > busy["busy_seconds"]
        (provider,) = told["providers"]
        assert (provider["name"], provider["breaker"], provider["calls_in_flight"]) == ("openai", "closed", 2)
        (error,) = told["errors"]
        assert (error["reason"], error["status"], error["count"]) == ("backend-closed", 502, 1)
        assert request_of(error) == ("POST", None, "/fails", "plain")
        assert error["remedy"].endswith(".")
        assert "secret" not in json.dumps({**told, "workers": [busy]}), "no query is ever shown"
    until("all slots to be free", lambda: not status(proxy)["workers"]["slots"])
    until("nobody to wait", lambda: not status(proxy)["waiting"]["exchanges"])


def test_its_numbers_are_those_of_the_metrics(llm, scripted, siding):
    worker = scripted(by_path(a=by_pass(HandOver([chat(llm.url, "same")]), Tell()), b=Answer(500, b"no")))
    proxy = siding(worker, llm.url, {"cache": {"ttl": "1h"}})
    for path in ("/a", "/a", "/b", "/a", "/b"):
        proxy.request("POST", path, body=b"")
    proxy.until_value(5, "siding_requests_total")
    told = status(proxy)
    assert told["requests"]["total"] == 5
    assert told["requests"]["errors_total"] == proxy.value("siding_requests_total", status="5xx") == 2
    assert told["requests"]["errors_per_second"] == pytest.approx(2 / told["requests"]["window_seconds"], rel=0.01)
    assert told["cache"]["hits"] == proxy.value("siding_cache_requests_total", result="hit") == 2
    assert told["savings"]["tokens"] == sum(
        proxy.value("siding_saved_tokens_total", kind=kind) for kind in ("input", "output")
    )
    assert told["savings"]["worker_seconds"] <= proxy.value("siding_worker_seconds_saved_total") + 0.001
    (provider,) = (one for one in told["providers"] if one["name"] == "openai")
    assert (provider["calls"], provider["error_share"]) == (1, 0.0)
    (error,) = told["errors"]
    assert (error["reason"], error["count"], error["path"]) == ("app-error", 2, "/b")


def test_paths_are_not_shown_where_the_operator_says_so(llm, scripted, siding):
    with scene(llm, scripted, siding, {**SETTINGS, "server": {"status_paths": False}}) as proxy:
        told = status(proxy)
        streamed, busy = told["workers"]["slots"]
        assert (streamed["route"], busy["route"], busy["path"]) == ("/streamed/**", None, None)
        assert [error["path"] for error in told["errors"]] == [None]


def test_hundreds_of_exchanges_that_wait_are_numbers_and_a_few_lines(llm, scripted, siding):
    count = 200
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, {"backend": {"workers": 4}, "cache": {"when": "never"}})
    with ExitStack() as clients:
        for number in range(count):
            clients.enter_context(proxy.connect()).start("POST", f"/{number}", body=b"")
        proxy.until_value(count, "siding_exchanges_suspended")
        answer = proxy.page("/-/status")
        told = json.loads(answer.body)
        assert told["waiting"]["exchanges"] == count
        assert len(told["waiting"]["longest"]) == 10
        assert len(answer.body) < 8192


def test_the_front_page_suits_who_asks_and_is_not_sent_twice(scripted, siding):
    proxy = siding(scripted(Answer()))

    def ask(method: str, path: str, *headers: tuple[str, str]) -> Any:
        with Connection(proxy.admin) as client:
            return client.request(method, path, headers)

    plain = ask("GET", "/", ("Accept", "*/*"))
    assert (plain.status, plain.header("content-type")) == (200, "text/plain; charset=utf-8")
    assert b"/metrics" in plain.body
    page = ask("GET", "/", ("Accept", "text/html"))
    assert page.body.startswith(b"<!doctype html>")
    assert (page.header("vary"), page.header("cache-control")) == ("accept", "no-cache")
    assert "default-src 'none'" in (page.header("content-security-policy") or "")
    again = ask("GET", "/", ("Accept", "text/html"), ("If-None-Match", page.header("etag") or ""))
    assert (again.status, again.body) == (304, b"")
    for path, accept in (("/", "text/html"), ("/-/status", "*/*")):
        head = ask("HEAD", path, ("Accept", accept))
        assert (head.status, head.body) == (200, b"")
        assert int(head.header("content-length") or 0) > 500
    assert ask("GET", "/-/status").header("cache-control") == "no-store"
    assert ask("POST", "/-/status").status == 405
    assert ask("GET", "/nowhere").status == 404


def node() -> Path:
    """The folder with the packages for the browser."""
    home = os.environ.get("SDKS_NODE")
    if not home:
        sys.exit("SDKS_NODE is not set: run these tests with python tests/e2e/run.py .cache")
    return Path(home)


def test_a_browser_shows_the_same_on_a_phone_and_on_a_desk_in_light_and_dark(llm, scripted, siding):
    with scene(llm, scripted, siding, failing=["/fails", *MARKUP]) as proxy:
        told = status(proxy)
        expected = {
            "workers.busy": str(told["workers"]["busy"]),
            "workers.limit": str(told["workers"]["limit"]),
            "queue.total": "1",
            "queue.interactive": "1",
            "waiting.exchanges": str(told["waiting"]["exchanges"]),
            "cache.hits": str(told["cache"]["hits"]),
            "requests.in_flight": f"{told['requests']['in_flight']} in flight",
        }
        pages = browser.visit(node(), f"http://{proxy.admin}/", VIEWS)
    backgrounds = {}
    for view, page in zip(VIEWS, pages, strict=True):
        shown = {name: text for name, text in page["fields"].items() if name in expected}
        assert shown == expected, view.name
        assert page["state"] == "Running"
        assert page["title"].startswith("2/2 busy")
        assert page["slots"] == ["first", "orphaned"]
        assert [row.split()[:3] for row in page["busy"]] == [["1", "GET", "/streamed/**"], ["2", "GET", "/busy"]]
        assert page["waiting"][0].startswith("POST /api/** openai (2 calls) replay")
        assert page["providers"][0].startswith("openai closed 2")
        assert any("backend-closed POST /fails status 502" in row for row in page["errors"]), page["errors"]
        check_that_it_is_sound(view, page, proxy)
        backgrounds[view.scheme] = page["background"]
    assert backgrounds["light"] != backgrounds["dark"]
    assert any("/fails/%3Cimg%20src=x" in row for row in pages[0]["errors"])


def check_that_it_is_sound(view: View, page: dict[str, Any], proxy: Siding) -> None:
    """Nothing complains, nothing foreign is asked, everybody can read and reach it."""
    assert page["complaints"] == [], view.name
    asked = {urlsplit(url)[:2] for url in page["requests"] if not url.startswith("data:")}
    assert asked == {("http", proxy.admin)}, view.name
    assert page["overflow"] == 0, view.name
    assert page["faint"] == [], view.name
    assert page["landmarks"] == ["header", "main", "footer"]
    assert page["unnamed"] == 0
    assert [one["name"] for one in page["reached"]] == ["Pause", "Metrics", "JSON"], view.name
    assert all(one["is_marked"] for one in page["reached"]), view.name
    assert page["paused"] == "true"
    assert (page["images"], page["acted"]) == (0, False)


def test_markup_in_any_text_is_shown_as_text(llm, scripted, siding):
    with scene(llm, scripted, siding) as proxy:
        (page,) = browser.visit(node(), f"http://{proxy.admin}/", [View(1280, 800, "light", hostile=True)])
    assert (page["images"], page["acted"], page["complaints"]) == (0, False, [])
    assert page["text"].count("<img src=x onerror=") > 10
