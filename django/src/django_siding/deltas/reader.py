"""What reads the events and plain answers of one API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .usage import Usage
from .vocabulary import Delta


class Reader:
    """Of one API's events and plain answers."""

    def __init__(self, usage: Usage) -> None:
        self.usage = usage

    def count(self, part: dict[str, Any]) -> None:
        raise NotImplementedError

    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        raise NotImplementedError
