"""What an LLM's answer says, piece by piece, in words that are the same for every API.

Of several choices the first is told. What is not known here is passed over: whoever wants
everything reads the provider's own bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .anthropic import Messages
from .events import Document, Event, Intake, Oversized, parse
from .fields import text_of
from .gemini import Gemini
from .openai_chat import Chat
from .openai_responses import Responses
from .reader import Reader
from .usage import Usage
from .vocabulary import Delta, Failure, Finish

DONE = b"[DONE]"


class Deltas:
    """Reads an answer in either form. Holds one unfinished event, or the document."""

    def __init__(self, url: str) -> None:
        self.usage = Usage()
        self.is_understood = False
        self._intake = Intake()
        self._over = False
        self._has_reason = False
        path = url.partition("?")[0].partition("#")[0]
        for end, reader in READERS.items():
            if path.endswith(end):
                self._reader = reader(self.usage)
                self.is_understood = True
                return

    def feed(self, raw: bytes) -> list[Delta]:
        return self._all(self._intake.feed(raw))

    def finish(self) -> list[Delta]:
        last = self._intake.finish()
        return self._all([last] if last else [])

    def _all(
        self, units: list[Event | Oversized] | list[Event | Document | Oversized]
    ) -> list[Delta]:
        deltas: list[Delta] = []
        for unit in units:
            if self._over or not self.is_understood:
                break
            deltas += self._read(unit)
            self._over = self._over or isinstance(deltas[-1] if deltas else None, Failure)
        return deltas

    def _read(self, unit: Event | Document | Oversized) -> Iterator[Delta]:
        if isinstance(unit, Oversized):
            yield Failure("A part of the answer was too large to be read.")
            return
        part = parse(unit.data)
        if isinstance(unit, Document):
            # Gemini's streams are lists of answers where SSE was not asked for.
            answers = part if isinstance(part, list) else [part]
            for answer in answers if all(isinstance(one, dict) for one in answers) else []:
                yield from self._part(answer)
        elif unit.data.strip(b" \t\n\f\r") == DONE:
            self._over = True
            if not self._has_reason:
                yield Finish("other")
        elif isinstance(part, dict):
            yield from self._part(part)
        elif unit.name == b"error":
            yield Failure(unit.data.decode(errors="replace"))

    def _part(self, part: dict[str, Any]) -> Iterator[Delta]:
        self._reader.count(part)
        failure = _failure(part)
        if failure is not None:
            yield Failure(failure)
        else:
            for delta in self._reader.read(part):
                self._has_reason = self._has_reason or isinstance(delta, Finish)
                yield delta


READERS: dict[str, Callable[[Usage], Reader]] = {
    "/chat/completions": Chat,
    "/completions": Chat,
    "/responses": Responses,
    "/v1/messages": Messages,
    ":generateContent": Gemini,
    ":streamGenerateContent": Gemini,
}


def _failure(part: dict[str, Any]) -> str | None:
    """What a part says has failed, in the shapes that vendors have for it."""
    error = part.get("error")
    if error is None:
        return text_of(part, "message") if text_of(part, "type") == "error" else None
    return text_of(error, "message") if isinstance(error, dict) else text_of(part, "error")
