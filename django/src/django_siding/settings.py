"""The SIDING setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

MINIMUM_SECRET_BYTES = 16
SECRET_VARIABLE = "SIDING_SECRET"


@dataclass(frozen=True)
class Settings:
    keys: tuple[bytes, ...] = ()
    atomic: bool | frozenset[str] = True
    strict: bool = False
    enabled: bool = True

    @property
    def active(self) -> bool:
        return self.enabled and bool(self.keys)

    def is_atomic(self, alias: str) -> bool:
        return self.atomic if isinstance(self.atomic, bool) else alias in self.atomic


def read() -> Settings:
    """The settings in force. Mistakes stop the start, all named at once."""
    settings, problems = parse(getattr(django_settings, "SIDING", None))
    if problems:
        raise ImproperlyConfigured("SIDING: " + "; ".join(problems))
    return settings


def parse(raw: Any) -> tuple[Settings, list[str]]:
    """The settings and what is wrong with them."""
    if raw is None:
        raw = {}
    if not isinstance(raw, Mapping):
        return Settings(), ["it must be a dict"]
    problems = _unknown(raw)
    keys = _keys(raw, problems)
    settings = Settings(
        keys=keys,
        atomic=_atomic(raw, problems),
        strict=_flag(raw, "STRICT", False, problems),
        enabled=_flag(raw, "ENABLED", True, problems),
    )
    return settings, problems


def _unknown(raw: Mapping[str, Any]) -> list[str]:
    known = {"SECRET"} | {field.name.upper() for field in fields(Settings)} - {"KEYS"}
    return [
        f"unknown key {name!r} (known: {', '.join(sorted(known))})"
        for name in raw
        if name not in known
    ]


def _keys(raw: Mapping[str, Any], problems: list[str]) -> tuple[bytes, ...]:
    secret = raw.get("SECRET") if "SECRET" in raw else os.environ.get(SECRET_VARIABLE)
    if secret is None or secret == "":
        return ()
    secrets = [secret] if isinstance(secret, str) else secret
    if not isinstance(secrets, (list, tuple)) or not 1 <= len(secrets) <= 2:
        problems.append("SECRET must be a string, or a list of two during a rotation")
        return ()
    keys = []
    for each in secrets:
        if not isinstance(each, str):
            problems.append("SECRET must be a string, or a list of two during a rotation")
        elif len(each.encode()) < MINIMUM_SECRET_BYTES:
            problems.append(f"SECRET must be at least {MINIMUM_SECRET_BYTES} bytes long")
        else:
            keys.append(each.encode())
    return tuple(keys)


def _atomic(raw: Mapping[str, Any], problems: list[str]) -> bool | frozenset[str]:
    value = raw.get("ATOMIC", True)
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value):
        unknown = sorted(set(value) - set(django_settings.DATABASES))
        if unknown:
            problems.append(f"ATOMIC names databases that do not exist: {', '.join(unknown)}")
        return frozenset(value)
    problems.append("ATOMIC must be True, False or a list of database aliases")
    return True


def _flag(raw: Mapping[str, Any], name: str, default: bool, problems: list[str]) -> bool:
    value = raw.get(name, default)
    if isinstance(value, bool):
        return value
    problems.append(f"{name} must be True or False")
    return default
