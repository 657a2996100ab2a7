"""What is different about a view while it can be suspended.

Django wraps every view in `BaseHandler.make_view_atomic` just before it calls it, with
ATOMIC_REQUESTS or without. That is the place to do the same for an offered request: middleware is
too far out, because the view's own answer must be committed before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.base import BaseHandler
from django.db import connections

from .exchange import Exchange, current_exchange
from .marker import Marker
from .patching import replace
from .stream import hold
from .suspension import Suspended
from .transaction import Transaction

View = Callable[..., Any]

# Where Django keeps what `@transaction.non_atomic_requests` said.
EXEMPT = "_non_atomic_requests"
NO_DATABASE = "django.db.backends.dummy"


def install() -> None:
    replace(BaseHandler, "make_view_atomic", suspendable)


def suspendable(original: View) -> View:
    def make_view_atomic(self: Any, view: View) -> View:
        exchange = current_exchange()
        if exchange is None or iscoroutinefunction(view):
            return original(self, view)
        exchange.view = view
        exempt = getattr(view, EXEMPT, ())
        held = holding(exchange, view)
        setattr(held, EXEMPT, exempt)
        whole = committing(exchange, atomic(exchange, original(self, held), exempt))
        return wraps(view)(marking(exchange, whole))

    return make_view_atomic


def marking(exchange: Exchange, view: View) -> View:
    """Leave a marker where the view waits for a call to be relayed.

    Outside of its transactions, which roll back, and inside of the middlewares, which see it.
    """

    def marked(*args: Any, **kwargs: Any) -> Any:
        exchange.in_view = True
        try:
            return view(*args, **kwargs)
        except Suspended as suspended:
            if suspended.exchange is not exchange or suspended.relay is None:
                raise
            # A new one, without the frames of the view: it stands until the marker has arrived.
            exchange.suspend([])
            exchange.marked = True
            return Marker(exchange, suspended.calls, suspended.relay)
        finally:
            exchange.in_view = False

    return marked


def holding(exchange: Exchange, view: View) -> View:
    """Run a streaming answer inside the view, where its calls can suspend it."""

    def held(*args: Any, **kwargs: Any) -> Any:
        return hold(view(*args, **kwargs), exchange)

    return held


def atomic(exchange: Exchange, view: View, exempt: Collection[str]) -> View:
    """A transaction for each database, so that a suspended pass leaves nothing behind."""
    for alias, database in connections.settings.items():
        if (
            exchange.settings.is_atomic(alias)
            and alias not in exempt
            and not database["ATOMIC_REQUESTS"]
            and database["ENGINE"] != NO_DATABASE
        ):
            view = in_transaction(exchange, alias, view)
    return view


def in_transaction(exchange: Exchange, alias: str, view: View) -> View:
    def run(*args: Any, **kwargs: Any) -> Any:
        with Transaction(exchange, alias):
            return view(*args, **kwargs)

    return run


def committing(exchange: Exchange, view: View) -> View:
    """Remember that the view's writes stand: rendering must not suspend and repeat them."""
    if not exchange.settings.atomic:
        return view

    def committed(*args: Any, **kwargs: Any) -> Any:
        response = view(*args, **kwargs)
        exchange.committed = True
        return response

    return committed
