"""System checks: what is wrong, or what one should know, about the installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning

from .settings import SECRET_VARIABLE, Settings, parse

MIDDLEWARE = "django_siding.middleware.SidingMiddleware"


def check_settings(**_: Any) -> list[CheckMessage]:
    settings, problems = parse(getattr(django_settings, "SIDING", None))
    messages: list[CheckMessage] = [
        Error(f"SIDING: {problem}.", id="siding.E001") for problem in problems
    ]
    if problems or not settings.enabled:
        return messages
    return messages + _check_middleware() + _check_secret(settings) + _check_atomic(settings)


def check_deployment(**_: Any) -> list[CheckMessage]:
    settings, _problems = parse(getattr(django_settings, "SIDING", None))
    if not settings.active or not settings.atomic:
        return []
    return [
        Info(
            "Views that Siding may suspend run in transaction.atomic(), as with ATOMIC_REQUESTS.",
            hint="A suspended pass rolls back. An unhandled exception does so too, durable atomic "
            "blocks fail, and each database in SIDING['ATOMIC'] is connected to. Exempt views with "
            "@transaction.non_atomic_requests.",
            id="siding.I001",
        )
    ]


def _check_middleware() -> list[CheckMessage]:
    installed = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE not in installed:
        return [
            Warning(
                "SidingMiddleware is not in MIDDLEWARE: every call is made in line.",
                hint=f"Put {MIDDLEWARE!r} first.",
                id="siding.W004",
            )
        ]
    if installed[0] != MIDDLEWARE:
        return [
            Warning(
                "SidingMiddleware is not the first middleware.",
                hint="Those before it see calls to the proxy as if they were answers, once a "
                f"pass, and may change or record them. Put {MIDDLEWARE!r} first.",
                id="siding.W001",
            )
        ]
    return []


def _check_secret(settings: Settings) -> list[CheckMessage]:
    if settings.keys:
        return []
    return [
        Warning(
            "SIDING has no SECRET: hand-off is off and every call is made in line.",
            hint=f"Set SIDING['SECRET'] or the environment variable {SECRET_VARIABLE} to the "
            "proxy's, or SIDING['ENABLED'] to False.",
            id="siding.W002",
        )
    ]


def _check_atomic(settings: Settings) -> list[CheckMessage]:
    if settings.atomic is not False:
        return []
    return [
        Warning(
            "SIDING['ATOMIC'] is False: what a view writes before a call is written in each pass.",
            hint="Leave it on, or make sure that repeating those writes does no harm.",
            id="siding.W003",
        )
    ]
