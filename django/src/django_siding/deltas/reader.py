"""What reads the events and plain answers of one API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from .usage import Usage
from .vocabulary import Delta


class Reader(ABC):
    """Of one API's events and plain answers."""

    def __init__(self, usage: Usage) -> None:
        self.usage = usage

    @abstractmethod
    def count(self, part: dict[str, Any]) -> None:
        """Takes down what the part says of tokens."""

    @abstractmethod
    def read(self, part: dict[str, Any]) -> Iterator[Delta]:
        """What the part says."""
