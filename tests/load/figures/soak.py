"""Half an hour of everything at once, with faults: every answer is right, nothing grows, nothing is left.

The chat project under gunicorn's sync workers, behind Siding, with the simulated LLM. Clients chat (handed over, a row
each), read relayed streams, call through the egress listener plain and streaming, ask for shared answers, begin jobs
and fetch them, are streamed through, meet every fault that the provider knows, and leave in the middle. Meanwhile
workers are killed with SIGKILL, the configuration is reloaded, every third time with a faulty file, and the Redis is
killed or paused.

Each answer is checked. A request may fail only for a worker that was killed, and there are no more of them than killed
workers. In the end the database has one row for each answered chat and none twice; nothing is under way by any gauge;
and memory, descriptors, threads and series do not grow from the middle to the end, by the lines through their samples.

SOAK_MINUTES in the environment is how long (30), SOAK_LOAD how many times as many visitors there are (1).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import descriptors
from harness.addresses import free_address
from harness.backend import ChatProject
from harness.raw_http import Incomplete
from harness.redis import Redis
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from harness.waiting import until
from installation import Installation
from leaving.stand import GAUGES
from soaking.disturbances import Killer, RedisFaults, Reloader
from soaking.samples import Sample, growth
from soaking.visits import GOOD, KINDS, LEFT, WRONG, Client, Kind, Place
from verdict import Figure, Note

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
LOAD = int(os.environ.get("SOAK_LOAD", "1"))
WORKERS = 4
SAMPLE_SECONDS, KILL_SECONDS, RELOAD_SECONDS, REDIS_SECONDS = 10.0, 20.0, 15.0, 45.0
# What growth is noise, over the second half: jemalloc gives pages back by its own clock; connections and threads for
# blocking work come and go with the load; a rare outcome makes a series late.
MOST_MEMORY_MIB, MOST_DESCRIPTORS, MOST_THREADS, MOST_SERIES = 8.0, 24.0, 4.0, 10.0
# Below that, what fills up once is not full yet.
LEAST_MINUTES = 10
LAST_SECONDS = 60.0
# What a worker's death looks like to a client.
LOST = "backend-closed"


class Tally:
    """How visits ended."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str, outcome: str) -> None:
        """One more."""
        with self._lock:
            self._ended[kind, outcome] += 1

    def count(self, *outcomes: str) -> int:
        """Of all kinds."""
        return sum(count for (_, outcome), count in self._ended.items() if outcome in outcomes)

    def unexplained(self) -> dict[str, int]:
        """What should not have happened, and how often."""
        expected = (GOOD, WRONG, LEFT, LOST)
        return {f"{kind}: {outcome}": n for (kind, outcome), n in self._ended.items() if outcome not in expected}

    def __str__(self) -> str:
        kinds = sorted({kind for kind, _ in self._ended})
        totals = {kind: sum(n for (of, _), n in self._ended.items() if of == kind) for kind in kinds}
        return ", ".join(f"{count:,} {kind}" for kind, count in totals.items())


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """One run, several promises."""
    with Redis(directory) as redis, system(directory, installation, redis) as (siding, app, llm):
        siding.until_value(1, "siding_redis_up")
        before = settled(siding, llm)
        place = Place(siding.address, siding.settings["server"]["egress"], app.token)
        tally, killer, reloader = Tally(), Killer(app), Reloader(siding)
        samples: list[Sample] = []
        regularly = [
            (SAMPLE_SECONDS, lambda: samples.append(Sample.of(siding))),
            (KILL_SECONDS, killer),
            (RELOAD_SECONDS, reloader),
            (REDIS_SECONDS, RedisFaults(redis)),
        ]
        with visitors(place, tally), doing(regularly):
            time.sleep(MINUTES * 60)
        left = what_is_left(siding, llm)
        after = settled(siding, llm, before)
        unsaved, lost_relays = rows(app.database_path, place)
    lost = tally.count(LOST) + lost_relays
    yield from answers(tally, lost, killer.killed, unsaved)
    yield Figure("reloads that went wrong", reloader.wrong, "at most", 0, details=f"of {reloader.done}")
    yield from flat(samples)
    told = ", ".join(f"{count:g} {name}" for name, count in left.items()) or "nothing by any gauge"
    yield Figure("left at the end", sum(left.values()), "at most", 0, details=told)
    opened = f"{after}, {before} before the first request; idle connections to the provider aside"
    yield Figure("descriptors left", max(after - before, 0), "at most", 0, details=opened)


def answers(tally: Tally, lost: int, killed: int, unsaved: dict[str, int]) -> Iterator[Figure | Note]:
    """What clients got, and the database."""
    yield Figure("wrong answers", tally.count(WRONG), "at most", 0, details=str(tally))
    unexplained = tally.unexplained()
    details = ", ".join(f"{count} x {what}" for what, count in unexplained.items())
    yield Figure("failures for no reason", sum(unexplained.values()), "at most", 0, details=details)
    yield Figure("requests lost with their worker", lost, "at most", killed, details=f"{killed} workers were killed")
    details = ", ".join(f"{count} {what}" for what, count in unsaved.items())
    yield Figure("rows lost or doubled", sum(unsaved.values()), "at most", 0, details=details)
    yield Note(f"{tally.count(LEFT):,} clients left in the middle")


