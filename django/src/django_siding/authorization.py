"""The answer of a view that is asked whether a call may be made: `return authorization(...)`.

The proxy asks where it answers a route from a provider itself (`terminate` in its configuration).
The request has `Siding-Model` and `Siding-Stream`, `X-Original-Method` and `X-Original-URI`, and
the client's own headers. Any answer but a success is the client's; what a success allows is said
here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse

from .caching import _scope, _tags

HEADER = "Siding-Authorization"
MAXIMUM_USER_BYTES = 128
MAXIMUM_MODELS = 64
# The proxy's patterns know more than `*`; what would be special there is in no model's name.
MODEL = re.compile(r"[!-Z^-z|~]{1,256}")
MODELS = "1 to 256 ASCII characters without spaces, brackets, braces and backslashes"
# In the proxy they are unsigned integers of 64 and of 32 bits.
MAXIMUM_TOKENS = 2**64 - 1
MAXIMUM_CALLS = 2**32 - 1


def authorization(
    *,
    scope: str | None = None,
    user: str | None = None,
    models: Iterable[str] | None = None,
    max_output_tokens: int | None = None,
    max_concurrent: int | None = None,
    tags: Iterable[str] | None = None,
) -> HttpResponse:
    """Allow the call, within what is said here. What is not given (or `None`) is not limited.

    scope: with whom the answer may be shared: "app", "user" (the same credentials), "none", or a
        name of your own such as f"tenant:{id}". Without one the proxy's configuration decides.
    user: a label for the proxy's access log, by which `max_concurrent` counts.
    models: those that may be called, such as "gpt-4o*", where `*` stands for any text; an empty
        list is none.
    max_output_tokens: of one call, all its answers together.
    max_concurrent: calls that `user` may have under way at once.
    tags: names to purge the stored answer by.

    Cookies and CORS headers that are set on the response reach the client with the provider's
    answer.
    """
    said = {
        "scope": _scope(scope),
        "user": _user(user),
        "models": _models(models),
        "max_output_tokens": _number("max_output_tokens", max_output_tokens, MAXIMUM_TOKENS),
        "max_concurrent": _number("max_concurrent", max_concurrent, MAXIMUM_CALLS),
        "tags": list(_tags(tags)) or None,
    }
    if max_concurrent is not None and user is None:
        raise ValueError("max_concurrent needs user: whose calls are counted?")
    granted = {member: value for member, value in said.items() if value is not None}
    response = HttpResponse(status=204)
    # Escaped, so that every server sends it as it is.
    response[HEADER] = json.dumps(granted, separators=(",", ":"))
    return response


def _user(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"user must be a string, such as str(request.user.pk), not {value!r}")
    is_printable = not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)
    if not is_printable or not 1 <= len(value.encode()) <= MAXIMUM_USER_BYTES:
        raise ValueError(
            f"user must be 1 to {MAXIMUM_USER_BYTES} bytes without control characters, "
            f"not {value!r}"
        )
    return value


def _models(values: Iterable[str] | None) -> list[str] | None:
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(
            f'models must be a list of strings, such as models=["gpt-4o*"], not {values!r}'
        )
    models = [_model(value) for value in values]
    if len(models) > MAXIMUM_MODELS:
        raise ValueError(f"there may be at most {MAXIMUM_MODELS} models, not {len(models)}")
    return models


def _model(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a model must be a string, not {value!r}")
    if not MODEL.fullmatch(value):
        raise ValueError(f"a model must be {MODELS}, not {value!r}")
    return value


def _number(name: str, value: int | None, maximum: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not 1 <= value <= maximum:
        raise ValueError(f"{name} must be from 1 to {maximum}, not {value!r}")
    return value
