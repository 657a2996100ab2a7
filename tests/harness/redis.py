"""A Redis of its own, as Debian packages it, with data that are not kept. Standard library only."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from harness.addresses import free_address
from harness.process import Process

# Nothing is written to a disk.
SETTINGS = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--daemonize", "no")


class Redis(Process):
    """Listens on a free port. It can be paused, killed, and started again at the same address."""

    def __init__(self, directory: Path, *settings: str, address: str | None = None) -> None:
        super().__init__(directory, "redis")
        self.address = address or free_address()
        _, port = self.address.split(":")
        self.command = ["redis-server", "--port", port, "--dir", str(directory), *SETTINGS, *settings]

    @property
    def url(self) -> str:
        """For Siding's configuration."""
        return f"redis://{self.address}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self.ask("PING") == "PONG"
        except OSError:
            return False

    def ask(self, *words: str) -> str | int | list[str] | None:
        """One command, and its answer. An error is raised."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            parts = [f"*{len(words)}\r\n".encode(), *(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)]
            connection.sendall(b"".join(parts))
            with connection.makefile("rb") as stream:
                return _answer(stream)

    def names(self, pattern: str) -> list[str]:
        """The keys that match."""
        found = self.ask("KEYS", pattern)
        assert isinstance(found, list)
        return sorted(found)

    def pause(self) -> None:
        """It takes connections and says nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        self.signal(signal.SIGCONT)


def _answer(stream) -> str | int | list[str] | None:
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"*":
        return [_answer(stream) for _ in range(int(rest))]
    if kind == b"$":
        if rest == b"-1":
            return None
        value = stream.read(int(rest))
        stream.read(2)
        return value.decode("latin-1")
    raise RuntimeError(f"no answer: {line!r}")
