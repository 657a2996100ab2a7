"""Clients by the thousand that take their time, and clients that send too much of one thing. Others are served
meanwhile."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import chaos
import pytest
from chaos import AT_ONCE, CHATS, CLIENTS, ask_all, at_rest, books, mib
from chaos_page import PROMISES, first_cells, is_being_made, measured
from harness.process import cpu_seconds, descriptors, rss_bytes
from harness.raw_http import Connection, Incomplete
from harness.simulated_llm import SimulatedLLM
from harness.slow_clients import SlowClients
from harness.steps import Answer, Tell
from harness.waiting import until

HEAD = b"GET /api/fast/ HTTP/1.1\r\nHost: app.example\r\nX-Slow: "
BODY = b"POST /api/echo/ HTTP/1.1\r\nHost: app.example\r\nContent-Length: 100000\r\n\r\n"
READERS = max(50, CLIENTS // 10)
UNREAD = 512 << 10
# What one slow client may cost of Siding's memory, with what it has sent so far: a few KiB of head or of a body.
SLOW_CLIENT = 24 << 10
ENDLESS = min(CLIENTS, 2000)
FLOODERS = max(20, CLIENTS // 50)
CHUNKS = 100_000


def test_slow_heads_and_bodies_hold_nobody_up(stack: ExitStack, llm: SimulatedLLM, tmp_path: Path) -> None:
    chat = chaos.system(stack, tmp_path, llm, {"server": {"body_timeout": "10m"}})
    siding = chat.siding
    chaos.all_answered(chat, "before", 4)
    rss, before = rss_bytes(siding.pid), descriptors(siding.pid)
    with SlowClients(siding.address, CLIENTS) as slow:
        slow.say(lambda number: BODY if number % 2 else HEAD)
        siding.until_value(CLIENTS // 2, "siding_exchanges_in_flight")
        until("all to be connected", lambda: descriptors(siding.pid) >= before + CLIENTS)
        asked = chaos.prompts("meanwhile")
        over = threading.Event()
        trickling = threading.Thread(target=lambda: [slow.say(b"x") for _ in iter(over.is_set, True)])
        trickling.start()
        try:
            done = books(chat, asked, ask_all(chat, asked))
        finally:
            over.set()
            trickling.join()
        assert done.whole == CHATS, done
        assert siding.value("siding_exchanges_in_flight") == CLIENTS // 2
        used, grown = descriptors(siding.pid) - before, rss_bytes(siding.pid) - rss
    assert grown < CLIENTS * SLOW_CLIENT + (16 << 20), mib(grown)
    until("their descriptors to be free", lambda: descriptors(siding.pid) <= before + AT_ONCE)
    at_rest(siding)
    measured(
        "slow heads and slow bodies",
        f"{CLIENTS} clients, a byte now and then: {used} descriptors, {mib(grown)}, {grown / CLIENTS / 1024:.1f} KiB a "
        f"client; {done.asked} chats meanwhile: {done.whole} answered, {done.calls} calls, {done.rows} rows; "
        "all descriptors free afterwards",
    )


def test_slow_readers_hold_no_worker(scripted, siding) -> None:
    body = bytes(range(256)) * (UNREAD // 256)
    worker = scripted(lambda received: Answer(200, body if received.target == "/large" else b"small"))
    proxy = siding(worker, settings={"backend": {"workers": 1}})
    assert proxy.request("GET", "/small").body == b"small"
    rss = rss_bytes(proxy.pid)
    with SlowClients(proxy.address, READERS, receive_buffer=4096) as readers:
        readers.say(b"GET /large HTTP/1.1\r\nHost: app.example\r\n\r\n")
        worker.wait_for(READERS + 1, 60)
        proxy.until_value(0, "siding_workers_busy")
        grown = rss_bytes(proxy.pid) - rss
        for _ in range(AT_ONCE):
            assert proxy.request("GET", "/small").body == b"small"
        assert len(worker.requests) == 1 + READERS + AT_ONCE
    assert grown < READERS * (UNREAD + SLOW_CLIENT) + (16 << 20), mib(grown)
    proxy.until_value(0, "siding_exchanges_in_flight")
    measured(
        "slow readers",
        f"{READERS} clients that read nothing of {mib(UNREAD)} each: one worker served all, and {AT_ONCE} others "
        f"meanwhile; {mib(grown)}, {grown / READERS / 1024:.0f} KiB a client",
    )


def turned_away(answer: bytes, *statuses: int) -> bool:
    """Whether it is an answer with one of these statuses, or the client was cut off in its flood."""
    return not answer or any(answer.startswith(b"HTTP/1.1 %d " % status) for status in statuses)


def test_heads_without_end_are_refused_before_memory_grows(scripted, siding) -> None:
    worker = scripted(Tell())
    proxy = siding(worker)
    assert proxy.request("GET", "/first").status == 200
    rss = rss_bytes(proxy.pid)
    piece = b"X-Flood: " + b"x" * 8000 + b"\r\n"
    with SlowClients(proxy.address, ENDLESS) as flooders:
        flooders.say(b"GET / HTTP/1.1\r\nHost: app.example\r\n")
        for _ in range(8):
            flooders.say(piece)
        answers = flooders.until_answered()
        grown = rss_bytes(proxy.pid) - rss
    refused = sum(answer.startswith(b"HTTP/1.1 431 ") for answer in answers)
    assert all(turned_away(answer, 431) for answer in answers), set(answers)
    assert refused > 0
    assert grown < ENDLESS * (64 << 10) + (16 << 20), mib(grown)
    assert proxy.request("GET", "/last").status == 200
    assert [request.target for request in worker.requests] == ["/first", "/last"]
    measured(
        "heads without end",
        f"{ENDLESS} clients: {refused} refused with 431, {ENDLESS - refused} cut off while they sent on; {mib(grown)}",
    )


def flood(proxy, request: bytes, *statuses: int) -> str:
    """Many clients send it one after the other; what they were told."""
    answers = []
    rss = rss_bytes(proxy.pid)
    for _ in range(FLOODERS):
        with Connection(proxy.address, 10) as client:
            try:
                client.send(request)
                answers.append(client.response().raw)
            except (OSError, Incomplete, ValueError):
                answers.append(b"")
    assert all(turned_away(answer, *statuses) for answer in answers), set(answers)
    refused = sum(map(bool, answers))
    grown = rss_bytes(proxy.pid) - rss
    return (
        f"{FLOODERS} clients: {refused} told so, {FLOODERS - refused} cut off while they sent on; {mib(max(grown, 0))}"
    )


@pytest.mark.parametrize("via", ["buffered", "streamed"])
def test_floods_in_a_head_never_reach_the_app(via, scripted, siding) -> None:
    worker = scripted(Tell())
    proxy = siding(worker, settings={} if via == "buffered" else {"handoff": {"enabled": False}})
    host = b" HTTP/1.1\r\nHost: app.example\r\n"
    target = flood(proxy, b"GET /" + b"a" * (1 << 20) + host + b"\r\n", 431)
    headers = b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))
    many = flood(proxy, b"GET /" + host + headers + b"\r\n", 400, 431)
    assert worker.requests == []
    assert proxy.request("GET", "/last").status == 200
    measured("a target of 1 MB", target)
    measured("10,000 headers", many)


@pytest.mark.parametrize("via", ["buffered", "streamed"])
def test_a_body_in_tiny_chunks_arrives_whole(via, scripted, siding) -> None:
    worker = scripted(Answer(200, b"whole"))
    proxy = siding(worker, settings={} if via == "buffered" else {"handoff": {"enabled": False}})
    content = bytes(number % 251 for number in range(CHUNKS))
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    before = cpu_seconds(proxy.pid)
    with proxy.connect(30) as client:
        client.start("POST", "/", [("Transfer-Encoding", "chunked")])
        client.send(chunks)
        assert client.response("POST").body == b"whole"
    used = cpu_seconds(proxy.pid) - before
    assert used < 20, used
    assert worker.requests[0].content == content
    if via == "buffered":
        measured(
            "bodies in chunks of one byte",
            f"{CHUNKS:,} chunks: whole, with {used / CHUNKS * 1e6:.1f} us of CPU time each",
        )


def test_the_page_tells_of_every_bad_day_and_of_no_other() -> None:
    if is_being_made():
        pytest.skip("the page is being made")
    assert first_cells("bad days") == list(PROMISES)
