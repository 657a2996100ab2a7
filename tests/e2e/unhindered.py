"""A provider to which every call is made, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.siding import knows

# Neither a breaker nor a limit that adapts keeps calls from being made: they would, after so many faults on purpose.
SETTINGS: dict[str, Any] = {"breaker": False, "concurrency": {"min": 100}}


def unhindered(directory: Path) -> dict[str, Any]:
    """The settings of a provider, as far as the binary under test knows them."""
    return {key: value for key, value in SETTINGS.items() if knows(directory, key, _of_a_provider(key, value))}


def _of_a_provider(key: str, value: Any) -> dict[str, Any]:
    return {"providers": {"openai": {key: value}}}
