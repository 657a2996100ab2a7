"""What can only be seen while it lasts: memory and connections, looked at again and again."""

from __future__ import annotations

import threading

from harness.process import rss_bytes
from harness.psql import Activity

from benchmark.stand import Stand

SPACING_SECONDS = 0.4


class Sampler(threading.Thread):
    """A context manager; keeps the maximum of each figure."""

    def __init__(self, stand: Stand) -> None:
        super().__init__(daemon=True)
        self._server = [stand.server.pid, *stand.server.children()]
        self._siding = [stand.siding.pid] if stand.siding else []
        self._psql = stand.postgres.psql()
        self._done = threading.Event()
        self.activity = Activity(0, 0, 0)
        self.server_bytes = self.siding_bytes = self.total_bytes = 0
        self.samples = 0

    def run(self) -> None:
        """Until it is told to end."""
        with self._psql:
            while not self._done.wait(SPACING_SECONDS):
                self.activity = self.activity.maximum(self._psql.activity())
                server, siding = (sum(map(rss_bytes, pids)) for pids in (self._server, self._siding))
                self.server_bytes = max(self.server_bytes, server)
                self.siding_bytes = max(self.siding_bytes, siding)
                self.total_bytes = max(self.total_bytes, server + siding)
                self.samples += 1

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()
