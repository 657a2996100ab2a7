"""Database connections and open transactions that the app holds while 1,000 chats wait behind one worker.

By PostgreSQL's own count. The benchmark's view writes after its call, the chat view before and after. Connections are
closed after each request, as Django does by default: one that a worker keeps for itself is held by no chat.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.postgres import Postgres
from harness.psql import Activity
from installation import Installation
from scene import CHATS, Scene, behind_siding
from verdict import Figure

VIEWS = ("/api/ask/", "/api/chat/")
SAMPLES = 20
SPACING_SECONDS = 0.25


def measure(directory: Path, installation: Installation) -> Iterator[Figure]:
    """Two verdicts for each view."""
    with (
        Postgres(directory) as postgres,
        behind_siding(directory, installation, f"{postgres.url}?conn_max_age=0") as scene,
    ):
        for view in VIEWS:
            held = sampled(scene, postgres, view)
            details = f"the maximum of {SAMPLES} samples of pg_stat_activity"
            yield Figure(f"connections while {CHATS:,} wait in {view}", held.connections, "at most", 0, "", details)
            yield Figure(
                f"open transactions while {CHATS:,} wait in {view}", held.transactions, "at most", 0, "", details
            )


def sampled(scene: Scene, postgres: Postgres, view: str) -> Activity:
    """The most at any moment."""
    most = Activity(0, 0, 0)
    with scene.pending(view), postgres.psql() as psql:
        for _ in range(SAMPLES):
            most = most.maximum(psql.activity())
            time.sleep(SPACING_SECONDS)
    return most
