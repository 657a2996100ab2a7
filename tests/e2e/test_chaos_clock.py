"""Clocks that are wrong or jump. The wall clock counts where app and Siding trust each other's signatures, the
monotonic one for every time-out. What no test can do to one process alone is to set the wall clock of Siding's static
program: the app's is moved instead, and the distance between both is what counts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import chaos
import pytest
from chaos import AT_ONCE, CHATS, all_answered, ask_all, at_rest, books, prompts, some_pending
from chaos_page import measured
from chat_project import Chat
from harness.process import ROOT
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM

HOUR = 3600
TEN_YEARS = 10 * 365 * 24 * HOUR
PENDING_SECONDS = 3
# Less than the time-outs of calls.
STOPPED_SECONDS = 2 if CHATS < 100 else 20


class Clock:
    """The app's wall clock."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock-step"
        self.step(0)

    def step(self, seconds: float) -> None:
        """Sets it so far ahead of the right time, for whoever asks from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._file)

    def environment(self) -> dict[str, str]:
        """For the app."""
        return {"CLOCK_STEP": str(self._file), "PYTHONPATH": str(ROOT / "tests" / "harness" / "stepping_clock")}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def chat(stack: ExitStack, llm: SimulatedLLM, tmp_path: Path, clock: Clock) -> Chat:
    llm.configure(latency="50ms")
    return chaos.system(stack, tmp_path, llm, environment=clock.environment())


def handed_over(chat: Chat, count: int) -> None:
    """Checks in how many exchanges so far a call was handed over."""
    at_rest(chat.siding)
    chat.siding.until_value(count, "siding_exchanges_total", mode="replay")


def test_an_app_whose_clock_is_wrong_works_as_without_siding(chat: Chat, clock: Clock) -> None:
    all_answered(chat, "before", 4)
    handed_over(chat, 4)
    clock.step(HOUR)
    during = all_answered(chat, "an hour ahead")
    clock.step(-HOUR)
    behind = all_answered(chat, "an hour behind", 4)
    handed_over(chat, 4)
    clock.step(0)
    after = all_answered(chat, "right again", 4)
    handed_over(chat, 8)
    measured(
        "the app's clock is wrong by an hour",
        f"ahead: {during.whole} of {during.asked} chats answered, {during.calls} calls, {during.rows} rows; "
        f"behind: {behind.whole} of {behind.asked}; none handed over; right again: {after.whole} of {after.asked}, "
        "all handed over",
    )


def test_a_clock_that_jumps_while_calls_are_pending_doubles_nothing(chat: Chat, clock: Clock) -> None:
    chat.llm.configure(latency=f"{PENDING_SECONDS}s")
    asked = prompts("jumping", AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        answers = clients.map(chat.ask, asked)
        some_pending(chat)
        clock.step(HOUR)
        done = books(chat, asked, list(answers))
    # Those that came to the app only then had their call made in line; of one that was there just then, none was made.
    assert set(done.kinds) <= {"400", "200", "502 `handoff-invalid`"}, done
    assert (done.calls, done.rows) == (done.kinds["400"] + done.whole, 2 * done.whole), done
    assert done.kinds["400"] >= 1, done
    clock.step(0)
    chat.llm.configure(latency="50ms")
    after = all_answered(chat, "after the jump")
    at_rest(chat.siding)
    measured(
        "the app's clock jumps by an hour while calls are pending",
        f"{done.asked} chats: {done.kinds['400']} with 400, {done.calls} calls, {done.rows} rows; set right again: "
        f"{after.whole} of {after.asked} answered",
    )


def has_time_namespaces() -> bool:
    """Whether this account may have a clock of its own."""
    return subprocess.run(["unshare", "--time", "--fork", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_time_namespaces(), reason="a monotonic clock of one's own needs root")
def test_a_monotonic_clock_far_ahead_changes_nothing(stack: ExitStack, llm: SimulatedLLM, tmp_path: Path) -> None:
    def proxy(*arguments: Any) -> Siding:
        siding = Siding(*arguments)
        offsets = [f"--monotonic={TEN_YEARS}", f"--boottime={TEN_YEARS}"]
        siding.command = ["unshare", "--time", "--fork", "--kill-child", *offsets, *siding.command]
        return siding

    chat = chaos.system(stack, tmp_path, llm, proxy=proxy)
    done = all_answered(chat, "ten years ahead")
    at_rest(chat.siding)
    measured(
        "Siding's monotonic clock is ten years ahead",
        f"{done.asked} chats: {done.whole} answered, {done.calls} calls, {done.rows} rows",
    )


def test_a_process_that_was_stopped_loses_nothing(chat: Chat) -> None:
    chat.llm.configure(latency="3s")
    asked = prompts("stopped", AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        answers = clients.map(chat.ask, asked)
        pending = some_pending(chat)
        os.kill(chat.siding.pid, signal.SIGSTOP)
        # The fault itself: time passes without the process.
        time.sleep(STOPPED_SECONDS)
        os.kill(chat.siding.pid, signal.SIGCONT)
        done = books(chat, asked, list(answers))
    assert done.whole == AT_ONCE, done
    asked = prompts("after the stop")
    after = books(chat, asked, ask_all(chat, asked))
    at_rest(chat.siding)
    measured(
        "Siding is stopped for a while, as a paused machine is",
        f"{STOPPED_SECONDS} s with {pending} calls pending: {done.whole} chats answered, {done.calls} calls, "
        f"{done.rows} rows; then {after.whole} of {after.asked} answered",
    )
