"""1,000 clients that stream for 20 s each through relay and one synchronous worker: on time, without stalls, all saved.

The worker is gunicorn's with the chat project's `/api/relay/`, which writes the user's message before its call and the
model's after the stream. Clients come evenly over the ramp, since each needs the worker once before its first token;
all stream at one moment, which the provider's count shows. Each stream is checked to be the whole answer to its prompt,
and each row in the database to be the one that belongs to it.

The simulated LLM stamps each event with the time of its sending, and of the arrival of the call that it answers. The
time to the first token is told in two ways, both without the provider's own:

- from the client's request: with its connection, its wait for the worker and the first pass. This is what a user sees;
- from the provider's sending: what relaying takes alone, without the worker.

A stall is what the time between two events exceeds the provider's own spacing by.

RELAYED_STREAMS, RELAYED_STREAM_SECONDS and RELAYED_STREAMS_RAMP in the environment make it shorter.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import generator
from harness.load_driver import LoadDriver
from harness.process import rss_bytes
from harness.siding import Siding
from harness.waiting import until
from installation import Installation
from scene import Scene, behind_siding
from verdict import Figure, Note

CLIENTS = int(os.environ.get("RELAYED_STREAMS", "1000"))
SECONDS = float(os.environ.get("RELAYED_STREAM_SECONDS", "20"))
RAMP_SECONDS = float(os.environ.get("RELAYED_STREAMS_RAMP", "18"))
TOKEN_RATE = 10
LATENCY = "500ms"
PATH = "/api/relay/"
WARM_UP = 5
FIRST_TOKEN_MS = 50
STALL_MS = 250
# 15 s for 1,000 clients.
BUSY_SECONDS = 0.015 * CLIENTS
# For all streams, and for the last passes after them.
PATIENCE_SECONDS = 600.0

ROWS = """
SELECT user.text, answer.text FROM chat_message AS user LEFT JOIN chat_message AS answer
ON answer.conversation_id = user.conversation_id AND answer.role = 'assistant' WHERE user.role = 'user'
"""


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """The promises, then what they are made of."""
    with behind_siding(directory, installation) as scene:
        warm_up(scene)
        before, idle = Work.of(scene.siding), rss_bytes(scene.siding.pid)
        result = streamed(scene)
        pending = rss_bytes(scene.siding.pid)
        until("every stream to have had its last pass", lambda: concluded(scene) >= CLIENTS + WARM_UP, PATIENCE_SECONDS)
        work = Work.of(scene.siding).since(before)
        yield from on_time(result)
        yield Figure("errors", result["failed"], "at most", 0, "", generator.errors(result))
        yield Figure("streams at one moment", scene.llm.stats()["max_in_flight"], "at least", CLIENTS)
        unsaved = CLIENTS + WARM_UP - saved(scene)
        yield Figure("chats without both rows", unsaved, "at most", 0, "", f"of {CLIENTS} and {WARM_UP} before them")
        yield Figure("worker busy", work.busy, "at most", BUSY_SECONDS, "s", str(work))
        yield Note(f"Siding: CPU {work.cpu:.1f} s; RSS {idle >> 20} MiB at first, {pending >> 20} at the streams' end")


def warm_up(scene: Scene) -> None:
    """The worker has imported and connected everything."""
    scene.llm.configure(latency="0", tokens=2)
    result = generator.ask(
        f"{scene.siding.url}{PATH}", "--requests", str(WARM_UP), "--stream", "--token", scene.app.token
    )
    if result["failed"]:
        raise RuntimeError(f"streams fail: {generator.errors(result)}")
    scene.llm.reset()


def streamed(scene: Scene) -> dict[str, Any]:
    """All clients, each with one stream."""
    tokens = round(SECONDS * TOKEN_RATE)
    scene.llm.configure(latency=LATENCY, tokens=tokens, token_rate=TOKEN_RATE, directives="[stamp]")
    arguments = ["--stream", "--concurrency", str(CLIENTS), "--requests", str(CLIENTS), "--token", scene.app.token]
    arguments += ["--ramp-up", f"{RAMP_SECONDS:g}s", "--timeout", "10m"]
    arguments += ["--body-template", generator.QUESTION, "--expect-echo"]
    with LoadDriver(scene.directory, f"{scene.siding.url}{PATH}", *arguments) as load:
        return load.result(PATIENCE_SECONDS)


def on_time(result: dict[str, Any]) -> Iterator[Figure | Note]:
    """What clients saw."""
    streams = result["streams"]
    if unstamped := streams["unstamped"]:
        raise RuntimeError(f"{unstamped} events did not say when they were sent")
    details = f"p50 {streams['first_event_way_ms']['p50']:.1f}; with queue and first pass, less the provider's own time"
    way = streams["first_event_way_ms"]["p99"]
    yield Figure("first token from the client's request, p99", way, "at most", FIRST_TOKEN_MS, "ms", details)
    delay = streams["delay_ms"]
    details = f"p50 {delay['p50']:.1f}, max {delay['max']:.1f}; all {streams['events']} events"
    yield Figure("tokens from the provider's sending, p99", delay["p99"], "at most", FIRST_TOKEN_MS, "ms", details)
    stall = streams["stall_ms"]
    yield Figure("longest stall", stall["max"], "at most", STALL_MS, "ms", f"p99 {stall['p99']:.1f}")
    first = streams["first_event_ms"]
    yield Note(
        f"first token as clients see it: p50 {first['p50']:.0f}, p99 {first['p99']:.0f} ms, {LATENCY} the provider's"
    )


def concluded(scene: Scene) -> int:
    """Streams whose last pass is over, however it ended."""
    return int(scene.siding.value("siding_relay_passes_total"))


def saved(scene: Scene) -> int:
    """Chats with exactly one answer, which is the one to their prompt."""
    with contextlib.closing(sqlite3.connect(scene.app.database_path, timeout=20)) as database:
        rows = database.execute(ROWS).fetchall()
    times = Counter(prompt for prompt, _ in rows)
    return sum(times[prompt] == 1 and is_answer(prompt, answer or "") for prompt, answer in rows)


def is_answer(prompt: str, answer: str) -> bool:
    """Whether it is the simulated model's."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:12] in answer


@dataclass(frozen=True)
class Work:
    """What Siding and the worker have done: seconds, and how often."""

    busy: float
    cpu: float
    first: float
    firsts: float
    last: float
    lasts: float
    queued: float
    admitted: float

    @classmethod
    def of(cls, siding: Siding) -> Work:
        """So far."""
        first, last = (totals(siding, "siding_pass_duration_seconds", **{"pass": word}) for word in ("first", "resume"))
        queued = totals(siding, "siding_queue_wait_seconds")
        busy = siding.value("siding_workers_busy_seconds_total")
        return cls(busy, siding.cpu_seconds(), *first, *last, *queued)

    def since(self, before: Work) -> Work:
        """What came after."""
        return Work(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))

    def __str__(self) -> str:
        parts = (("first pass", self.first, self.firsts), ("last pass", self.last, self.lasts))
        means = (*parts, ("wait for the worker", self.queued, self.admitted))
        return ", ".join(f"{name} {1000 * total / max(count, 1):.1f} ms" for name, total, count in means)


def totals(siding: Siding, histogram: str, **labels: str) -> tuple[float, float]:
    """Sum and count."""
    return siding.value(f"{histogram}_sum", **labels), siding.value(f"{histogram}_count", **labels)
