"""A session with PostgreSQL that stays open, so that asking often costs little."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# Clients' own connections, without the one that asks.
ACTIVITY = (
    "select count(*), count(*) filter (where state <> 'idle'), "
    "count(*) filter (where state like 'idle in transaction%') from pg_stat_activity "
    "where backend_type = 'client backend' and pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Activity:
    """How many connections there were at one moment, and in what state."""

    connections: int
    transactions: int
    """Open ones: at work or idle."""
    idle_transactions: int
    """Open, and the app does something else."""

    def maximum(self, other: Activity) -> Activity:
        """Each figure's greater value."""
        return Activity(
            max(self.connections, other.connections),
            max(self.transactions, other.transactions),
            max(self.idle_transactions, other.idle_transactions),
        )


class Psql:
    """A context manager. `query` returns the fields of a single row."""

    def __init__(self, binary: Path, address: str, user: str, database: str) -> None:
        host, port = address.split(":")
        self.command = [str(binary), "-X", "-A", "-t", "-q", "-h", host, "-p", port, "-U", user, database]

    def __enter__(self) -> Psql:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self) -> int:
        """Of the client."""
        return self.process.pid

    def query(self, sql: str) -> list[str]:
        """What a query that has one row says."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{sql};\n")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"psql ended at: {sql}")
        return line.rstrip("\n").split("|")

    def activity(self) -> Activity:
        """What the app's connections do."""
        return Activity(*map(int, self.query(ACTIVITY)))
