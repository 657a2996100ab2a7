"""The app's processes die or stop. No chat is lost without a word, and none is called for or written twice."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import chaos
import pytest
from chaos import AT_ONCE, CHATS, WORKERS, all_answered, ask_all, at_rest, books, prompts, some_pending
from chaos_page import measured
from chat_project import Chat
from harness.backend import Backend
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until

# A worker takes a while to begin, and a busy machine makes that longer: nothing but a fault ends a wait.
PATIENT = {"backend": {"timeout": "50s", "queue": {"timeout": "50s"}}}
KILLS = CHATS // 10
# Calls that are pending at once, and for how long: every first pass is over before the first answer comes.
PENDING = min(CHATS, 200)
PENDING_SECONDS = max(4, PENDING // 20)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """A system that lasts for some bad days: that it does is part of what is tested."""
    directory = tmp_path_factory.mktemp("workers")
    with ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, "--token-rate", "1000"))
        yield chaos.system(stack, directory, llm, PATIENT)


@pytest.fixture(autouse=True)
def ordinary_latency(request: pytest.FixtureRequest) -> None:
    """What an earlier test changed is as before."""
    if "chat" in request.fixturenames:
        request.getfixturevalue("chat").llm.configure(latency="50ms")


def workers(backend: Backend) -> list[int]:
    """gunicorn's workers, once all are there."""
    found: list[int] = []

    def all_there() -> bool:
        found[:] = backend.children()
        return len(found) >= WORKERS

    until("all workers to be there", all_there, 30)
    return found


def kill_all(backend: Backend) -> None:
    """All workers at once."""
    for pid in workers(backend):
        os.kill(pid, signal.SIGKILL)


def test_chats_wait_for_new_workers_when_idle_ones_are_killed(chat: Chat) -> None:
    kill_all(chat.backend)
    done = all_answered(chat, "idle workers")
    at_rest(chat.siding)
    measured(
        "gunicorn's workers are killed while none serves",
        f"both killed, then {done.asked} chats: {done.whole} answered, {done.calls} calls, {done.rows} rows",
    )


def test_a_pending_call_outlives_the_worker_that_asked_for_it(chat: Chat) -> None:
    chat.llm.configure(latency=f"{PENDING_SECONDS}s")
    asked = prompts("pending calls", PENDING)
    with ThreadPoolExecutor(PENDING) as clients:
        answers = clients.map(chat.ask, asked)
        assert some_pending(chat, PENDING) == PENDING
        kill_all(chat.backend)
        done = books(chat, asked, list(answers))
    assert done.whole == PENDING, done
    at_rest(chat.siding)
    measured(
        "gunicorn's workers are killed while calls are pending",
        f"both killed with {PENDING} calls pending: {done.whole} chats answered, {done.calls} calls, {done.rows} rows",
    )


def test_workers_that_are_killed_under_load_cost_the_passes_they_were_in(chat: Chat) -> None:
    asked = prompts("killed workers")
    with ThreadPoolExecutor(AT_ONCE) as clients:
        chats = [clients.submit(chaos.ask, chat, prompt) for prompt in asked]
        for kill in range(1, KILLS + 1):
            due = CHATS * kill // (KILLS + 1)
            until(f"{due} chats to be over", lambda due=due: sum(chat.done() for chat in chats) >= due, 60)
            os.kill(random.choice(workers(chat.backend)), signal.SIGKILL)
        done = books(chat, asked, [chat.result() for chat in chats])
    assert set(done.kinds) <= {"200", "502 `backend-closed`", "cut off"}, done
    assert done.asked - done.whole <= KILLS, "a kill costs one pass"
    at_rest(chat.siding)
    after = all_answered(chat, "after the kills", AT_ONCE)
    measured(
        "gunicorn's workers are killed again and again under load",
        f"{KILLS} kills during {done.asked} chats: {done.whole} answered, {done.asked - done.whole} told so; "
        f"{done.calls} calls, {done.rows} rows; then {after.whole} of {after.asked} answered",
    )


def test_a_short_stop_of_the_app_is_waited_for(chat: Chat) -> None:
    chat.llm.configure(latency="3s")
    asked = prompts("a short stop")
    with ThreadPoolExecutor(AT_ONCE) as clients:
        answers = clients.map(chat.ask, asked)
        pending = some_pending(chat)
        os.killpg(chat.backend.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            chat.llm.until_stats({"in_flight": 0})
            chat.siding.until_value(WORKERS, "siding_workers_busy")
        finally:
            os.killpg(chat.backend.pid, signal.SIGCONT)
        stopped = time.monotonic() - began
        done = books(chat, asked, list(answers))
    assert done.whole == CHATS, done
    at_rest(chat.siding)
    measured(
        "the app stops for a while (SIGSTOP), shorter than `backend.timeout`",
        f"{stopped:.1f} s in the middle of {done.asked} chats, with {pending} calls ending meanwhile: "
        f"{done.whole} answered, {done.calls} calls, {done.rows} rows",
    )


def test_a_long_stop_of_the_app_ends_in_time_outs_and_by_itself(
    stack: ExitStack, llm: SimulatedLLM, tmp_path: Path
) -> None:
    settings = {"backend": {"timeout": "3s", "queue": {"timeout": "10s"}}}
    chat = chaos.system(stack, tmp_path, llm, settings)
    llm.configure(latency="3s")
    asked = prompts("a long stop", AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        began = time.monotonic()
        answers = clients.map(chat.ask, asked)
        some_pending(chat)
        os.killpg(chat.backend.pid, signal.SIGSTOP)
        try:
            given = list(answers)
        finally:
            os.killpg(chat.backend.pid, signal.SIGCONT)
        took = time.monotonic() - began
    # The waits that Siding expects are those of the stop, until some passes have taken less.
    crowds = (prompts(f"again, {number}", AT_ONCE) for number in itertools.count())
    until("a crowd to be answered", lambda: all(one.status == 200 for one in ask_all(chat, next(crowds))), 60)
    after = all_answered(chat, "after the stop")
    # What a worker was told before it stopped, it does when it goes on: no sooner are the books closed.
    done = books(chat, asked, given)
    # One that stopped in the middle of its answer counts as closed.
    cut = ("504 `backend-timeout`", "502 `backend-closed`")
    refusals = ("503 `queue-timeout`", "503 `queue-hopeless`", "503 `queue-full`")
    assert set(done.kinds) <= {"200", *cut, *refusals}, done
    assert done.kinds[cut[0]] >= 1
    assert took < 30, "everybody was told in time"
    at_rest(chat.siding)
    measured(
        "the app stops for longer than `backend.timeout`",
        f"{done.asked} chats: {done.whole} answered before, {sum(done.kinds[kind] for kind in cut)} cut off, "
        f"{sum(done.kinds[kind] for kind in refusals)} refused, all within {took:.1f} s; {done.calls} calls, "
        f"{done.rows} rows; then {after.whole} of {after.asked} answered",
    )
