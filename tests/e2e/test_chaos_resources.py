"""What every process has too little of one day: descriptors, memory, room for logs."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import chaos
import pytest
from chaos import AT_ONCE, CLIENTS, all_answered, at_rest, books, mib
from chaos_page import measured
from chat_project import Answer, Chat
from harness.process import cpu_seconds, descriptors, rss_bytes
from harness.raw_http import Connection
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from harness.slow_clients import SlowClients
from harness.waiting import until

DESCRIPTORS = 240
NEWCOMERS = max(60, CLIENTS // 20)
# Over how long it is measured that nothing spins.
WATCHED_SECONDS = 2.0

SENDERS = min(CLIENTS, 2000)
BUFFERED = 4 << 20
BODY = 256 << 10
# What the process may take on top of what it had, whatever it is sent.
HARD_LIMIT = 512 << 20


class Limited(Siding):
    """Siding with so many descriptors and no more."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.command = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", "--", *self.command]


def asked_by(chat: Chat, client: Connection, prompt: str) -> Answer:
    """A chat on a connection that is there already."""
    headers = [("Authorization", f"Token {chat.backend.token}"), ("Content-Type", "application/json")]
    response = client.request("POST", "/api/chat/", headers, json.dumps({"prompt": prompt}).encode())
    return Answer(response.status, dict(response.headers), response.body)  # type: ignore[arg-type]


def test_clients_who_are_there_are_served_when_descriptors_run_out(
    stack: ExitStack, llm: SimulatedLLM, tmp_path: Path
) -> None:
    chat = chaos.system(stack, tmp_path, llm, proxy=Limited)
    siding = chat.siding
    all_answered(chat, "before", 4)
    guests = [stack.enter_context(siding.connect()) for _ in range(AT_ONCE)]
    asked = chaos.prompts("a full house", AT_ONCE)
    assert guests[0].request("GET", "/api/fast/").status == 200
    before = descriptors(siding.pid)
    with SlowClients(siding.address, DESCRIPTORS) as crowd:
        until("the first to be refused", lambda: siding.value("siding_connections_refused_total") > 0)
        used = descriptors(siding.pid)
        with SlowClients(siding.address, NEWCOMERS) as newcomers:
            refused = newcomers.until_answered()
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in refused), set(refused)
        assert all(b"\r\nRetry-After: 1\r\n" in answer and b"too-many-clients" in answer for answer in refused)
        cpu, since = cpu_seconds(siding.pid), time.monotonic()
        done = books(chat, asked, [asked_by(chat, *pair) for pair in zip(guests, asked, strict=True)])
        until("the time to pass over which CPU is measured", lambda: time.monotonic() - since > WATCHED_SECONDS)
        share = (cpu_seconds(siding.pid) - cpu) / (time.monotonic() - since)
        assert done.whole == AT_ONCE, done
        assert share < 0.5, "it spins"
        crowd.leave()
    until("the crowd's descriptors to be free", lambda: descriptors(siding.pid) <= before + AT_ONCE)
    after = all_answered(chat, "after the crowd")
    at_rest(siding)
    measured(
        "more clients than descriptors",
        f"{used} of {DESCRIPTORS} in use: {NEWCOMERS} of {len(refused)} newcomers refused; {done.whole} of "
        f"{done.asked} chats on older connections answered, {done.calls} calls, {done.rows} rows, with {share:.0%} of "
        f"a core; then {after.whole} of {after.asked} answered",
    )


