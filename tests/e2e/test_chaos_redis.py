"""The Redis that two Siding processes share dies or stops. Every chat is answered, once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import chaos
import pytest
from chaos import AT_ONCE, CHATS, at_rest, percentile, prompts, some_pending
from chaos_page import measured
from chat_project import Answer, Chat, is_answer_to
from harness.redis import Redis
from harness.siding import Siding, merged
from harness.simulated_llm import SimulatedLLM

PROCESSES = 2
# A busy machine is no fault: by default Redis is given up for a request after 50 ms.
PATIENT = {"timeout": "500ms", "lease": "3s"}


@dataclass
class Asked:
    """What came of prompts that were asked at every process at the same time: all answered."""

    chats: int
    calls: int
    rows: int
    p99: float

    def __str__(self) -> str:
        return f"{self.chats} chats answered, {self.calls} calls, {self.rows} rows, p99 {self.p99 * 1e3:.0f} ms"


@dataclass
class Pair:
    """Processes that share."""

    chats: Sequence[Chat]
    llm: SimulatedLLM

    def begin(self, clients: ThreadPoolExecutor, asked: Sequence[str]) -> list[Future[tuple[float, Answer]]]:
        """Each prompt at each process."""
        return [clients.submit(timed, chat, prompt) for prompt in asked for chat in self.chats]

    def end(self, asked: Sequence[str], begun: Sequence[Future[tuple[float, Answer]]], most: int) -> Asked:
        """Each chat has its own answer and its own rows, whichever process called; the provider was asked for each
        prompt, and no more than `most` times."""
        ended = [future.result() for future in begun]
        calls = rows = 0
        for number, prompt in enumerate(asked):
            answers = [answer for _, answer in ended[number * PROCESSES : (number + 1) * PROCESSES]]
            assert [answer.status for answer in answers] == [200] * PROCESSES, [answer.body for answer in answers]
            texts = [answer.json["answer"] for answer in answers]
            assert all(is_answer_to(prompt, text) for text in texts), texts
            called, written = self.chats[0].calls(prompt), self.chats[0].rows(prompt)
            assert 1 <= called <= most, f"{prompt!r} was called for {called} times"
            expected = Counter({("user", prompt): PROCESSES}) + Counter(("assistant", text) for text in texts)
            assert Counter(written) == expected, written
            calls, rows = calls + called, rows + len(written)
        return Asked(len(ended), calls, rows, percentile([seconds for seconds, _ in ended], 0.99))

    def ask(self, name: str, count: int, most: int) -> Asked:
        """From begin to end."""
        asked = prompts(name, count)
        with ThreadPoolExecutor(AT_ONCE) as clients:
            return self.end(asked, self.begin(clients, asked), most)

    def until_redis(self, is_up: int) -> None:
        """As each process sees it."""
        for chat in self.chats:
            assert chat.siding
            chat.siding.until_value(is_up, "siding_redis_up")


def timed(chat: Chat, prompt: str) -> tuple[float, Answer]:
    """How long it took, in seconds."""
    began = time.monotonic()
    answer = chat.ask(prompt)
    return time.monotonic() - began, answer


@pytest.fixture
def redis(stack: ExitStack, tmp_path: Path) -> Redis:
    """Of both."""
    return stack.enter_context(Redis(tmp_path))


@pytest.fixture
def pair(stack: ExitStack, llm: SimulatedLLM, redis: Redis, tmp_path: Path) -> Pair:
    """Before one app."""
    settings = {"cache": {"ttl": "1h"}, "redis": {"url": redis.url, **PATIENT}}
    first = chaos.system(stack, tmp_path, llm, settings)
    chosen = merged(chaos.SETTINGS, settings)
    second = stack.enter_context(Siding(tmp_path, first.backend.address, {"openai": llm.url}, chosen))
    second.until_app()
    pair = Pair([first, Chat(second.url, llm, first.backend, second)], llm)
    pair.until_redis(1)
    return pair


def through(pair: Pair, fail: Callable[[], object], mend: Callable[[], object]) -> str:
    """Before, in the middle of calls, without it, and after."""
    before = pair.ask("before", CHATS // 4, most=1)
    pair.llm.configure(latency="2s")
    asked = prompts("meanwhile", AT_ONCE // PROCESSES)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        begun = pair.begin(clients, asked)
        some_pending(pair.chats[0], len(asked))
        fail()
        meanwhile = pair.end(asked, begun, most=PROCESSES)
    pair.llm.configure(latency="50ms")
    pair.until_redis(0)
    without = pair.ask("without", CHATS // 2, most=PROCESSES)
    mend()
    pair.until_redis(1)
    after = pair.ask("after", CHATS // 4, most=1)
    for chat in pair.chats:
        assert chat.siding
        at_rest(chat.siding)
    return f"before: {before}; in the middle of calls of 2 s: {meanwhile}; without it: {without}; after: {after}"


def test_a_redis_that_is_killed_costs_calls_and_no_chat(pair: Pair, redis: Redis) -> None:
    measured("the Redis of two processes is killed, and started again", through(pair, redis.stop, redis.start))


def test_a_redis_that_is_paused_costs_calls_and_no_chat(pair: Pair, redis: Redis) -> None:
    measured("the Redis of two processes stops for a while (SIGSTOP)", through(pair, redis.pause, redis.resume))
