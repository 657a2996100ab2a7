"""DATABASE_URL to Django's DATABASES: sqlite:////path/to/file or postgres://user:password@host:port/name. Connections
are kept; `?conn_max_age=0` at the end closes them after each request, which is Django's default."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def database(url: str) -> dict[str, Any]:
    """The setting for one database."""
    parts = urlsplit(url)
    age = parse_qs(parts.query).get("conn_max_age")
    kept = {"CONN_MAX_AGE": int(age[0]) if age else None}
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "project.sqlite",
            "NAME": unquote(parts.path),
            "OPTIONS": {"timeout": 20},
            **kept,
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            **kept,
        }
    raise ValueError(f"DATABASE_URL: sqlite:////path or postgres://..., not {parts.scheme}://")
