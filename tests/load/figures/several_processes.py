"""Three Siding processes, one Redis: one call for all, a dead leader, a dead Redis, the price of a second-level hit.

SEVERAL_CLIENTS in the environment is the number of identical calls, over all three processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crowd import Client, Plan, gather_each
from harness import raw_http
from harness.addresses import free_address, listens
from harness.redis import Redis
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until
from installation import Installation
from verdict import Figure, Note

from figures.identical_calls import is_answer

CLIENTS = int(os.environ.get("SEVERAL_CLIENTS", "3000"))
PROCESSES = 3
TOKENS, TOKEN_RATE = 60, 10
STREAM_SECONDS = TOKENS / TOKEN_RATE
SPREAD = STREAM_SECONDS * 0.6
LEASE = 1.0
PATIENCE = 120.0
LOOKS = 2000
MOST_OVER_FIRST_MS = 1.0
CHAT = "/openai/v1/chat/completions"
HEADERS = [("Content-Type", "application/json"), ("Authorization", "Bearer sk-test")]


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """The promises."""
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        redis = stack.enter_context(Redis(directory))
        processes = [stack.enter_context(process(directory, llm, redis)) for _ in range(PROCESSES)]
        for each in processes:
            each.until_value(1, "siding_redis_up")
        yield from second_level(llm, processes)
        llm.configure(tokens=TOKENS, token_rate=TOKEN_RATE, latency="200ms")
        yield from one_call(llm, processes)
        yield from dead_redis(llm, processes, redis)
        yield from dead_leader(llm, processes)


def process(directory: Path, llm: SimulatedLLM, redis: Redis) -> Siding:
    """One of them; its app is not there, and not needed."""
    settings = {
        "server": {"egress": free_address()},
        "log": {"filter": "warn"},
        "cache": {"ttl": "1h", "max_followers": 2 * CLIENTS},
        "redis": {"url": redis.url, "lease": f"{LEASE:g}s"},
    }
    return Siding(directory, free_address(), llm.providers(), settings)


def egress(siding: Siding) -> str:
    """Where calls are made."""
    return siding.settings["server"]["egress"]


def second_level(llm: SimulatedLLM, processes: list[Siding]) -> Iterator[Figure | Note]:
    """The first look of a process at what another has stored, beside the second, which finds a copy of its own."""
    first, second = processes[:2]
    bodies = [asking(f"look {number} {random.random()}") for number in range(LOOKS)]
    times: dict[str, list[float]] = {"second": [], "first": []}
    with raw_http.Connection(egress(first)) as one, raw_http.Connection(egress(second)) as other:
        for body in bodies:
            one.request("POST", CHAT, HEADERS, body)
        until("everything to be stored", lambda: first.value("siding_second_level_writes_total") == LOOKS, PATIENCE)
        # In turn, so that whatever else the machine does falls on both.
        for body in bodies:
            for level in ("second", "first"):
                began = time.perf_counter()
                answer = other.request("POST", CHAT, HEADERS, body)
                times[level].append((time.perf_counter() - began) * 1000)
                assert (answer.header("cache-status") or "").startswith("siding; hit"), answer
    assert second.value("siding_second_level_lookups_total", result="hit") == LOOKS
    p50 = {level: statistics.median(values) for level, values in times.items()}
    p99 = {level: statistics.quantiles(values, n=100)[98] for level, values in times.items()}
    over = p99["second"] - p99["first"]
    details = f"{p99['second']:.3f} to {p99['first']:.3f} ms; medians {p50['second']:.3f} and {p50['first']:.3f} ms"
    yield Figure(
        "p99 of a hit in the second level over one in the first", over, "at most", MOST_OVER_FIRST_MS, "ms", details
    )


def asking(prompt: str) -> bytes:
    """A plain call."""
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}).encode()


def one_call(llm: SimulatedLLM, processes: list[Siding]) -> Iterator[Figure | Note]:
    """Half of the clients want a stream."""
    prompt = f"of all {random.random()}"
    ended = gather_each([egress(each) for each in processes], prompt, Plan(CLIENTS, SPREAD), PATIENCE)
    yield Figure(
        "provider calls for all processes", llm.stats(prompt)["total"], "at most", 1, details=f"{CLIENTS} clients"
    )
    yield from whole(f"{PROCESSES} processes", ended, prompt)


def whole(name: str, ended: list[tuple[str, Client]], prompt: str) -> Iterator[Figure | Note]:
    """Every answer whole, right, and the same as the others of its form."""
    forms: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())
    wrong = 0
    for how, client in ended:
        body = client.body()
        is_right = how == "complete" and client.status() == 200 and is_answer(body, prompt)
        wrong += not is_right
        forms[b'"stream": true' in client.request][hashlib.sha256(body).digest()] += 1
    yield Figure(f"{name}: wrong or incomplete answers", wrong, "at most", 0, details=f"of {len(ended)}")
    yield Note(f"{name}: different answers of a form: {max(map(len, forms))}")


def dead_redis(llm: SimulatedLLM, processes: list[Siding], redis: Redis) -> Iterator[Figure | Note]:
    """Killed while the stream is under way, and back after it."""
    prompt = f"without Redis {random.random()}"
    killing = threading.Timer(STREAM_SECONDS / 3, redis.stop)
    killing.start()
    ended = gather_each([egress(each) for each in processes], prompt, Plan(CLIENTS, SPREAD), PATIENCE)
    killing.join()
    calls = llm.stats(prompt)["total"]
    yield Figure(
        "Redis killed: provider calls", calls, "at most", PROCESSES, details="one process, then each for itself"
    )
    yield from whole("Redis killed", ended, prompt)
    prompt = f"alone {random.random()}"
    ended = gather_each([egress(each) for each in processes], prompt, Plan(CLIENTS // 3, 1.0), PATIENCE)
    calls = llm.stats(prompt)["total"]
    yield Figure("without Redis: provider calls", calls, "at most", PROCESSES, details="one for each process")
    yield from whole("without Redis", ended, prompt)
    began = time.perf_counter()
    redis.start()
    for each in processes:
        each.until_value(1, "siding_redis_up")
    yield Note(f"Redis back: all processes have it again after {time.perf_counter() - began:.2f} s")


def dead_leader(llm: SimulatedLLM, processes: list[Siding]) -> Iterator[Figure | Note]:
    """Killed in the middle of its stream: those who follow elsewhere get the whole answer, by one further call."""
    prompt = f"a dead leader {random.random()}"
    leader, *others = processes
    before = {each: each.value("siding_shared_flights_total", part="led") for each in processes}
    leading = threading.Thread(target=gather_each, args=([egress(leader)], prompt, Plan(1, 0.0), PATIENCE))
    leading.start()
    until("the leader to lead", lambda: leader.value("siding_shared_flights_total", part="led") > before[leader])

    def kill() -> None:
        os.kill(leader.pid, signal.SIGKILL)

    killing = threading.Timer(STREAM_SECONDS / 2, kill)
    killing.start()
    ended = gather_each([egress(each) for each in others], prompt, Plan(CLIENTS, SPREAD), PATIENCE)
    killing.join()
    leading.join()
    assert not listens(egress(leader))
    calls = llm.stats(prompt)["total"]
    yield Figure("leader killed in its stream: provider calls", calls, "at most", 2, details="its own, and one further")
    yield from whole("leader killed", ended, prompt)
