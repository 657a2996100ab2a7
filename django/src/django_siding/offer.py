"""The proxy's offer to make calls (protocol section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings as django_settings
from django.utils.encoding import repercent_broken_unicode

from .signature import FROM_APP, FROM_PROXY, Envelope, Unverified


@dataclass(frozen=True)
class Terms:
    """What the proxy is willing to call, from `Siding-Accept`."""

    origins: frozenset[str]
    max_calls: int
    max_call_bytes: int
    relays: bool = False


@dataclass(frozen=True)
class Offer:
    terms: Terms
    exchange_id: str
    pass_text: str
    pass_number: int
    now_ms: int
    deadline_ms: int
    method: str
    target: str
    signature: str
    journal_length: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any]) -> Offer:
        return cls(
            terms=parse_terms(_header(environ, "ACCEPT")),
            exchange_id=_header(environ, "ID"),
            pass_text=_header(environ, "PASS"),
            pass_number=_number(environ, "PASS"),
            now_ms=_number(environ, "NOW_MS"),
            deadline_ms=_number(environ, "DEADLINE_MS"),
            method=environ["REQUEST_METHOD"],
            target=_header(environ, "TARGET"),
            signature=_header(environ, "SIGNATURE"),
            journal_length=journal_length(environ),
        )

    def incoming(self) -> Envelope:
        return self._envelope(FROM_PROXY)

    def outgoing(self) -> Envelope:
        return self._envelope(FROM_APP)

    def _envelope(self, direction: str) -> Envelope:
        return Envelope(direction, self.exchange_id, self.pass_text, self.method, self.target)

    def check_target(self, environ: Mapping[str, Any]) -> None:
        """A signature is for one target: it must be the one that this request is for.

        Django has already decoded PATH_INFO and SCRIPT_NAME in the environ, as this does.
        """
        raw_path, _, query = self.target.partition("?")
        if "%" not in raw_path and raw_path.isascii():
            path = raw_path
        else:
            path = repercent_broken_unicode(unquote_to_bytes(raw_path.encode("latin-1"))).decode()
        own = [environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")]
        if django_settings.FORCE_SCRIPT_NAME is not None:
            # The prefix is then Django's own notion and need not be part of the target.
            own.append(environ.get("PATH_INFO", ""))
        if path not in own or query != environ.get("QUERY_STRING", ""):
            raise Unverified("Siding-Target is not this request's target")


@lru_cache(maxsize=64)
def parse_terms(accept: str) -> Terms:
    """Cached: a proxy sends the same text with every request."""
    parameters = {}
    for part in accept.split(";"):
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    if parameters.get("v") != "1":
        raise Unverified(f"the offer's version {parameters.get('v')!r} is not supported")
    modes = parameters.get("modes", "").split()
    if "replay" not in modes:
        raise Unverified("the offer does not include replay")
    return Terms(
        origins=frozenset(parameters.get("origins", "").lower().split()),
        max_calls=_decimal("max-calls", parameters.get("max-calls", "")),
        max_call_bytes=_decimal("max-call-bytes", parameters.get("max-call-bytes", "")),
        relays="relay" in modes,
    )


def journal_length(environ: Mapping[str, Any]) -> int:
    if "HTTP_SIDING_JOURNAL_LENGTH" not in environ:
        return 0
    return _number(environ, "JOURNAL_LENGTH")


def _header(environ: Mapping[str, Any], name: str) -> str:
    value: str | None = environ.get(f"HTTP_SIDING_{name}")
    if not value:
        raise Unverified(f"{_spelled(name)} is missing")
    return value


def _number(environ: Mapping[str, Any], name: str) -> int:
    text = _header(environ, name)
    if not _is_decimal(text):
        raise Unverified(f"{_spelled(name)} is not a number")
    return int(text)


def _spelled(name: str) -> str:
    return f"Siding-{name.replace('_', '-').title()}"


def _decimal(name: str, text: str) -> int:
    if not _is_decimal(text):
        raise Unverified(f"{name} is not a number")
    return int(text)


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
