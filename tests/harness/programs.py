"""The programs under test as real processes on free ports. Each is stopped at the end of its `with` block,
whatever happened in it; their logs stay in the test's directory."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from harness import raw_http, signing
from harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SIDING = os.environ.get("SIDING_BIN", str(ROOT / "target/release/siding"))
SIMULATED_LLM = os.environ.get("SIMULATED_LLM_BIN", str(ROOT / "target/release/simulated-llm"))


def free_address() -> str:
    """An address that nothing listens on, outside the range from which clients get their ports."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"


class Program:
    """A process with its log file."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        self.log_path = directory / f"{name}-{random.randrange(1 << 32):08x}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Starts the process with exactly this environment besides PATH."""
        with self.log_path.open("wb") as log:
            inherited = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**inherited, **(environment or {})},
            )

    @property
    def log(self) -> str:
        """Everything the process has written."""
        return self.log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, patience: float = 10.0) -> int:
        """Waits for the end and returns the exit code."""
        assert self.process is not None
        return self.process.wait(patience)

    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process is not None and self.process.poll() is None

    def until_ready(self, what: str, probe: Any) -> None:
        """Waits for a sign of life; the end of the process ends the wait."""

        def ready() -> bool:
            if not self.is_running():
                raise AssertionError(f"{self.name} ended at its start:\n{self.log}")
            return bool(probe())

        until(what, ready)

    def __exit__(self, *_: object) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()
        self.process.wait(10)


def listens(address: str) -> bool:
    """Whether a connection is accepted."""
    try:
        raw_http.connect(address, 1.0).close()
    except OSError:
        return False
    return True


class Siding(Program):
    """The proxy. `settings` is the configuration as nested tables; addresses are chosen where it names none."""

    def __init__(
        self,
        directory: Path,
        backend: str,
        providers: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
        secret: str | None = signing.SECRET,
        arguments: tuple[str, ...] = (),
        wait: bool = True,
    ) -> None:
        super().__init__(directory, "siding")
        settings = json.loads(json.dumps(settings or {}))
        server = {"listen": [free_address()], "admin": free_address(), "threads": 2, **settings.pop("server", {})}
        providers = {"openai": providers} if isinstance(providers, str) else (providers or {})
        named = {name: {"dialect": name, "base_url": url} for name, url in providers.items()}
        for name, more in settings.pop("providers", {}).items():
            named[name] = {**named.get(name, {}), **more}
        log = {"filter": "warn,siding=debug", **settings.pop("log", {})}
        app = {"address": backend, **settings.pop("backend", {})}
        self.settings = {"server": server, "log": log, "backend": app, **settings}
        if named:
            self.settings["providers"] = named
        self.address: str = (server["listen"] or [None])[0]
        self.admin: str = server["admin"]
        self.config = directory / f"{self.log_path.stem}.toml"
        self.config.write_text(toml(self.settings))
        self._secret, self._arguments, self._wait = secret, arguments, wait

    def __enter__(self) -> Siding:
        environment = {} if self._secret is None else {"SIDING_SECRET": self._secret}
        self.start([SIDING, "run", "--config", str(self.config), *self._arguments], environment)
        if self._wait:
            watched = [self.admin, *([self.address] if self.address else [])]
            self.until_ready("siding to listen", lambda: all(listens(address) for address in watched))
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        assert "panicked" not in self.log, self.log

    def request(
        self, method: str, target: str, headers: raw_http.Headers = (), body: bytes | None = None, timeout: float = 15
    ) -> raw_http.Response:
        """One request on a connection of its own."""
        return raw_http.request(self.address, method, target, headers, body, timeout)

    def connect(self, timeout: float = 15.0) -> raw_http.Connection:
        """A client's connection."""
        return raw_http.Connection(self.address, timeout)

    def page(self, path: str) -> raw_http.Response:
        """A page of the admin listener."""
        return raw_http.request(self.admin, "GET", path)

    def value(self, family: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        total, found = 0.0, False
        for line in self.page("/metrics").body.decode().splitlines():
            match = re.fullmatch(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == family:
                given = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(given.get(name) == value for name, value in labels.items()):
                    total, found = total + float(match[3]), True
        assert found, f"{family}{labels} is not exported"
        return total

    def until_value(self, wanted: float, family: str, **labels: str) -> None:
        """Waits until a metric has a value."""
        label = f"{family}{labels} = {wanted:g}"
        until(label, lambda: self.value(family, **labels) == wanted)

    def ended(self, outcome: str, mode: str | None = None, times: int = 1) -> None:
        """Waits until so many exchanges ended so, and no exchange is under way any more."""
        labels = {"outcome": outcome, **({"mode": mode} if mode else {})}
        self.until_value(times, "siding_exchanges_total", **labels)


class SimulatedLLM(Program):
    """The simulated provider, answering at once unless a prompt says otherwise."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        super().__init__(directory, "simulated-llm")
        self._arguments = arguments
        self.address = self.url = ""

    def __enter__(self) -> SimulatedLLM:
        self.start([SIMULATED_LLM, "--latency", "0", *self._arguments])
        pattern = re.compile(r"listening on (https?)://(\S+)")
        self.until_ready("the simulated LLM to listen", lambda: pattern.search(self.log))
        found = pattern.search(self.log)
        assert found is not None
        self.address = found[2]
        self.url = f"{found[1]}://{found[2]}"
        return self

    def stats(self, prompt: str | None = None) -> dict[str, Any]:
        """The counters, of one prompt or of all."""
        return self._get("/sim/stats", prompt)

    def asked(self, prompt: str | None = None) -> list[dict[str, Any]]:
        """The requests, oldest first."""
        return self._get("/sim/requests", prompt)

    def until_stats(self, wanted: dict[str, int], prompt: str | None = None) -> None:
        """Waits until the counters hold these values."""
        until(f"{wanted} at the provider", lambda: wanted.items() <= self.stats(prompt).items())

    def _get(self, path: str, prompt: str | None) -> Any:
        query = "" if prompt is None else "?" + urllib.parse.urlencode({"prompt": prompt})
        return json.loads(raw_http.request(self.address, "GET", path + query).body)


class Gunicorn(Program):
    """gunicorn with a WSGI app of the tests, `module:name`."""

    def __init__(self, directory: Path, app: str, *arguments: str, address: str | None = None) -> None:
        super().__init__(directory, "gunicorn")
        self.address = address or free_address()
        self._app, self._arguments = app, arguments

    def __enter__(self) -> Gunicorn:
        command = [sys.executable, "-m", "gunicorn", "--bind", self.address, *self._arguments, self._app]
        self.start(command, {"PYTHONPATH": str(ROOT / "tests/e2e")})
        self.until_ready("gunicorn to listen", lambda: listens(self.address))
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running():
            self.signal(signal.SIGTERM)  # so that its workers go too
            try:
                self.wait(3)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGQUIT)
        super().__exit__()


def toml(tables: dict[str, Any]) -> str:
    """Nested tables as TOML, each section on a line of its own."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in tables.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)
