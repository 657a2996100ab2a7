"""How a pass ends early."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call
    from .capture import Terms
    from .exchange import Exchange


class Suspended(BaseException):
    """The view waits for calls that the proxy makes.

    A `BaseException`, because views and SDKs wrap their calls in `except Exception`, and this is no
    failure that they could handle: it must reach the middleware.
    """

    def __init__(self, exchange: Exchange, calls: list[Call], relay: Terms | None = None) -> None:
        super().__init__(f"{len(calls)} call(s) handed to the proxy; do not catch this")
        self.exchange = exchange
        self.calls = calls
        # How the proxy is to relay the call; `None` for a recorded answer.
        self.relay = relay


class Refused(BaseException):
    """A recorded result does not belong to the call that asked for it, and STRICT is set."""

    def __init__(self, exchange: Exchange, reason: str) -> None:
        super().__init__(reason)
        self.exchange = exchange
        self.reason = reason


class DriftError(Exception):
    """What a refused request becomes outside of the view, so that Django answers with a 500."""
