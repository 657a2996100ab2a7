"""The stub app with its provider, under measurement's control."""

from __future__ import annotations

from pathlib import Path

from harness import raw_http, signing
from harness.addresses import free_address, listens
from harness.process import BINARIES, Process

BINARY = BINARIES / "stub-app"


class Stub(Process):
    """App and provider in one process, on one thread. `address` is the app's."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        """`arguments` are further flags: --close, --latency."""
        super().__init__(directory, "stub-app")
        self.address, self.provider = free_address(), free_address()
        self.environment = {"SIDING_SECRET": signing.SECRET}
        self.command = [str(BINARY), "serve", "--app", self.address, "--provider", self.provider, *arguments]

    @property
    def provider_url(self) -> str:
        """What Siding knows it by."""
        return f"http://{self.provider}"

    def is_ready(self) -> bool:
        """Whether both listen."""
        return listens(self.address) and listens(self.provider)

    def records(self) -> dict[str, tuple[int, int]]:
        """Requests and nanoseconds of its own, by exchange, since the last time."""
        text = raw_http.request(self.address, "GET", "/records").body.decode()
        rows = (line.split() for line in text.splitlines())
        return {exchange: (int(legs), int(to_first)) for exchange, legs, to_first, _ in rows}
