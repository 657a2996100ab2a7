"""An app under a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

from harness.addresses import answers, free_address
from harness.process import ROOT, Process

CHAT = ROOT / "examples" / "chat"

Server = Literal["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "granian", "uvicorn"]


class Backend(Process):
    """
    An app, `module:name` in the folder `home`: WSGI, under uvicorn ASGI. `address` is where it listens. `python` is an
    interpreter that has what app and server need; `threads` count for gthread and granian.
    """

    grace_seconds = 3.0
    # Answered with 200 once the app works.
    ready_path = "/"

    def __init__(
        self,
        directory: Path,
        app: str,
        home: Path,
        *arguments: str,
        server: Server = "gunicorn-sync",
        workers: int = 1,
        threads: int = 1,
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`arguments` are further flags of the server."""
        assert server in get_args(Server), server
        super().__init__(directory, "backend")
        self.address = free_address()
        self.workers = workers
        self.cwd = home
        self.environment = {"PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        start = {"granian": _granian, "uvicorn": _uvicorn}.get(server, _gunicorn)
        self.command = [python, "-m", *start(server, self.address, workers, threads), *arguments, app]
        # A single worker of uvicorn's is its first process.
        self._awaited = 0 if server == "uvicorn" and workers == 1 else workers

    @property
    def url(self) -> str:
        """For clients that go there directly."""
        return f"http://{self.address}"

    def is_ready(self) -> bool:
        """Whether all workers are there and one answers. A server listens before it has any."""
        return len(self.children()) >= self._awaited and answers(self.address, self.ready_path)


class ChatProject(Backend):
    """
    The chat project with a new database, or the one in `environment`'s DATABASE_URL if there is one. `token` is a
    user's API token.
    """

    ready_path = "/api/fast/"

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        server: Server = "gunicorn-sync",
        workers: int = 1,
        threads: int = 1,
        python: str = sys.executable,
        environment: dict[str, str],
    ) -> None:
        """`arguments` are further flags of the server; `environment` has what the project reads: base URLs,
        SIDING_SECRET."""
        self.database_path = directory / "chat.sqlite3"
        flavour = ("asgi", "async_settings") if server == "uvicorn" else ("wsgi", "settings")
        super().__init__(
            directory,
            f"project.{flavour[0]}:application",
            CHAT,
            *arguments,
            server=server,
            workers=workers,
            threads=threads,
            python=python,
            environment={
                "DATABASE_URL": f"sqlite://{self.database_path}",
                "DJANGO_SETTINGS_MODULE": f"project.{flavour[1]}",
                **environment,
            },
        )
        self.token = ""
        self._python = python

    def start(self) -> None:
        """Makes the database first."""
        self.make_database()
        super().start()

    def make_database(self) -> None:
        """Tables and a user."""
        self._manage("migrate", "--verbosity", "0")
        self.token = self._manage("seed").strip()

    def _manage(self, *arguments: str) -> str:
        """Runs manage.py and returns what it printed."""
        command = [self._python, "manage.py", *arguments]
        done = subprocess.run(command, cwd=self.cwd, env=self.whole_environment(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)}:\n{done.stderr}")
        return done.stdout


def _gunicorn(server: str, address: str, workers: int, threads: int) -> list[str]:
    """It also reads gunicorn.conf.py in the app's folder, if there is one."""
    command = ["gunicorn", "--bind", address, "--worker-class", server.removeprefix("gunicorn-")]
    return [*command, "--workers", str(workers), "--threads", str(threads)]


def _granian(_server: str, address: str, workers: int, threads: int) -> list[str]:
    host, port = address.split(":")
    command = ["granian", "--interface", "wsgi", "--host", host, "--port", port]
    return [*command, "--workers", str(workers), "--blocking-threads", str(threads)]


def _uvicorn(_server: str, address: str, workers: int, _threads: int) -> list[str]:
    host, port = address.split(":")
    command = ["uvicorn", "--host", host, "--port", port, "--workers", str(workers)]
    return [*command, "--log-level", "warning", "--no-access-log"]
