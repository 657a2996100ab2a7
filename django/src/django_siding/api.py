"""What a view may use. Everything works without Siding too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from .call import Call
from .exchange import Exchange, current_exchange
from .suspension import Suspended

T = TypeVar("T")


@dataclass(frozen=True)
class Current:
    """The exchange that a view is part of. All but the pass are the same in each pass."""

    id: str
    pass_number: int
    now: datetime
    deadline: datetime


def current() -> Current | None:
    """The exchange of this request; `None` where calls are made in line."""
    exchange = current_exchange()
    if exchange is None:
        return None
    offer = exchange.offer
    return Current(
        offer.exchange_id, offer.pass_number, _moment(offer.now_ms), _moment(offer.deadline_ms)
    )


def once(name: str, fn: Callable[[], T]) -> T:
    """Run `fn` in the first pass that gets here, and return its value in each.

    For what a repetition must not repeat and a rollback does not undo: an e-mail, a uuid, the time.
    Not for rows: those roll back with a suspended pass, and the journal does not.
    """
    exchange = current_exchange()
    if exchange is None:
        return fn()
    found, recorded = exchange.journal.take_value(name)
    if found:
        return recorded
    value: T = _as_json(name, fn())
    exchange.values.append({"kind": "value", "name": name, "value": value})
    return value


def gather(*fns: Callable[[], Any]) -> list[Any]:
    """The results of all `fns`, whose calls the proxy makes at the same time.

    The functions themselves run one after the other, in this thread, as they do without Siding.
    A function that fails ends the list, but only after the calls before it have been answered.
    """
    exchange = current_exchange()
    if exchange is None:
        return [fn() for fn in fns]
    results: list[Any] = []
    calls: list[Call] = []
    for number, fn in enumerate(fns):
        try:
            with _lane(exchange, number):
                results.append(fn())
        except Suspended as suspended:
            calls += _collected(exchange, suspended)
            if len(calls) >= exchange.offer.terms.max_calls:
                break
        except Exception:
            if not calls:
                raise
            break
    if calls:
        raise exchange.suspend(calls[: exchange.offer.terms.max_calls])
    return results


@contextmanager
def _lane(exchange: Exchange, number: int) -> Iterator[None]:
    outer = exchange.lane
    exchange.lane = f"{outer}{number}."
    try:
        yield
    finally:
        exchange.lane = outer


def _collected(exchange: Exchange, suspended: Suspended) -> list[Call]:
    if suspended.exchange is not exchange:
        raise suspended
    exchange.suspension = None
    return suspended.calls


def _as_json(name: str, value: Any) -> Any:
    """The value as it will come back from the journal, so that no pass sees another."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"once({name!r}) must return what JSON can hold, not {type(value).__name__}: {error}"
        ) from error


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc)
