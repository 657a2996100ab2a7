"""Waiting for a state with a deadline, so that no test guesses how long something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 10.0


def until(what: str, probe: Callable[[], T], patience: float = PATIENCE) -> T:
    """The first truthy value of `probe`; fails with the last value and `what` was waited for."""
    deadline = time.monotonic() + patience
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for: {what} (last seen: {value!r})")
        time.sleep(0.005)
