"""JSON of which nothing is certain, and the pieces that it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from .vocabulary import Delta, Source, ToolInput


def spoken(kind: Callable[[str], Delta], fields: dict[str, Any], key: str) -> Iterator[Delta]:
    if text := text_of(fields, key):
        yield kind(text)


def source(page: dict[str, Any], url: str = "url") -> Iterator[Delta]:
    if address := text_of(page, url):
        yield Source(address, text_of(page, "title"))


def whole_input(call: int, fields: dict[str, Any], key: str) -> Iterator[Delta]:
    if given := mapping(fields, key):
        yield ToolInput(call, json.dumps(given, ensure_ascii=False, separators=(",", ":")))


def text_of(fields: dict[str, Any], key: str) -> str:
    """A text, empty if it is none, or has half a character that no encoding can carry."""
    text = fields.get(key)
    if not isinstance(text, str):
        return ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return ""
    return text


def count_of(fields: dict[str, Any], key: str) -> int | None:
    number = fields.get(key)
    is_count = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**64
    return number if is_count else None


def mapping(fields: dict[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def mappings(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; empty if it is anything else."""
    value = fields.get(key)
    if not isinstance(value, list):
        return []
    return value if all(isinstance(one, dict) for one in value) else []


def total(*counts: int | None) -> int | None:
    told = [count for count in counts if count is not None]
    return sum(told) if told else None


def last_of(known: list[Any], is_it: Callable[[Any], bool]) -> int | None:
    """The last position of what is looked for."""
    return next((at for at in range(len(known) - 1, -1, -1) if is_it(known[at])), None)
