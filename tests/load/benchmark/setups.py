"""The servers that are compared, each with one process that serves."""

from __future__ import annotations

from dataclasses import dataclass

from harness.backend import Server

# As many connections as the benchmark ever opens, and more: a server is not to be held back by a default.
PLENTY = "2000"


@dataclass(frozen=True)
class Setup:
    """One server. `name` is for commands and JSON, `title` for people."""

    name: str
    title: str
    server: Server
    threads: int = 1
    arguments: tuple[str, ...] = ()
    behind_siding: bool = False


SETUPS = [
    Setup("sync", "gunicorn sync", "gunicorn-sync"),
    Setup("gthread-32", "gunicorn gthread, 32 threads", "gunicorn-gthread", 32, ("--worker-connections", PLENTY)),
    Setup("gthread-256", "gunicorn gthread, 256 threads", "gunicorn-gthread", 256, ("--worker-connections", PLENTY)),
    Setup("gevent", "gunicorn gevent", "gunicorn-gevent", 1, ("--worker-connections", PLENTY)),
    Setup("granian", "Granian, 512 threads", "granian", 512, ("--backlog", PLENTY)),
    Setup("uvicorn", "uvicorn, async views", "uvicorn", 1, ("--backlog", PLENTY)),
    Setup("siding", "gunicorn sync behind Siding", "gunicorn-sync", behind_siding=True),
]
TITLES = {setup.name: setup.title for setup in SETUPS}
