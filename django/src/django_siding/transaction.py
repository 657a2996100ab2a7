"""A transaction around a view that begins when the view first uses the database.

Most views that call a model have nothing to undo by then. A pass that is suspended before it used
the database would still pay for a transaction: with connections that are closed after each request,
Django's default, for a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .exchange import Exchange, current_exchange
from .patching import Method, replace


def install() -> None:
    """Whatever needs a connection, or asks whether there is a transaction, begins it."""
    replace(BaseDatabaseWrapper, "ensure_connection", beginning_after)
    replace(BaseDatabaseWrapper, "validate_no_atomic_block", beginning_before)
    replace(BaseDatabaseWrapper, "on_commit", beginning_before)
    replace(transaction.Atomic, "__enter__", entering)


class Transaction:
    """`transaction.atomic()` for one database, entered late or never."""

    def __init__(self, exchange: Exchange, alias: str) -> None:
        self.waiting = exchange.transactions
        self.alias = alias
        self.block: Any = None

    def __enter__(self) -> None:
        self.waiting[self.alias] = self.begin

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.waiting.pop(self.alias, None)
        if self.block is not None:
            self.block.__exit__(kind, value, traceback)

    def begin(self) -> None:
        """Waits on when the database cannot be reached: the next use must find it."""
        block = transaction.atomic(using=self.alias)
        del self.waiting[self.alias]
        try:
            block.__enter__()
        except BaseException:
            self.waiting[self.alias] = self.begin
            raise
        self.block = block


def begin(alias: str, connection: Any = None) -> None:
    """Begin the transaction that waits for this use, if one does."""
    begin_now = waiting_for(alias, connection)
    if begin_now is not None:
        begin_now()


def waiting_for(alias: str, connection: Any) -> Callable[[], None] | None:
    """What begins the transaction, unless `connection` is not the one that it is for."""
    exchange = current_exchange()
    found = exchange.transactions.get(alias) if exchange else None
    if found is None or (connection is not None and connections[alias] is not connection):
        return None
    return found


def beginning_after(original: Method) -> Method:
    def use(self: Any) -> None:
        begin_now = waiting_for(self.alias, self)
        if begin_now is None:
            original(self)
            return
        # A connection that is being made sets autocommit, and must not find a transaction then.
        with held_back(self.alias, begin_now):
            original(self)
        begin_now()

    return use


@contextmanager
def held_back(alias: str, begin_now: Callable[[], None]) -> Iterator[None]:
    exchange = current_exchange()
    assert exchange is not None
    del exchange.transactions[alias]
    try:
        yield
    finally:
        exchange.transactions[alias] = begin_now


def beginning_before(original: Method) -> Method:
    def use(self: Any, *args: Any, **options: Any) -> Any:
        begin(self.alias, self)
        return original(self, *args, **options)

    return use


def entering(original: Callable[..., None]) -> Callable[..., None]:
    def __enter__(self: Any) -> None:
        begin(self.using or "default")
        original(self)

    return __enter__
