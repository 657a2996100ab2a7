"""What makes two calls the same: SHA-256 of method, URL and canonical body."""

from __future__ import annotations

import hashlib
import json


def digest(method: str, url: str, content_type: str, body: bytes) -> str:
    sha256 = hashlib.sha256()
    for part in (method.encode(), url.encode(), canonical(content_type, body)):
        sha256.update(b"%d:" % len(part))
        sha256.update(part)
    return sha256.hexdigest()


def canonical(content_type: str, body: bytes) -> bytes:
    """The body without what may differ between two passes that mean the same."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return _sorted(body)
    if media_type.startswith("multipart/"):
        return _without_boundary(content_type, body)
    return body


def _sorted(body: bytes) -> bytes:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _without_boundary(content_type: str, body: bytes) -> bytes:
    """SDKs draw a new boundary for each request."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "boundary" and value:
            return body.replace(b"--" + value.strip('"').encode("latin-1"), b"--")
    return body
