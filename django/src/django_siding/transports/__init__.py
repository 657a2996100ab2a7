"""Interception where the HTTP libraries send: a file per library."""

from __future__ import annotations

from . import httpx, requests, urllib3
from .importing import when_imported


def install() -> None:
    """Patch each library now if it is loaded, else when it is first imported."""
    when_imported("httpx", httpx.patch)
    when_imported("httpx2", httpx.patch)
    when_imported("requests.adapters", requests.patch)
    when_imported("urllib3.connectionpool", urllib3.patch)


__all__ = ["install"]
