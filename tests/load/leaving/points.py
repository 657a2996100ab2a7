"""Where requests can be when their clients leave, in each mode, and how that is told from outside.

Whether a request will be plain, replayed or relayed shows in its first pass: the points up to there are plain's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaving.app import Move
from leaving.stand import Stand
from leaving.visitors import Crowd

Reached = Callable[[Stand, Crowd, int], bool]


@dataclass(frozen=True)
class Point:
    """
    One of them. `prompt` has directives for the simulated LLM; None stands for a GET. Where `shares` is said, all who
    come together ask the same.
    """

    mode: str
    where: str
    moves: tuple[Move, ...]
    is_reached: Reached
    target: str = "/chat"
    prompt: str | None = ""
    streams: bool = True
    short_of: int = 0
    shares: bool = False
    by_egress: bool = False
    crowd_per_worker: int = 2
    headers: str = ""
    """Further lines of the request."""
    outlives: str = ""
    """Counts what goes on to its end though the client has left: a metric."""

    @property
    def name(self) -> str:
        """For the report."""
        return f"{self.mode}, {self.where}"


def arrived(stand: Stand, _: Crowd, size: int) -> bool:
    """All heads were read."""
    return stand.gauge("siding_exchanges_in_flight") == size


def in_passes(stand: Stand, _: Crowd, size: int) -> bool:
    """Every worker is held, the other requests wait for one."""
    return stand.app.held == stand.workers and stand.gauge("siding_queue_depth") == size - stand.workers


def reading(_: Stand, crowd: Crowd, size: int) -> bool:
    """All have some of their answers."""
    return crowd.reading == size


def waiting(stand: Stand, _: Crowd, size: int) -> bool:
    """The provider has all calls, and answers none."""
    return stand.provider_in_flight() == size == stand.gauge("siding_calls_in_flight")


def following(stand: Stand, _: Crowd, size: int) -> bool:
    """All but one wait for the answer to the first."""
    return stand.gauge("siding_coalesced_waiting") >= size - 1


def finished_and_in_passes(stand: Stand, crowd: Crowd, size: int) -> bool:
    """All have their streams, which are being saved."""
    return crowd.finished == size and in_passes(stand, crowd, size)


def passing(mode: str, target: str) -> list[Point]:
    """Of a request that makes no call."""
    return [
        Point(mode, "before its body", (Move.ANSWER,), arrived, target, short_of=1),
        Point(mode, "queued and in its pass", (Move.HOLD,), in_passes, target),
        Point(mode, "in the middle of its answer", (Move.HALF,), reading, target, crowd_per_worker=1),
    ]


REPLAY, RELAY, FINISH = (Move.REPLAY,), (Move.RELAY, Move.ANSWER), (Move.RELAY_TO_THE_END, Move.ANSWER)
EGRESS = "/openai/v1/chat/completions"
CALL_WAITS, MID_STREAM = "while its call waits", "in the middle of the stream"
TERMINATED = "/llm/v1/chat/completions"
SLOW = "[tokens=8][token-rate=4]"
SAVED, JOBS = "siding_relay_passes_total", "siding_jobs_ended_total"
JOB = "Prefer: respond-async, wait=60\r\n"

POINTS = [
    *passing("pass-through", "/through/chat"),
    *passing("plain", "/chat"),
    Point("replay", CALL_WAITS, REPLAY, waiting, prompt="[hang]", streams=False),
    Point("replay", "queued for and in its last pass", (*REPLAY, Move.HOLD), in_passes, streams=False),
    Point("replay", "in the middle of its answer", (*REPLAY, Move.HALF), reading, streams=False, crowd_per_worker=1),
    Point("relay", CALL_WAITS, RELAY, waiting, prompt="[hang]"),
    Point("relay", "after a comment of ours", RELAY, reading, prompt="[hang]"),
    Point("relay", MID_STREAM, RELAY, reading, prompt="[hang-body]"),
    Point("relay", f"{MID_STREAM}, to be saved", FINISH, reading, prompt=SLOW, outlives=SAVED),
    # A worker for each, or the last passes of some could hold those that others need for their first.
    Point(
        "relay",
        "during the last pass",
        (Move.RELAY, Move.HOLD),
        finished_and_in_passes,
        outlives=SAVED,
        crowd_per_worker=1,
    ),
    Point("terminated", "before its body", (Move.ANSWER,), arrived, TERMINATED, short_of=1),
    Point("terminated", "queued for and in its authorization", (Move.HOLD,), in_passes, TERMINATED),
    Point("terminated", CALL_WAITS, (Move.ANSWER,), waiting, TERMINATED, "[hang]"),
    Point("terminated", MID_STREAM, (Move.ANSWER,), reading, TERMINATED, "[hang-body]"),
    Point("background", "queued and in its pass", (Move.HOLD,), in_passes, "/jobs/chat", headers=JOB, outlives=JOBS),
    Point(
        "background",
        CALL_WAITS,
        (Move.REPLAY, Move.ANSWER),
        waiting,
        "/jobs/chat",
        "[latency=3s]",
        streams=False,
        headers=JOB,
        outlives=JOBS,
    ),
    Point("egress", "before its body", (), arrived, EGRESS, short_of=1, by_egress=True),
    Point("egress", CALL_WAITS, (), waiting, EGRESS, "[hang]", streams=False, by_egress=True),
    Point("egress", MID_STREAM, (), reading, EGRESS, "[hang-body]", by_egress=True),
    Point("shared call", "while it waits", (), following, EGRESS, "[hang]", shares=True, by_egress=True),
    Point("shared call", MID_STREAM, (), reading, EGRESS, "[hang-body]", shares=True, by_egress=True),
    Point("shared route", "while it waits", (Move.HOLD,), following, "/shared/{n}", None, shares=True),
]
