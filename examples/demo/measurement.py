"""One load, and all that is measured while it runs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backend import ChatProject
from harness.process import BINARIES, rss_bytes
from harness.siding import Siding

FAST_RATE = 20
SAMPLING_SECONDS = 0.25


@dataclass
class Load:
    """How much is asked of what."""

    title: str
    url: str
    concurrency: int
    seconds: int


@dataclass
class Result:
    """What came of it."""

    load: Load
    chats: dict[str, Any]
    fast: dict[str, Any]
    rows: int
    """Message rows written while it ran."""
    odd: int
    """Conversations among them that do not hold exactly a question and an answer."""
    worker_bytes: int
    siding_bytes: int

    @property
    def is_clean(self) -> bool:
        """No request failed and each chat wrote its two rows."""
        return (
            not self.chats["failed"]
            and not self.fast["failed"]
            and not self.odd
            and self.rows == 2 * self.chats["good"]
        )


def measure(load: Load, backend: ChatProject, siding: Siding | None) -> Result:
    """Runs the load with its progress on the terminal."""
    before = last_message(backend.database_path)
    with Memory(backend, siding) as memory:
        fast = driver(f"{load.url}/api/fast/", load.seconds, "--rate", str(FAST_RATE), "--quiet")
        chats = driver(
            f"{load.url}/api/chat/",
            load.seconds,
            *("--concurrency", str(load.concurrency), "--token", backend.token),
            *("--body-template", '{"prompt": "Question {n}: why do trains wait?"}', "--expect-echo"),
        )
        try:
            results = [json.loads(process.communicate()[0] or "null") for process in (chats, fast)]
        finally:
            for process in (chats, fast):
                process.kill()
                process.wait()
    if None in results:
        raise RuntimeError("the load driver gave no result")
    rows, odd = written_after(backend.database_path, before)
    return Result(load, *results, rows, odd, memory.workers, memory.siding)


def warm_up(url: str, backend: ChatProject) -> None:
    """A few chats, so that no measurement pays for imports and first connections."""
    driver_path = str(BINARIES / "load-driver")
    template = '{"prompt": "Warm-up {n}"}'
    command = [driver_path, "--url", f"{url}/api/chat/", "--token", backend.token, "--body-template", template]
    subprocess.run(
        [*command, "--concurrency", "4", "--requests", "12", "--quiet"], check=True, stdout=subprocess.DEVNULL
    )


def driver(url: str, seconds: int, *arguments: str) -> subprocess.Popen[bytes]:
    """The load driver at work; its result comes on its standard output."""
    command = [str(BINARIES / "load-driver"), "--url", url, "--duration", f"{seconds}s", "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


class Memory(threading.Thread):
    """The highest resident memory seen, sampled."""

    def __init__(self, backend: ChatProject, siding: Siding | None) -> None:
        super().__init__(daemon=True)
        self._backend, self._siding = backend, siding
        self._done = threading.Event()
        self.workers = self.siding = 0

    def run(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self.workers = max(self.workers, sum(map(rss_bytes, self._backend.children())))
            if self._siding:
                self.siding = max(self.siding, rss_bytes(self._siding.pid))

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def last_message(database: Path) -> int:
    """The number of the newest row."""
    return query(database, "SELECT coalesce(max(id), 0) FROM chat_message")[0][0]


def written_after(database: Path, number: int) -> tuple[int, int]:
    """Rows since then, and conversations among them that are not one question with one answer."""
    roles = query(
        database,
        "SELECT group_concat(role) FROM (SELECT * FROM chat_message WHERE id > ? ORDER BY id) GROUP BY conversation_id",
        number,
    )
    rows = sum(len(each.split(",")) for (each,) in roles)
    return rows, sum(each != "user,assistant" for (each,) in roles)


def query(database: Path, sql: str, *parameters: int) -> list[tuple[Any, ...]]:
    """Reads from the app's database without touching it."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()