def flat(samples: list[Sample]) -> Iterator[Figure | Note]:
    """Whether anything grows."""
    short = f"; shorter than {LEAST_MINUTES} minutes, so that this says little" if MINUTES < LEAST_MINUTES else ""
    ends = f"over the second half of {MINUTES:g} minutes, {len(samples)} samples{short}"
    bounds: list[tuple[str, Callable[[Sample], float], float, str]] = [
        ("memory", lambda sample: sample.memory_mib, MOST_MEMORY_MIB, "MiB"),
        ("descriptors", lambda sample: sample.descriptors, MOST_DESCRIPTORS, ""),
        ("threads", lambda sample: sample.threads, MOST_THREADS, ""),
        ("series", lambda sample: sample.series, MOST_SERIES, ""),
    ]
    for name, what, most, unit in bounds:
        yield Figure(f"growth of {name}", growth(samples, what), "at most", most, unit, ends)
    for number in sorted({0, len(samples) // 2, len(samples) - 1}):
        yield Note(f"sample {number + 1}: {samples[number]}")


@contextlib.contextmanager
def system(
    directory: Path, installation: Installation, redis: Redis
) -> Iterator[tuple[Siding, ChatProject, SimulatedLLM]]:
    """Starts it and stops it."""
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, "--token-rate", "100", latency="200ms"))
        environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET, "LLM_TIMEOUT": "60"}
        app = stack.enter_context(
            ChatProject(directory, workers=WORKERS, python=installation.python, environment=environment)
        )
        siding = stack.enter_context(Siding(directory, app.address, llm.providers(), settings(redis)))
        siding.until_app()
        yield siding, app, llm


def settings(redis: Redis) -> dict[str, Any]:
    """Small stores, so that they are full early; a provider that is not waited for long, nor taken to be down."""
    timeout = {"first_byte": "3s", "idle": "2s"}
    return {
        "server": {"threads": 0, "egress": free_address()},
        "log": {"filter": "warn,siding=error"},
        "backend": {"workers": WORKERS},
        "providers": {"openai": {"timeout": timeout, "breaker": False, "concurrency": {"min": 1000}}},
        "cache": {"ttl": "10s", "capacity": "4MiB", "max_entry": "256KiB"},
        "redis": {"url": redis.url},
        "background": {"capacity": "2MiB", "max_result": "256KiB"},
        "routes": [
            {"path": "/api/fast/", "handoff": False},
            {"path": "/api/echo/shared/**", "cache": {"ttl": "2s", "scope": "public"}},
            {"path": "/api/ask/unsaved/", "background": True},
        ],
    }


@contextlib.contextmanager
def visitors(place: Place, tally: Tally) -> Iterator[None]:
    """All kinds at once. In the end each finishes what it does."""
    over = threading.Event()
    threads = [
        threading.Thread(target=visit, args=(place, kind, number, tally, over))
        for kind in KINDS
        for number in range(kind.visitors * LOAD)
    ]
    with finished(threads, over):
        yield


@contextlib.contextmanager
def doing(regularly: list[tuple[float, Callable[[], object]]]) -> Iterator[None]:
    """Each thing again and again, after so many seconds. What fails fails the run."""
    over, failures = threading.Event(), list[BaseException]()

    def repeat(seconds: float, thing: Callable[[], object]) -> None:
        try:
            while not over.wait(seconds):
                thing()
        except BaseException as failure:
            failures.append(failure)

    with finished([threading.Thread(target=repeat, args=each) for each in regularly], over):
        yield
    if failures:
        raise failures[0]


@contextlib.contextmanager
def finished(threads: list[threading.Thread], over: threading.Event) -> Iterator[None]:
    """They run until this ends, and then to their own ends."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def visit(place: Place, kind: Kind, number: int, tally: Tally, over: threading.Event) -> None:
    """One visitor, to the end."""
    client = Client(place, f"{kind.name} {number}")
    try:
        while not over.wait(client.chance.expovariate(1 / kind.pause_seconds)):
            tally.add(kind.name, outcome(kind, client))
    finally:
        client.close()


def outcome(kind: Kind, client: Client) -> str:
    """How a visit ended, in a word."""
    try:
        return kind.visit(client)
    except (OSError, Incomplete, ValueError, LookupError) as failure:
        return f"{type(failure).__name__}: {str(failure)[:80]}"


def what_is_left(siding: Siding, llm: SimulatedLLM) -> dict[str, float]:
    """What is under way or held after all have gone, by what it is."""

    def looked() -> dict[str, float]:
        counts = {family: siding.value(family) for family in GAUGES}
        counts["calls at the provider"] = llm.stats()["in_flight"]
        return {name: count for name, count in counts.items() if count}

    with contextlib.suppress(AssertionError):
        until("nothing to be left", lambda: not looked(), LAST_SECONDS)
    return looked()


def settled(siding: Siding, llm: SimulatedLLM, most: int | None = None) -> int:
    """Descriptors at rest; with a number, once there are no more than that, if ever."""

    def looked() -> int:
        return descriptors.without_idle(siding.pid, llm.address)

    if most is not None:
        with contextlib.suppress(AssertionError):
            until("descriptors to be closed", lambda: looked() <= most, LAST_SECONDS)
    return looked()


def rows(database: Path, place: Place) -> tuple[dict[str, int], int]:
    """What the database lacks or has twice, by what it is; and how many relayed answers a last pass did not save."""
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        found = Counter(connection.execute("select prompt, text from chat_answer").fetchall())
        said = connection.execute("select conversation_id, role, text from chat_message").fetchall()
    prompts = Counter(prompt for prompt, _ in found.elements())
    questions = Counter(text for _, role, text in said if role == "user")
    answers = {text for _, role, text in said if role == "assistant"}
    unsaved = {
        "chats without their row": sum((prompt, text) not in found for prompt, text in place.saved.items()),
        "chats with several": sum(count > 1 for count in prompts.values()),
        "questions written twice": sum(count > 1 for count in questions.values()),
    }
    lost_relays = sum(text not in answers for text in place.relayed.values())
    return {what: count for what, count in unsaved.items() if count}, lost_relays
