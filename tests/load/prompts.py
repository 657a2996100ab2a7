"""Requests to a chat completions API, all different, of an exact size."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass

SENTENCE = (
    'the train waits because a signal says so and nobody knows "why" Zug fährt heute nicht, said\n'
    "one of them; another asked whether there was tea left in the dining car or at the station"
)
WORDS = SENTENCE.split(" ")


@dataclass(frozen=True)
class Prompt:
    """A request's body."""

    body: bytes

    @property
    def digest(self) -> str:
        """What the origin answers with."""
        return hashlib.sha256(self.body).hexdigest()


def pool(count: int, size: int) -> list[Prompt]:
    """The same ones each time, `size` bytes each, a line each."""
    chance = random.Random(size)
    return [Prompt(body(chance, number, size)) for number in range(count)]


def body(chance: random.Random, number: int, size: int) -> bytes:
    """A system's message, a user's, and the usual parameters."""
    text, filled = f"Question {number}:", written("")
    while len(filled) < size:
        text += " " + chance.choice(WORDS)
        filled = written(text)
    # Of what is too much, the end may be half an escape: plain letters stand in for a word or two.
    while len(written(text)) > size:
        text = text.rsplit(" ", 1)[0]
    return written(text + "." * (size - len(written(text))))


def written(text: str) -> bytes:
    """As an SDK does."""
    fields = {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "max_tokens": 256,
        "messages": [
            {"role": "system", "content": "You answer passengers' questions in one sentence."},
            {"role": "user", "content": text},
        ],
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
