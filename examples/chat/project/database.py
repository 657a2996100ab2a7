"""DATABASE_URL to Django's DATABASES: sqlite:////path/to/file or postgres://user:password@host:port/name."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit


def database(url: str) -> dict[str, Any]:
    """The setting for one database."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "project.sqlite",
            "NAME": unquote(parts.path),
            "OPTIONS": {"timeout": 20},
            "CONN_MAX_AGE": None,
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": None,
        }
    raise ValueError(f"DATABASE_URL: sqlite:////path or postgres://..., not {parts.scheme}://")
