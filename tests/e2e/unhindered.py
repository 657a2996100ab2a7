"""A provider to which every call is made, at once."""

from __future__ import annotations

from typing import Any

# Neither a breaker nor a limit that adapts keeps calls from being made: they would, after so many faults on purpose.
UNHINDERED: dict[str, Any] = {"breaker": False, "concurrency": {"min": 100}}
