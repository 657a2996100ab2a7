"""The outermost middleware: it turns a suspended view into a call for the proxy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse, HttpResponseBadRequest

from . import settings
from .call import MEDIA_TYPE, Call, call_document
from .exchange import Exchange
from .journal import Journal, JournalError
from .marker import Marker
from .reception import Reception, receive
from .suspension import DriftError, Refused, Suspended

logger = logging.getLogger("django_siding")

SWALLOWED = (
    "%s swallowed a suspension (a bare `except:` or `except BaseException:`?); "
    "its calls were made in line from there on"
)
LOST = (
    "%s asked for a stream to be relayed, but a middleware answered with another response; "
    "that one was sent and the call was not made"
)


class SidingMiddleware:
    # Under ASGI it only passes requests on: as a sync middleware it would cost a thread for each.
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.settings = settings.read()
        if not self.settings.enabled:
            raise MiddlewareNotUsed("SIDING['ENABLED'] is False")
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        self.warned = False
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if not self._is_offered(request):
            return self.get_response(request)
        reception = receive(request, self.settings)
        if reception.offer is not None:
            response = self._answered(request, reception)
        elif "HTTP_SIDING_JOURNAL_LENGTH" in request.environ:
            # Where the body begins is only known from a header that nobody vouches for.
            response = HttpResponseBadRequest("The offer with the journal does not verify.")
        else:
            response = self.get_response(request)
        response._resource_closers.append(reception.close)
        return response

    def _is_offered(self, request: Any) -> bool:
        environ = getattr(request, "environ", None)
        if self.is_async or environ is None or "HTTP_SIDING_ACCEPT" not in environ:
            return False
        if not self.settings.active:
            self._warn_once("there is an offer, but no SIDING['SECRET'] to verify it with")
            return False
        # An answer to HEAD has no body that could hold a call.
        return bool(request.method != "HEAD")

    def _warn_once(self, message: str) -> None:
        if not self.warned:
            self.warned = True
            logger.warning(message)

    def _answered(self, request: Any, reception: Reception) -> Any:
        """Failures of Siding's own become Django's 500 here, while the body can still be shown."""
        try:
            return self._run(request, reception)
        except (JournalError, DriftError) as error:
            return response_for_exception(request, error)
        except BaseException:
            reception.close()
            raise

    def _run(self, request: Any, reception: Reception) -> Any:
        exchange = self._exchange(request, reception)
        try:
            with exchange.opened():
                response = self.get_response(request)
        except Suspended as suspended:
            if suspended.exchange is not exchange:
                raise
            exchange.suspension = None
            return self._call(exchange, suspended.calls)
        except Refused as refused:
            if refused.exchange is not exchange:
                raise
        if exchange.refusal is not None:
            raise DriftError(exchange.refusal.reason)
        if isinstance(response, Marker) and response.exchange is exchange:
            exchange.suspension = None
            return self._relay(response)
        if exchange.suspension is not None:
            logger.warning(LOST if exchange.marked else SWALLOWED, exchange.view_name)
        return _reported(request, response, exchange)

    def _exchange(self, request: Any, reception: Reception) -> Exchange:
        assert reception.offer is not None
        try:
            journal = Journal.parse(reception.journal) if reception.journal else Journal()
        except JournalError as error:
            logger.error("%r: the journal of a verified offer: %s", request.path, error)
            raise
        return Exchange(reception.offer, journal, self.settings)

    def _relay(self, marker: Marker) -> HttpResponse:
        response = self._call(marker.exchange, marker.calls, marker.document())
        # What the middlewares left to do at the end of the response.
        response._resource_closers += marker._resource_closers
        return response

    def _call(
        self, exchange: Exchange, calls: list[Call], relay: dict[str, Any] | None = None
    ) -> HttpResponse:
        offer = exchange.offer
        content = call_document(offer.exchange_id, offer.pass_number, calls, exchange.values, relay)
        signature = offer.outgoing().sign(self.settings.keys[0], time.time(), content)
        response = HttpResponse(content, status=202, content_type=MEDIA_TYPE)
        response["Content-Length"] = str(len(content))
        response["Cache-Control"] = "no-store"
        response["Siding-Signature"] = signature
        return response


def _reported(request: Any, response: Any, exchange: Exchange) -> Any:
    """Tell the proxy which view answered, and what it recorded in vain."""
    route = _route(request)
    if route:
        response["Siding-Route"] = route
    if exchange.journal.unconsumed:
        response["Siding-Unconsumed"] = str(exchange.journal.unconsumed)
    if exchange.drift:
        response["Siding-Drift"] = str(exchange.drift)
    return response


def _route(request: Any) -> str:
    """The view's URL pattern, for metrics; empty where there is none that a header can hold."""
    match = getattr(request, "resolver_match", None)
    route = str(getattr(match, "route", ""))
    name = route if route.startswith("^") else f"/{route}"
    return name if match is not None and name.isascii() and name.isprintable() else ""
