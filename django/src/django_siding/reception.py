"""Receiving an offered request: who sent it, and what is its body."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from .content import Content
from .offer import Offer
from .settings import Settings
from .signature import Unverified

logger = logging.getLogger("django_siding")


@dataclass
class Reception:
    """A request's content, and its offer if that one is valid."""

    content: Content | None = None
    offer: Offer | None = None
    journal: bytes = b""

    def close(self) -> None:
        if self.content is not None:
            self.content.close()


def receive(request: Any, settings: Settings) -> Reception:
    """Never fails: what cannot be verified is no offer."""
    reception = Reception()
    try:
        _receive(request, settings, reception)
    except Unverified as problem:
        logger.warning("%r: the offer is ignored: %s", request.path, problem)
    except Exception:
        logger.warning("%r: the offer is ignored", request.path, exc_info=True)
    return reception


def _receive(request: Any, settings: Settings, reception: Reception) -> None:
    environ = request.environ
    offer = Offer.from_environ(environ)
    offer.check_target(environ)
    content = reception.content = Content.read(request)
    offer.incoming().verify(offer.signature, settings.keys, time.time(), content.sha256)
    journal = content.journal(offer.journal_length)
    content.give_back(request, offer.journal_length)
    if offer.journal_length:
        content.restore_length(request, offer.journal_length)
    reception.journal = journal
    reception.offer = offer
