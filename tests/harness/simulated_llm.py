"""The simulated provider."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

from harness import raw_http
from harness.process import BINARIES, Process
from harness.waiting import until

LISTENING = re.compile(r"listening on ((https?)://(\S+))\n")
# It plays all three; a call goes to the provider whose dialect knows its path.
DIALECTS = ("openai", "anthropic", "gemini")


class SimulatedLLM(Process):
    """A provider of all three APIs. `url` is its base, without a version."""

    def __init__(self, directory: Path, *arguments: str, latency: str = "0") -> None:
        """`latency` is how long a call takes unless its prompt says otherwise; `arguments` are further flags."""
        super().__init__(directory, "simulated-llm")
        self.command = [str(BINARIES / "simulated-llm"), "--latency", latency, *arguments]
        self.address = self.url = ""

    def is_ready(self) -> bool:
        """Whether it has said where it listens."""
        if found := LISTENING.search(self.log):
            self.url, self.address = found[1], found[3]
        return found is not None

    def providers(self) -> dict[str, str]:
        """What points Siding at it."""
        return dict.fromkeys(DIALECTS, self.url)

    def sdk_environment(self) -> dict[str, str]:
        """What points the SDKs at it."""
        return {"OPENAI_BASE_URL": f"{self.url}/v1", "ANTHROPIC_BASE_URL": self.url, "GEMINI_BASE_URL": self.url}

    def stats(self, prompt: str | None = None) -> dict[str, Any]:
        """The counters, of one prompt or of all."""
        return self._get("/sim/stats", prompt)

    def asked(self, prompt: str | None = None) -> list[dict[str, Any]]:
        """The requests, oldest first."""
        return self._get("/sim/requests", prompt)

    def until_stats(self, wanted: dict[str, int], prompt: str | None = None) -> None:
        """Waits until the counters hold these values."""
        until(f"{wanted} at the provider", lambda: wanted.items() <= self.stats(prompt).items())

    def configure(self, **changes: Any) -> None:
        """Changes how every call behaves: latency, tokens, token_rate, directives."""
        self._post("/sim/config", changes)

    def reset(self) -> None:
        """Forgets counters and requests."""
        self._post("/sim/reset", {})

    def _get(self, path: str, prompt: str | None) -> Any:
        query = "" if prompt is None else "?" + urllib.parse.urlencode({"prompt": prompt})
        return json.loads(raw_http.request(self.address, "GET", path + query).body)

    def _post(self, path: str, body: dict[str, Any]) -> None:
        response = raw_http.request(self.address, "POST", path, body=json.dumps(body).encode())
        assert response.status < 300, response
