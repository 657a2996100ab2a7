"""Django REST framework's throttles: a request is charged once, not once a pass."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from .exchange import current_exchange
from .patching import Method, replace
from .transports.importing import when_imported


def install() -> None:
    when_imported("rest_framework.views", patch)


def patch(views: ModuleType) -> None:
    replace(views.APIView, "check_throttles", charging_once)


def charging_once(original: Method) -> Method:
    def check_throttles(self: Any, request: Any) -> None:
        exchange = current_exchange()
        if exchange is None or exchange.offer.pass_number == 0:
            original(self, request)

    return check_throttles
