"""The parts of a running system, each a context manager: a simulated LLM, the chat project under a WSGI server,
and Siding in front of it. Standard library only: the demo runs it before anything is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Literal

from harness.process_group import ProcessGroup, answers, free_port

ROOT = Path(__file__).resolve().parents[2]
CHAT = ROOT / "examples" / "chat"
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"

Kind = Literal["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "granian"]
# One simulated LLM plays all three; a call goes to the provider whose dialect knows its path.
DIALECTS = ("openai", "anthropic", "gemini")


class SimulatedLLM(ProcessGroup):
    """A provider of all three APIs. `url` is its base, without a version."""

    def __init__(self, directory: Path, *arguments: str, binary: Path = BINARIES / "simulated-llm") -> None:
        """`arguments` are its flags, such as `"--latency", "2s"`."""
        super().__init__("simulated-llm", directory)
        self._command = [str(binary), *arguments]
        self.url = ""

    def __enter__(self) -> SimulatedLLM:
        self.start(self._command)
        try:
            self.wait_until(self._has_said_where)
        except BaseException:
            self.stop()
            raise
        self.url = self._first_line().split()[-1]
        return self

    def stats(self, prompt: str | None = None) -> dict[str, Any]:
        """The counters, in all or of one prompt."""
        return self._get("/sim/stats", prompt)

    def requests(self, prompt: str | None = None) -> list[dict[str, Any]]:
        """What it was asked, oldest first."""
        return self._get("/sim/requests", prompt)

    def configure(self, **changes: Any) -> None:
        """Changes how every call behaves: latency, tokens, token_rate, directives."""
        self._post("/sim/config", changes)

    def reset(self) -> None:
        """Forgets counters and requests."""
        self._post("/sim/reset", {})

    def environment(self) -> dict[str, str]:
        """What points the SDKs at it."""
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "ANTHROPIC_BASE_URL": self.url, "GEMINI_BASE_URL": self.url}

    def _first_line(self) -> str:
        return self.log_path.read_text().partition("\n")[0]

    def _has_said_where(self) -> bool:
        return "\n" in self.log_path.read_text()

    def _get(self, path: str, prompt: str | None) -> Any:
        query = "" if prompt is None else "?" + urllib.parse.urlencode({"prompt": prompt})
        with urllib.request.urlopen(self.url + path + query, timeout=10) as response:
            return json.load(response)

    def _post(self, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).close()


class Backend(ProcessGroup):
    """The chat project under a WSGI server. `address` is where it listens, `token` a user's API token."""

    def __init__(
        self,
        directory: Path,
        *,
        kind: Kind = "gunicorn-sync",
        workers: int = 1,
        threads: int = 1,
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        pythonpath: tuple[Path, ...] = (),
        socket: bool = False,
        database_url: str | None = None,
        name: str = "backend",
    ) -> None:
        """
        `python` is an interpreter with the project's requirements (gevent also needs gunicorn's own extra,
        `gunicorn[gevent]`); `pythonpath` is put before its own. `env` holds what the project reads: base URLs,
        SIDING_SECRET. `threads` count for gthread and granian. `socket` listens on a Unix socket instead of TCP
        (gunicorn only). The database is a new SQLite file in `directory` unless `database_url` names another.
        """
        super().__init__(name, directory)
        self.kind, self.workers, self.threads, self.python = kind, workers, threads, python
        self.database_path = directory / f"{name}.sqlite3"
        self.address = f"unix:{directory / name}.sock" if socket else f"127.0.0.1:{free_port()}"
        self._env = {
            "DATABASE_URL": database_url or f"sqlite://{self.database_path}",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONPATH": os.pathsep.join(map(str, pythonpath)),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }
        self.token = ""

    def __enter__(self) -> Backend:
        self.manage("migrate", "--verbosity", "0")
        self.token = self.manage("seed").strip()
        command, env = self._granian() if self.kind == "granian" else self._gunicorn()
        self.start(command, {**self._env, **env}, cwd=CHAT)
        try:
            self.wait_until(self.is_ready)
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def url(self) -> str:
        """For clients that go there directly; only over TCP."""
        return f"http://{self.address}"

    def is_ready(self) -> bool:
        """Whether all workers are there and one answers. A server listens before it has any."""
        return len(self.children()) >= self.workers and answers(self.address, "/api/fast/")

    def manage(self, *arguments: str) -> str:
        """Runs manage.py and returns what it printed."""
        done = subprocess.run(
            [self.python, "manage.py", *arguments],
            cwd=CHAT,
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)}:\n{done.stderr}")
        return done.stdout

    def _gunicorn(self) -> tuple[list[str], dict[str, str]]:
        settings = {
            "BIND": self.address,
            "WORKERS": str(self.workers),
            "THREADS": str(self.threads),
            "WORKER_CLASS": self.kind.removeprefix("gunicorn-"),
        }
        return [self.python, "-m", "gunicorn", "-c", "gunicorn.conf.py"], settings

    def _granian(self) -> tuple[list[str], dict[str, str]]:
        host, port = self.address.split(":")
        command = [self.python, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", port]
        command += ["--workers", str(self.workers), "--blocking-threads", str(self.threads)]
        return [*command, "project.wsgi:application"], {}


class Siding(ProcessGroup):
    """The proxy in front of a backend. `url` is where clients go, `admin_url` where metrics are."""

    def __init__(
        self,
        directory: Path,
        *,
        backend: str,
        secret: str,
        provider_url: str,
        workers: int = 1,
        threads: int = 1,
        extra: str = "",
        binary: Path = BINARIES / "siding",
        name: str = "siding",
    ) -> None:
        """
        `backend` is an address as in `Backend.address`, with that backend's `workers` and `threads`. All three
        providers are at `provider_url`. `extra` is TOML to add, such as a [[routes]] table.
        """
        super().__init__(name, directory)
        listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.url, self.admin_url = f"http://{listen}", f"http://{admin}"
        self.config_path = directory / f"{name}.toml"
        self.config_path.write_text(
            f'[server]\nlisten = ["{listen}"]\nadmin = "{admin}"\n\n'
            f'[backend]\naddress = "{backend}"\nworkers = {workers}\nthreads = {threads}\n\n'
            '[handoff]\nenabled = true\nsecret_env = "SIDING_SECRET"\n'
            + "".join(f'\n[providers.{name}]\ndialect = "{name}"\nbase_url = "{provider_url}"\n' for name in DIALECTS)
            + f"\n{extra}"
        )
        self._command = [str(binary), "run", "--config", str(self.config_path)]
        self._env = {"SIDING_SECRET": secret}

    def __enter__(self) -> Siding:
        self.start(self._command, self._env)
        try:
            self.wait_until(self.is_ready)
        except BaseException:
            self.stop()
            raise
        return self

    def is_ready(self) -> bool:
        """Whether it takes requests and reaches the backend."""
        try:
            with urllib.request.urlopen(f"{self.admin_url}/readyz", timeout=2) as response:
                return response.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def metrics(self) -> str:
        """The page that Prometheus reads."""
        with urllib.request.urlopen(f"{self.admin_url}/metrics", timeout=10) as response:
            return response.read().decode()
