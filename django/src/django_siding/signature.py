"""Signatures of offers and calls (protocol section 4)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_SECONDS = 60

FROM_PROXY = "p2a"
FROM_APP = "a2p"


class Unverified(Exception):
    """An offer that cannot be trusted; the message says why."""


@dataclass(frozen=True)
class Envelope:
    """What a signature covers besides the content. Texts are as they stand in the headers."""

    direction: str
    exchange_id: str
    pass_number: str
    method: str
    target: str

    def mac(self, key: bytes, t: str, content_sha256: str) -> str:
        lines = (
            "v1",
            self.direction,
            self.exchange_id,
            self.pass_number,
            t,
            self.method,
            self.target,
            content_sha256,
        )
        # WSGI hands header bytes on as Latin-1.
        return hmac.digest(key, "\n".join(lines).encode("latin-1"), "sha256").hex()

    def sign(self, key: bytes, now: float, content: bytes) -> str:
        t = str(int(now))
        return f"t={t},v1={self.mac(key, t, hashlib.sha256(content).hexdigest())}"

    def verify(
        self, signature: str, keys: Sequence[bytes], now: float, content_sha256: str
    ) -> None:
        t, candidates = _parts(signature)
        if abs(now - int(t)) > WINDOW_SECONDS:
            raise Unverified(f"signed {int(now) - int(t)} s from this clock; are the clocks right?")
        for key in keys:
            expected = self.mac(key, t, content_sha256).encode()
            if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
                return
        raise Unverified("the signature is wrong; do both sides have the same secret?")


def _parts(signature: str) -> tuple[str, list[bytes]]:
    t = ""
    candidates = []
    for part in signature.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            t = value
        elif name == "v1":
            candidates.append(value.lower().encode("latin-1"))
    if not (t.isascii() and t.isdigit()) or not candidates:
        raise Unverified("the signature is malformed")
    return t, candidates
