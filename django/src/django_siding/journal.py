"""What earlier passes of this exchange recorded (protocol section 3)."""

from __future__ import annotations

import base64
import json
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

# An SDK repeats a failed call a few times; a loop that never gives up must not spin in a worker.
MAXIMUM_REPEATS = 10

ERRORS = frozenset(
    """
    connect connect_timeout first_byte_timeout idle_timeout total_timeout deadline interrupted
    too_large protocol unavailable
    """.split()
)


class JournalError(Exception):
    """The journal was signed but is not one."""


@dataclass
class Record:
    """The outcome of one call."""

    site: str
    occurrence: str
    digest: str
    entry: dict[str, Any]
    consumed: bool = False
    repeats: int = 0

    @property
    def is_error(self) -> bool:
        return bool(self.entry["kind"] == "error")

    @property
    def is_relayed(self) -> bool:
        """Whether the client has had the answer as it arrived."""
        return self.entry.get("relayed") is True

    @property
    def broken(self) -> str | None:
        """Why the answer is not whole, as a word of the protocol's."""
        word: str | None = self.entry.get("error" if self.is_error else "broken")
        return word

    @property
    def cut_short(self) -> str | None:
        """Why the client's stream is not whole: `refused` if the provider did so too late."""
        if self.broken is None and self.is_relayed and not 200 <= self.entry["status"] < 300:
            return "refused"
        return self.broken

    @property
    def message(self) -> str:
        return str(self.entry.get("message", ""))


@dataclass(frozen=True)
class Delivery:
    """A record that answers a call; `drifted` when it was made for another request."""

    record: Record
    drifted: bool = False


class Journal:
    """Values by name and records by call site, each in the order of recording."""

    def __init__(self) -> None:
        self._values: defaultdict[str, deque[Any]] = defaultdict(deque)
        self._sites: defaultdict[str, list[Record]] = defaultdict(list)

    @classmethod
    def parse(cls, text: bytes) -> Journal:
        try:
            document = json.loads(text)
            if document["v"] != 1:
                raise JournalError(f"version {document['v']!r} is not supported")
            journal = cls()
            for entry in document["entries"]:
                journal._add(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalError(f"malformed: {error!r}") from error
        return journal

    def _add(self, entry: dict[str, Any]) -> None:
        kind = entry["kind"]
        if kind == "value":
            self._values[_text(entry["name"])].append(entry["value"])
        elif kind in ("result", "error"):
            _check(entry)
            site, _, occurrence = _text(entry["name"]).rpartition("#")
            record = Record(site, occurrence, _text(entry["digest"]), entry)
            self._sites[site].append(record)
        else:
            raise JournalError(f"unknown kind {kind!r}")

    def take_value(self, name: str) -> tuple[bool, Any]:
        """The next value of that name: whether there is one, and it."""
        values = self._values.get(name)
        return (True, values.popleft()) if values else (False, None)

    def take(self, site: str, occurrence: str, digest: str) -> Delivery | None:
        """The record for a call, if there is one. Another site's is never considered."""
        records = self._sites.get(site)
        if not records:
            return None
        return (
            _same(records, digest)
            or _same_failure(records, digest)
            or _same_place(records, occurrence)
        )

    @property
    def has_relayed(self) -> bool:
        return any(record.is_relayed for records in self._sites.values() for record in records)

    @property
    def unconsumed(self) -> int:
        return sum(not record.consumed for records in self._sites.values() for record in records)


def _same(records: list[Record], digest: str) -> Delivery | None:
    for record in records:
        if not record.consumed and record.digest == digest:
            record.consumed = True
            return Delivery(record)
    return None


def _same_failure(records: list[Record], digest: str) -> Delivery | None:
    """An SDK that retries a failed call gets the same failure: the proxy has retried already."""
    for record in reversed(records):
        if record.is_error and record.digest == digest and record.repeats < MAXIMUM_REPEATS:
            record.repeats += 1
            return Delivery(record)
    return None


def _same_place(records: list[Record], occurrence: str) -> Delivery | None:
    for record in records:
        if not record.consumed and record.occurrence == occurrence:
            record.consumed = True
            return Delivery(record, drifted=True)
    return None


def body_of(entry: dict[str, Any]) -> bytes:
    if "body_b64" in entry:
        return base64.b64decode(entry["body_b64"])
    return str(entry.get("body", "")).encode()


def _check(entry: dict[str, Any]) -> None:
    if entry["kind"] == "error":
        if entry["error"] not in ERRORS:
            raise JournalError(f"unknown error {entry['error']!r}")
        return
    if not isinstance(entry["status"], int):
        raise JournalError("a status is not a number")
    for name, value in entry["headers"]:
        _text(name), _text(value)
    if entry.get("broken") is not None and entry["broken"] not in ERRORS:
        raise JournalError(f"unknown error {entry['broken']!r}")
    if "body" in entry:
        _text(entry["body"])
    if "body_b64" in entry:
        base64.b64decode(_text(entry["body_b64"]), validate=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise JournalError(f"{value!r} is not text")
    return value
