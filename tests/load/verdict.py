"""What was measured, beside what was promised."""

from __future__ import annotations

import dataclasses
from typing import Literal

Bound = Literal["at most", "at least"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure. `details` says how it came about: what it is a ratio of, samples, conditions."""

    name: str
    value: float
    bound: Bound
    limit: float
    unit: str = ""
    details: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.limit if self.bound == "at most" else self.value >= self.limit

    def __str__(self) -> str:
        verdict = "ok   " if self.holds else "SHORT"
        unit = f" {self.unit}" if self.unit else ""
        details = f"  ({self.details})" if self.details else ""
        return f"{verdict} {self.name}: {self.value:.3g}{unit}, {self.bound} {self.limit:g}{unit}{details}"


@dataclasses.dataclass(frozen=True)
class Note:
    """Something worth knowing beside a figure, of which nothing is promised."""

    text: str
    holds = True

    def __str__(self) -> str:
        return f"      {self.text}"
