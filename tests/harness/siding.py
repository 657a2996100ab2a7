"""The proxy under test, and what its metrics say."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from harness import raw_http, signing
from harness.addresses import answers, free_address, listens
from harness.metrics import total
from harness.process import BINARIES, Process
from harness.waiting import until

BINARY = BINARIES / "siding"
# What differs from Siding's own defaults when settings say nothing of it.
DEFAULTS = {"server": {"threads": 2}, "log": {"filter": "warn,siding=debug"}}


class Siding(Process):
    """
    The proxy before `backend`, an address. `settings` is the configuration as nested tables; where it names no
    addresses to listen on, free ones are chosen. `providers` are base URLs by dialect; a single one is OpenAI's.
    """

    def __init__(
        self,
        directory: Path,
        backend: str,
        providers: dict[str, str] | str | None = None,
        settings: dict[str, Any] | None = None,
        *,
        secret: str | None = signing.SECRET,
        environment: dict[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        """Without `secret`, there is none in the environment. Without `wait`, it need not come up."""
        super().__init__(directory, "siding")
        own: dict[str, Any] = {
            "server": {"listen": [free_address()], "admin": free_address()},
            "backend": {"address": backend},
        }
        if providers:
            named = {"openai": providers} if isinstance(providers, str) else providers
            own["providers"] = {name: {"dialect": name, "base_url": url} for name, url in named.items()}
        self.settings = merged(merged(DEFAULTS, own), settings or {})
        server = self.settings["server"]
        self.address: str = server["listen"][0] if server["listen"] else ""
        self.admin: str = server["admin"]
        self.config = self.log_path.with_suffix(".toml")
        self.config.write_text(toml(self.settings))
        self.command = [str(BINARY), "run", "--config", str(self.config)]
        self.environment = {**({} if secret is None else {"SIDING_SECRET": secret}), **(environment or {})}
        self._wait = wait

    def is_ready(self) -> bool:
        """Whether it takes requests. The app need not be there."""
        return not self._wait or all(listens(address) for address in (self.admin, self.address) if address)

    def until_app(self) -> None:
        """Waits until it reaches the app too."""
        until("siding to reach the app", lambda: answers(self.admin, "/readyz"))

    def reconfigure(self, settings: dict[str, Any]) -> None:
        """Writes the configuration anew, these settings over those of the start, and waits until it is applied."""
        before = self.value("siding_config_reloads_total", result="applied")
        self.rewrite(toml(merged(self.settings, settings)))
        self.until_value(before + 1, "siding_config_reloads_total", result="applied")

    def rewrite(self, text: str) -> None:
        """Another text in the configuration's place, at once."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config)

    @property
    def url(self) -> str:
        """For clients; only over TCP and without TLS."""
        return f"http://{self.address}"

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

    @property
    def log(self) -> str:
        """Everything it has written. Lines are written a little later than what they tell of."""
        if self.is_running() and self.output is None and self.admin and listens(self.admin):
            # It may be about to end.
            with contextlib.suppress(OSError, raw_http.Incomplete):
                self.until_value(0, "siding_log_waiting_bytes")
        return super().log

    def value(self, family: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        return total(self.page("/metrics").body.decode(), family, **labels)

    def until_value(self, wanted: float, family: str, **labels: str) -> None:
        """Waits until a metric has a value."""
        label = f"{family}{labels} = {wanted:g}"
        until(label, lambda: self.value(family, **labels) == wanted)

    def ended(self, outcome: str, mode: str | None = None, times: int = 1) -> None:
        """Waits until so many exchanges ended so, and no exchange is under way any more."""
        labels = {"outcome": outcome, **({"mode": mode} if mode else {})}
        self.until_value(times, "siding_exchanges_total", **labels)


def merged(tables: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` over `tables`, key by key in nested tables too."""
    result = {**tables, **more}
    for key in tables.keys() & more.keys():
        if isinstance(tables[key], dict) and isinstance(more[key], dict):
            result[key] = merged(tables[key], more[key])
    return result


def toml(tables: dict[str, Any]) -> str:
    """Nested tables as TOML, each section on a line of its own."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in tables.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)
