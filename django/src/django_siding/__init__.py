"""LLM calls of synchronous views, made by the Siding proxy while the worker is free."""

from .api import Current, current, gather, once
from .authorization import authorization
from .caching import cache
from .suspension import Suspended

__all__ = ["Current", "Suspended", "authorization", "cache", "current", "gather", "once"]
