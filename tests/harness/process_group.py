"""A program in a process group of its own: it is started, waited for, measured and stopped as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

GRACE_SECONDS = 8.0
PATIENCE_SECONDS = 30.0


class NotReady(Exception):
    """The program ended, or did nothing, before it was ready."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ProcessGroup:
    """A context manager around a program and its children. Its output goes to `<directory>/<name>.log`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        """Starts it with `env` added to this process's environment."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> None:
        """Waits for a sign of life. What goes wrong meanwhile names the log."""
        deadline = time.monotonic() + patience
        while not ready():
            if self.process is None or self.process.poll() is not None:
                raise NotReady(f"{self.name} ended at its start:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready in {patience:.0f} s:\n{self.last_words()}")
            time.sleep(0.05)

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        """The first process of the group, whose number is the group's."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def pids(self) -> list[int]:
        """Everyone in the group who is alive, oldest first."""
        return sorted(pid for pid in _all_pids() if _group_of(pid) == self.pid)

    def children(self) -> list[int]:
        """The group without its first process: a server's workers."""
        return [pid for pid in self.pids() if pid != self.pid]

    def signal_group(self, number: signal.Signals) -> None:
        """Sends a signal to all of them; nobody there is fine."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self) -> None:
        """Asks the first process to end, and ends whoever is left."""
        if self.process is None:
            return
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.signal_group(signal.SIGKILL)
            self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.stop()


def rss_bytes(pid: int) -> int:
    """Resident memory, 0 if the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def answers(address: str, path: str) -> bool:
    """Whether `host:port` or `unix:/path` answers a GET with 200."""
    socket_path = address.removeprefix("unix:")
    is_tcp = socket_path == address
    with socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(_host_port(address) if is_tcp else socket_path)
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def _host_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group_of(pid: int) -> int | None:
    """From /proc: the fifth field, counted after the name, which may hold anything. Zombies are not alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[2])
