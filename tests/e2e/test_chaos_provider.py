"""The provider becomes a hole: connections are accepted or not even that, and nothing comes back."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import chaos
from chaos import AT_ONCE, Books, all_answered, at_rest, books, percentile, prompts
from chaos_page import measured
from chat_project import Chat
from harness.addresses import free_address
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until

QUICK = {"connect": "500ms", "first_byte": "1s", "idle": "1s", "total": "5s"}
SETTINGS = {"providers": {"openai": {"timeout": QUICK, "breaker": {"cooldown": "500ms", "probes": 1}}}}
# How long a view that calls nobody may take meanwhile: less than any time-out.
SOON = 0.8


class FullBacklog:
    """A listener that takes no connection any more: the kernel drops what asks for one."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, int(port)))
        self._listener.listen(0)
        self._waiting: list[socket.socket] = []
        while self._takes_another((host, int(port))):
            assert len(self._waiting) < 50, "the backlog has no end"

    def close(self) -> None:
        """The port is free again."""
        for stream in (*self._waiting, self._listener):
            stream.close()

    def _takes_another(self, target: tuple[str, int]) -> bool:
        stream = socket.socket()
        self._waiting.append(stream)
        stream.settimeout(0.3)
        return stream.connect_ex(target) not in (errno.EAGAIN, errno.EINPROGRESS, errno.ETIMEDOUT)


@contextmanager
def fast_views(chat: Chat) -> Iterator[list[float]]:
    """How long views that call nobody take meanwhile, one after the other."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert chat.send("GET", "/api/fast/").status == 200
            took.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took
        until("a few fast views", lambda: len(took) > 3)
    finally:
        over.set()
        asking.join()


def into_the_hole(chat: Chat, name: str, mend: Callable[[], object], tries: int) -> tuple[Books, str]:
    """Chats while nothing comes back: all fail, each with the view's own answer. The books ask the provider, so they
    are closed when it is mended."""
    asked = prompts(name)
    began = time.monotonic()
    with fast_views(chat) as fast:
        answers = chaos.ask_all(chat, asked)
    took = time.monotonic() - began
    mend()
    chat.llm.until_stats({"in_flight": 0})
    done = books(chat, asked, answers, tries)
    assert set(done.kinds) <= {"502", "504"}, done
    assert percentile(fast, 0.5) < SOON, "a view that calls nobody waits for the provider"
    return done, (
        f"{done.asked} chats, {AT_ONCE} at once, failed within {took:.1f} s; fast views meanwhile took "
        f"{percentile(fast, 0.5) * 1e3:.0f} ms (p50) and {percentile(fast, 0.99) * 1e3:.0f} ms (p99) of {len(fast)}"
    )


def recovered(chat: Chat) -> str:
    """As before, after the next probes."""
    numbers = itertools.count()
    until("a chat to be answered again", lambda: chat.ask(f"again, {next(numbers)}").status == 200, 20)
    after = all_answered(chat, "after the hole")
    at_rest(chat.siding)
    return f"then {after.whole} of {after.asked} chats answered, {after.calls} calls, {after.rows} rows"


def test_a_provider_that_never_answers_costs_its_own_calls_alone(
    stack: ExitStack, llm: SimulatedLLM, tmp_path: Path
) -> None:
    chat = chaos.system(stack, tmp_path, llm, SETTINGS)
    all_answered(chat, "before", 4)
    os.killpg(llm.pid, signal.SIGSTOP)
    stack.callback(os.killpg, llm.pid, signal.SIGCONT)
    # When it goes on it reads what was sent to it meanwhile: two tries of a call.
    done, said = into_the_hole(chat, "never answered", lambda: os.killpg(llm.pid, signal.SIGCONT), tries=2)
    after = recovered(chat)
    measured("the provider accepts connections and never answers", f"{said}; {done.rows} rows, of questions; {after}")


def test_a_provider_whose_packets_are_dropped_costs_its_own_calls_alone(stack: ExitStack, tmp_path: Path) -> None:
    address = free_address()
    hole = FullBacklog(address)
    stack.callback(hole.close)
    llm = SimulatedLLM(tmp_path, "--listen", address, "--token-rate", "1000")
    chat = chaos.system(stack, tmp_path, llm, SETTINGS, url=f"http://{address}")

    def mend() -> None:
        hole.close()
        stack.enter_context(llm)

    done, said = into_the_hole(chat, "dropped", mend, tries=0)
    after = recovered(chat)
    measured(
        "packets to the provider are dropped: its backlog is full",
        f"{said}; {done.calls} calls, {done.rows} rows, of questions; {after}",
    )