def test_memory_stays_bounded_whatever_is_sent(stack: ExitStack, llm: SimulatedLLM, tmp_path: Path) -> None:
    settings = {"server": {"buffered": f"{BUFFERED}B", "max_body": "1MiB"}}
    chat = chaos.system(stack, tmp_path, llm, settings)
    siding = chat.siding
    all_answered(chat, "before", 4)
    rss = rss_bytes(siding.pid)
    limit = virtual_bytes(siding.pid) + HARD_LIMIT
    resource.prlimit(siding.pid, resource.RLIMIT_AS, (limit, limit))
    head = f"POST /api/echo/ HTTP/1.1\r\nHost: app.example\r\nContent-Length: {BODY}\r\n\r\n".encode()
    with SlowClients(siding.address, SENDERS) as senders:
        senders.say(head)
        sent = send_bodies(senders, BODY - 1)
        peak = rss_bytes(siding.pid)
        until("bodies to be refused", lambda: siding.value("siding_exchanges_total", outcome="buffers-full") > 0)
        assert siding.value("siding_buffered_bytes") <= BUFFERED
        senders.say(b"x")
        answers = senders.until_answered()
    refused = sum(b"buffers-full" in answer for answer in answers)
    taken = sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    left = sum(answer == b"" for answer in answers)
    assert min(refused, taken) > 0, (refused, taken)
    assert refused + taken + left == SENDERS, {answer[:40] for answer in answers}
    assert peak - rss < BUFFERED + SENDERS * (64 << 10) + (64 << 20), mib(peak - rss)
    at_rest(siding)
    after = all_answered(chat, "after the bodies")
    measured(
        "more request bodies than `server.buffered`, under a hard limit of memory",
        f"{SENDERS} bodies of {mib(BODY)} ({mib(sent)} sent) at {mib(BUFFERED)}: {taken} answered, {refused} refused, "
        f"{left} cut off while they sent on; resident memory {mib(rss)} before, {mib(peak)} at the most; "
        f"then {after.whole} of {after.asked} chats answered, {after.calls} calls, {after.rows} rows",
    )


def virtual_bytes(pid: int) -> int:
    """What RLIMIT_AS limits."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def send_bodies(senders: SlowClients, size: int) -> int:
    """All clients send, in turns, as much of a body as is taken of them. Returns how much was."""
    piece = bytes(16 << 10)
    left = dict.fromkeys(senders.sockets, size)
    sent = 0
    stuck_since = time.monotonic()
    while left and time.monotonic() - stuck_since < 1:
        for client in list(left):
            try:
                taken = client.send(piece[: left[client]])
            except BlockingIOError:
                continue
            except OSError:
                del left[client]
                continue
            sent, stuck_since = sent + taken, time.monotonic()
            left[client] -= taken
            if not left[client]:
                del left[client]
    return sent


def full_disk(_: ExitStack) -> int:
    """Every write fails, as on a full disk."""
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe(stack: ExitStack) -> int:
    """Whoever read it has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def unread_pipe(stack: ExitStack) -> int:
    """It holds a page and nobody takes it."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return writer


LOGS = {
    "the disk for logs is full": full_disk,
    "the pipe for logs is closed": closed_pipe,
    "nobody reads the pipe for logs": unread_pipe,
}


@pytest.fixture(params=LOGS)
def badly_logged(
    request: pytest.FixtureRequest, stack: ExitStack, llm: SimulatedLLM, tmp_path: Path
) -> tuple[str, Chat]:
    """A system whose logs have nowhere to go."""
    output = LOGS[request.param](stack)
    stack.callback(os.close, output)

    def proxy(*arguments: Any) -> Siding:
        siding = Siding(*arguments)
        siding.output = output
        return siding

    return request.param, chaos.system(stack, tmp_path, llm, {"log": {"filter": "debug"}}, proxy=proxy)


def test_logs_that_go_nowhere_cost_no_request(badly_logged: tuple[str, Chat]) -> None:
    what, chat = badly_logged
    done = all_answered(chat, what)
    at_rest(chat.siding)
    lost = chat.siding.value("siding_log_lines_lost_total")
    waiting = chat.siding.value("siding_log_waiting_bytes")
    assert lost > 0 or waiting > 0
    began = time.monotonic()
    chat.siding.signal(signal.SIGTERM)
    assert chat.siding.wait() == 0
    took = time.monotonic() - began
    measured(
        what,
        f"{done.asked} chats: {done.whole} answered, {done.calls} calls, {done.rows} rows; {lost:.0f} lines lost, "
        f"{waiting / 1024:.0f} KiB wait; ended {took:.1f} s after SIGTERM",
    )
