"""Replacing a method of another library, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

Method = Callable[..., Any]

MARK = "_siding"


def replace(owner: Any, name: str, make: Callable[[Method], Method]) -> None:
    """Set `owner.name` to what `make` makes of it, unless that was done before.

    The mark survives a tracer that wraps the method again, as `functools.wraps` copies it.
    """
    original = getattr(owner, name)
    if getattr(original, MARK, False):
        return
    replacement = wraps(original)(make(original))
    setattr(replacement, MARK, True)
    setattr(owner, name, replacement)
