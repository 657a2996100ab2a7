"""The exchange that the current request belongs to: what its calls are answered with."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .caching import nothing_said, said
from .call import Call, OutboundRequest
from .callsite import callsite
from .capture import Capture, Terms, current_capture
from .journal import Delivery, Journal, Record
from .offer import Offer
from .settings import Settings
from .suspension import Refused, Suspended

logger = logging.getLogger("django_siding")

_current: ContextVar[Exchange | None] = ContextVar("django_siding_exchange", default=None)

# Drift is logged once a site and process; the set is bounded by the code, the cap is for exec().
_drifted_sites: set[str] = set()
DRIFTED_SITES = 1000


def current_exchange() -> Exchange | None:
    """The exchange that this thread is running a pass of.

    Contexts are copied into other threads (always by asgiref, by `threading` from 3.14 on some
    builds), where nothing could catch a suspension: only the thread that opened it has it.
    """
    exchange = _current.get()
    if exchange is None or exchange.thread != threading.get_ident() or not exchange.is_open:
        return None
    return exchange


class Exchange:
    """One pass of an exchange."""

    def __init__(self, offer: Offer, journal: Journal, settings: Settings) -> None:
        self.offer = offer
        self.journal = journal
        self.settings = settings
        self.thread = threading.get_ident()
        self.is_open = False
        # Set while a suspension is on its way to the middleware, and for good if it never arrives.
        self.suspension: Suspended | None = None
        self.refusal: Refused | None = None
        # Set once the view's writes are committed: from here on a repetition would repeat them.
        self.committed = False
        self.view: Any = None
        # Whether the view is running: what it cannot do itself, its wrappers do.
        self.in_view = False
        # Set once a marker stands for the answer.
        self.marked = False
        # By database: begins the view's transaction, which waits for the first use.
        self.transactions: dict[str, Callable[[], None]] = {}
        self.drift = 0
        self.delivered = 0
        # Which function of a gather is running, such as "2."; nested, "2.0.".
        self.lane = ""
        self.values: list[dict[str, Any]] = []
        self._occurrences: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._in_line = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        token = _current.set(self)
        self.is_open = True
        try:
            with nothing_said():
                yield
        finally:
            self.is_open = False
            _current.reset(token)

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """Leave calls alone: a library underneath is making one that was already decided on."""
        self._in_line += 1
        try:
            yield
        finally:
            self._in_line -= 1

    def offers(self, origin: str) -> bool:
        return not self._in_line and origin in self.offer.terms.origins

    def ask(self, request: OutboundRequest) -> Record | None:
        """The recorded outcome of a call, a suspension to get it, or `None`: make it in line."""
        capture = current_capture()
        if capture is not None and not capture.takes(request):
            capture = None
        site = callsite(2)
        occurrence = self._occurrence(site)
        delivery = self.journal.take(site, occurrence, request.digest)
        if delivery is not None:
            record = self._deliver(site, delivery)
            if capture is not None:
                capture.recorded(record)
            return record
        if not self._may_suspend(request):
            return None
        raise self.suspend([Call(f"{site}#{occurrence}", request, said())], self._relayed(capture))

    def _occurrence(self, site: str) -> str:
        """Counted for each function of a gather: how far one got must not shift the others."""
        place = (site, self.lane)
        number = self._occurrences[place]
        self._occurrences[place] += 1
        return f"{self.lane}{number}"

    def suspend(self, calls: list[Call], relay: Terms | None = None) -> Suspended:
        self.suspension = Suspended(self, calls, relay)
        return self.suspension

    def _relayed(self, capture: Capture | None) -> Terms | None:
        """How the proxy is to relay a call, if it can.

        A client gets one answer: one call a request, and none of several that are gathered.
        """
        can_relay = (
            self.offer.terms.relays
            and self.in_view
            and not self.lane
            and not self.journal.has_relayed
        )
        return capture.terms if capture is not None and can_relay else None

    @property
    def view_name(self) -> str:
        if self.view is None:
            return "a middleware"
        # DRF and Django name the class behind as_view().
        view = getattr(self.view, "cls", None) or getattr(self.view, "view_class", self.view)
        return f"{view.__module__}.{getattr(view, '__qualname__', type(view).__qualname__)}"

    def fits(self, body_bytes: int) -> bool:
        return body_bytes <= self.offer.terms.max_call_bytes

    def _may_suspend(self, request: OutboundRequest) -> bool:
        return (
            self.suspension is None
            and not self.committed
            and self.offer.terms.max_calls > 0
            and self.fits(len(request.body))
        )

    def _deliver(self, site: str, delivery: Delivery) -> Record:
        self.delivered += 1
        if delivery.drifted:
            self._note_drift(site)
        return delivery.record

    def _note_drift(self, site: str) -> None:
        self.drift += 1
        if self.settings.strict:
            self.refusal = Refused(self, f"{site} asked for something else in this pass")
            raise self.refusal
        if site not in _drifted_sites and len(_drifted_sites) < DRIFTED_SITES:
            _drifted_sites.add(site)
            logger.warning(
                "%s: the request differs between passes (a time of day, an order?); "
                "the answer to the earlier one is used. Wrap what varies in once().",
                site,
            )
