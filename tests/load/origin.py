"""The server behind the caches, under measurement's control."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness import raw_http
from harness.addresses import free_address, listens
from harness.process import Process

SERVER = Path(__file__).with_name("origin_server.py")


class Origin(Process):
    """`origin_server.py`, on a free address."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "origin")
        self.address = free_address()
        self.command = [sys.executable, str(SERVER), self.address]

    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return listens(self.address)

    def calls(self, target: str) -> int:
        """How often it was asked for it so far."""
        counts: dict[str, int] = json.loads(raw_http.request(self.address, "GET", "/calls").body)
        return counts.get(target, 0)
