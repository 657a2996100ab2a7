"""LLM calls of synchronous views, made by the Siding proxy while the worker is free."""

from .answer import Answer
from .api import Current, current, gather, once
from .authorization import authorization
from .caching import cache
from .relaying import relay
from .suspension import Suspended

__all__ = [
    "Answer",
    "Current",
    "Suspended",
    "authorization",
    "cache",
    "current",
    "gather",
    "once",
    "relay",
]
