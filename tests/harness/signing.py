"""Signatures of the hand-off protocol, written from docs/protocol.md so that they check the proxy's own."""

from __future__ import annotations

import hashlib
import hmac
import time

SECRET = "0123456789abcdef0123456789abcdef"


def sign(
    direction: str,
    exchange: str,
    number: int,
    method: str,
    target: str,
    content: bytes,
    *,
    secret: str = SECRET,
    at: int | None = None,
) -> str:
    """The value of `Siding-Signature`; `direction` is p2a (proxy to app) or a2p."""
    at = int(time.time()) if at is None else at
    digest = hashlib.sha256(content).hexdigest()
    message = "\n".join(["v1", direction, exchange, str(number), str(at), method, target, digest])
    mac = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def time_of(signature: str) -> int:
    """The `t` of a signature."""
    return int(signature.split(",")[0].removeprefix("t="))
