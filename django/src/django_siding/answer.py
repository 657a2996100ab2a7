"""What `relay()` hands to `on_complete`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .deltas.events import Intake, Oversized, parse
from .formats import Translator

# All of it arrived, and it says that it failed, or lacks its own end.
INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Answer:
    """A relayed answer, after its last byte.

    `error` says how one that is not complete broke off, in the words of the protocol's `error`
    (`interrupted`, `idle_timeout`, ...); or that it was `refused` when the client's stream had been
    begun already; or that it is `incomplete` though all of it arrived: the provider says that it
    failed, or the end is missing. `stream` is what `call` returned, unread:
    the SDK's own object, which fails where the answer broke off; `None` if the SDK gave none.
    """

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    is_complete: bool = True
    error: str | None = None
    stream: Any = None
    raw: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, translator: Translator, broken: str | None, stream: Any, raw: bytes) -> Answer:
        error = broken or (INCOMPLETE if translator.error else None)
        return cls(
            text=translator.text,
            finish_reason=translator.finish_reason,
            usage=translator.usage,
            is_complete=error is None,
            error=error,
            stream=stream,
            raw=raw,
        )

    @property
    def events(self) -> Iterator[Any]:
        """The provider's events, decoded from JSON, oldest first; what is not JSON is left out."""
        intake = Intake()
        for part in [*intake.feed(self.raw), intake.finish()]:
            event = None if part is None or isinstance(part, Oversized) else parse(part.data)
            if event is not None:
                yield event
