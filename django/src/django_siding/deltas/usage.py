"""What an answer cost."""

from __future__ import annotations

from .fields import total


class Usage:
    """Tokens, as the parts of an answer tell them: later parts are right where they differ."""

    def __init__(self) -> None:
        self.input: int | None = None
        self.output: int | None = None
        self.cache_read: int | None = None
        # Input that is counted in none of the others.
        self.apart: int | None = None

    def update(self, **told: int | None) -> None:
        for name, count in told.items():
            if count is not None:
                setattr(self, name, count)

    def total(self) -> dict[str, int] | None:
        """Cached input is a part of the input. None if the provider said nothing."""
        told = total(self.input, self.apart)
        if told is None and self.output is None:
            return None
        cached = min(self.cache_read or 0, told or 0)
        return {"input": told or 0, "output": self.output or 0, "cached_input": cached}
