"""What is done to the system while it works: workers are killed, the configuration is changed, rightly and wrongly,
Redis is killed and paused."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

from harness.backend import ChatProject
from harness.redis import Redis
from harness.siding import Siding, merged, toml
from harness.waiting import until

FAULTY = ("[backend]\nworkers = 0\n", "[backend\n", '[server]\nlisten = ["nowhere"]\n')
COUNTER = "siding_config_reloads_total"


class Killer:
    """Kills one worker after the other, whatever it does."""

    def __init__(self, app: ChatProject) -> None:
        self._app, self._chance = app, random.Random(7)
        self.killed = 0

    def __call__(self) -> None:
        """One of them; gunicorn makes another."""
        workers = self._app.children()
        if len(workers) < self._app.workers:
            return  # the last one is not replaced yet
        os.kill(self._chance.choice(workers), signal.SIGKILL)
        self.killed += 1


class RedisFaults:
    """Kills Redis and starts another, or lets it be silent for a while, in turn."""

    SILENCE_SECONDS = 3.0

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.done = 0

    def __call__(self) -> None:
        """One or the other; it answers again after it."""
        self.done += 1
        if self.done % 2:
            self._redis.stop()
            self._redis.start()
        else:
            self._redis.pause()
            time.sleep(self.SILENCE_SECONDS)
            self._redis.resume()


class Reloader:
    """Changes the configuration, each third time to a faulty one, which must change nothing."""

    def __init__(self, siding: Siding) -> None:
        self._siding = siding
        self.done = self.wrong = 0

    def __call__(self) -> None:
        """Another one, and what becomes of it."""
        is_faulty = self.done % 3 == 2
        result = "refused" if is_faulty else "applied"
        before = self._siding.value(COUNTER, result=result)
        settings = merged(self._siding.settings, another(self.done))
        self._siding.rewrite(FAULTY[self.done // 3 % len(FAULTY)] if is_faulty else toml(settings))
        self.done += 1
        try:
            until(f"it to be {result}", lambda: self._siding.value(COUNTER, result=result) == before + 1)
        except AssertionError:
            self.wrong += 1


def another(number: int) -> dict[str, Any]:
    """Settings that requests are served with, unlike the ones before."""
    return {
        "backend": {"timeout": f"{20 + number % 10}s"},
        "providers": {"openai": {"retry": {"attempts": 2 + number % 3}}},
        "cache": {"stale_if_error": f"{number % 5}s"},
    }
