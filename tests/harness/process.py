"""A program in a process group of its own: it is started, waited for, measured and ended as a whole. Standard
library only, as all that the demo uses: it runs before anything is installed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
# Where cargo puts release builds for this machine; with SIDING_TARGET, those for another target.
BINARIES = (
    ROOT
    / os.environ.get("CARGO_TARGET_DIR", "target")
    / os.environ.get("SIDING_TARGET", "")
    / os.environ.get("SIDING_PROFILE", "release")
)

PATIENCE_SECONDS = 120.0

P = TypeVar("P", bound="Process")


class ProcessFailed(Exception):
    """The program ended, or did nothing, before it was ready; or it panicked."""


class Process:
    """
    A context manager around a program and its children. A subclass says in its `__init__` what `command` is run,
    with which `environment` and where, and in `is_ready` how to tell that it has started. The program's output is in
    a file of its own in `directory`, which stays.
    """

    # How long the program may take to end by itself when it is asked to, before it is killed.
    grace_seconds = 0.0

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.log_path = _new_file(directory, name)
        self.process: subprocess.Popen[bytes] | None = None
        self.command: list[str] = []
        self.directory = self.cwd = directory
        self.environment: dict[str, str] = {}
        # An account to run as, which only root may choose.
        self.account: pwd.struct_passwd | None = None
        # A descriptor that its output goes to instead of the log.
        self.output: int | None = None

    def __enter__(self: P) -> P:
        self.start()
        try:
            self.until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.check_for_panics()

    def is_ready(self) -> bool:
        """Whether it does what it is for."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it."""
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log if self.output is None else self.output,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.whole_environment(),
                start_new_session=True,
                **run_as(self.account),
            )

    def whole_environment(self) -> dict[str, str]:
        """Nothing of the caller's own but what finds programs: the outcome is the same on every machine."""
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, "LANG": "C.UTF-8", "HOME": str(self.directory), **self.environment}

    def until_ready(self) -> None:
        """Waits for a sign of life; the end of the process ends the wait."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_ready():
            if not self.is_running():
                raise ProcessFailed(f"{self.name} ended at its start:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not ready in {PATIENCE_SECONDS:.0f} s:\n{self.last_words()}")
            time.sleep(0.02)

    def check_for_panics(self) -> None:
        """Fails if one is in the log."""
        if "panicked" in self.log:
            raise ProcessFailed(f"{self.name} panicked:\n{self.log}")

    @property
    def log(self) -> str:
        """Everything it has written."""
        return self.log_path.read_text(errors="replace")

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.splitlines()[-lines:])

    @property
    def pid(self) -> int:
        """The first process of the group, whose number is the group's."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def children(self) -> list[int]:
        """The group without its first process: a server's workers, those that are alive."""
        return [pid for pid in _all_pids() if pid != self.pid and _group_of(pid) == self.pid]

    def cpu_seconds(self) -> float:
        """What the whole group has used so far, user and system."""
        assert self.process is not None, f"{self.name} was not started"
        return sum(map(cpu_seconds, [self.pid, *self.children()]))

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the first process."""
        assert self.process is not None, f"{self.name} was not started"
        self.process.send_signal(number)

    def wait(self, patience: float = 10.0) -> int:
        """Waits for the end of the first process and returns its exit code."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.wait(patience)

    def is_running(self) -> bool:
        """Whether the first process has not ended."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ends the whole group, also what its first process left behind."""
        if self.process is None:
            return
        try:
            if self.grace_seconds and self.is_running():
                self.signal(signal.SIGTERM)
                self.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """What `subprocess` is told, so that a program runs as this account; nothing without one."""
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


def rss_bytes(pid: int) -> int:
    """Resident memory, 0 if the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int, *, and_ended_children: bool = False) -> float:
    """What a process has used so far, user and system; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    used = fields[11:15] if and_ended_children else fields[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _new_file(directory: Path, name: str) -> Path:
    """`name.log`; `name-2.log` if there is one already, and so on."""
    for number in itertools.count(1):
        path = directory / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
    return path


def _all_pids() -> list[int]:
    return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _group_of(pid: int) -> int | None:
    """From /proc: the fifth field, counted after the name, which may hold anything. Zombies are not alive."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[2])
