"""A PostgreSQL server of its own, as Debian packages it, with data that are not kept. Standard library only."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

from harness.addresses import free_address
from harness.prerequisites import postgres_binaries
from harness.process import Process, ProcessFailed, cpu_seconds, run_as
from harness.psql import Psql

USER = DATABASE = "postgres"
# Its data are thrown away: no sync stands between a measurement and its noise.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "1200",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}
PATIENCE_SECONDS = 20.0


class Postgres(Process):
    """
    Listens on a free port and trusts everyone. As root, which PostgreSQL refuses to run as, it runs as another
    account. Its backends are process groups of their own.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "postgres")
        self.address = free_address()
        self.account = _unprivileged() if os.geteuid() == 0 else None
        # Not in `directory`, which the other account need not be able to enter.
        self.cwd = Path(tempfile.mkdtemp(prefix="siding-postgres-"))
        settings = [f"{name}={value}" for name, value in {"port": self.address.split(":")[1], **SETTINGS}.items()]
        flags = [argument for setting in settings for argument in ("-c", setting)]
        self.command = [str(self.binaries / "postgres"), "-D", str(self.data), *flags]

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self.cwd / "data"

    @cached_property
    def binaries(self) -> Path:
        """The folder with initdb, postgres and psql."""
        found = postgres_binaries()
        if found is None:
            raise ProcessFailed("PostgreSQL is not there: apt install postgresql")
        return found

    @property
    def url(self) -> str:
        """For Django."""
        return f"postgres://{USER}@{self.address}/{DATABASE}"

    @property
    def version(self) -> str:
        """As it says itself."""
        said = subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[2]

    def start(self) -> None:
        """Makes the data directory first."""
        if self.account:
            os.chown(self.cwd, self.account.pw_uid, self.account.pw_gid)
        command = [self.binaries / "initdb", "-D", self.data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8"]
        done = subprocess.run(
            [*command, "--locale=C"],
            cwd=self.cwd,
            env=self.whole_environment(),
            capture_output=True,
            text=True,
            **run_as(self.account),
        )
        if done.returncode:
            shutil.rmtree(self.cwd, ignore_errors=True)
            raise ProcessFailed(f"initdb:\n{done.stderr}")
        super().start()

    def is_ready(self) -> bool:
        """Whether it answers a query."""
        host, port = self.address.split(":")
        command = [self.binaries / "pg_isready", "-q", "-h", host, "-p", port]
        return subprocess.run(command).returncode == 0

    def psql(self) -> Psql:
        """A session."""
        return Psql(self.binaries / "psql", self.address, USER, DATABASE)

    def children(self) -> list[int]:
        """Its backends and helpers."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def cpu_seconds(self) -> float:
        """Backends that have ended included."""
        return cpu_seconds(self.pid, and_ended_children=True) + sum(map(cpu_seconds, self.children()))

    def stop(self) -> None:
        """Ends it without waiting for its clients, and forgets its data."""
        if self.is_running():
            self.signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(PATIENCE_SECONDS)
        super().stop()
        shutil.rmtree(self.cwd, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd:
    """The package's own account, or nobody."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ProcessFailed("PostgreSQL does not run as root, and there is no account named postgres or nobody")
