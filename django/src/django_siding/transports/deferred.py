"""httpx and httpx2: what a transport connects with is built when it is first needed.

A TLS context costs more CPU than the rest of a view, many views make their SDK client anew for each
request, and in an offered pass its transport seldom connects. So a transport that is made in one
keeps its arguments, and does what its `__init__` would have done when its pool is first asked for:
by a call in line, in whichever thread and however much later, or by whoever looks at it.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from functools import partial
from inspect import Signature, signature
from types import ModuleType
from typing import Any

from ..exchange import current_exchange
from ..patching import Method, replace

UNBUILT = "_siding_unbuilt"
POOL = "_pool"


class Unbuilt:
    """A transport's `__init__` and what it was given."""

    def __init__(self, init: Method, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.init = init
        self.args = args
        self.options = options
        self.lock = threading.RLock()
        self.pending = True

    def build(self, transport: Any) -> None:
        with self.lock:
            # Not pending any more: another thread was first, or `init` itself looks for something.
            if not self.pending:
                return
            self.pending = False
            try:
                if POOL not in vars(transport):
                    self.init(transport, *self.args, **self.options)
            except BaseException:
                self.pending = True
                raise
            del vars(transport)[UNBUILT]


def patch(library: ModuleType) -> None:
    _defer(library, library.HTTPTransport)
    for name, make in (("__enter__", entering), ("__exit__", closing), ("close", closing)):
        replace(library.HTTPTransport, name, make)
    _defer(library, library.AsyncHTTPTransport)
    for name, make in (
        ("__aenter__", async_entering),
        ("__aexit__", async_closing),
        ("aclose", async_closing),
    ):
        replace(library.AsyncHTTPTransport, name, make)


def _defer(library: ModuleType, transport: Any) -> None:
    # One that answers for missing attributes itself would not let the pool be found missing.
    if not hasattr(transport, "__getattr__"):
        transport.__getattr__ = _missing
        replace(transport, "__init__", partial(deferring, library))


def deferring(library: ModuleType, original: Method) -> Method:
    parameters = signature(original)

    def __init__(self: Any, *args: Any, **options: Any) -> None:
        if current_exchange() is not None and _notices_a_missing_pool(type(self)):
            given = _given(parameters, self, args, options)
            if given is not None and _succeeds(library, given):
                vars(self)[UNBUILT] = Unbuilt(original, args, options)
                return
        original(self, *args, **options)

    return __init__


def _missing(transport: Any, name: str) -> Any:
    """`__getattr__`: called for what is not there, such as the pool of an unbuilt transport."""
    unbuilt = None if name.startswith("__") else vars(transport).get(UNBUILT)
    if unbuilt is not None:
        unbuilt.build(transport)
    return object.__getattribute__(transport, name)


def _notices_a_missing_pool(transport: Any) -> bool:
    """Not if a subclass has a pool or a `__getattr__` of its own."""
    return transport.__getattr__ is _missing and not hasattr(transport, POOL)


def _given(
    parameters: Signature, transport: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> Mapping[str, Any] | None:
    try:
        return parameters.bind(transport, *args, **options).arguments
    except TypeError:
        return None


def _succeeds(library: ModuleType, given: Mapping[str, Any]) -> bool:
    """Whether these arguments cannot be wrong: what is must be said where they were given."""
    verify, proxy = given.get("verify", True), given.get("proxy")
    return (
        (verify is True or verify is False or isinstance(verify, ssl.SSLContext))
        and not given.get("cert")
        and ("limits" not in given or isinstance(given["limits"], library.Limits))
        and (proxy is None or _is_plain(library, proxy))
    )


def _is_plain(library: ModuleType, proxy: Any) -> bool:
    """SOCKS needs another package, and not every proxy may have a context of its own."""
    if not isinstance(proxy, library.Proxy):
        try:
            proxy = library.Proxy(url=proxy)
        except Exception:  # noqa: BLE001 - `init` does the same and says what is wrong
            return False
    return proxy.url.scheme in ("http", "https") and getattr(proxy, "ssl_context", None) is None


def _has_nothing_open(transport: Any) -> bool:
    own = vars(transport)
    return UNBUILT in own and POOL not in own


def entering(original: Method) -> Method:
    def enter(self: Any) -> Any:
        return self if _has_nothing_open(self) else original(self)

    return enter


def closing(original: Method) -> Method:
    def close(self: Any, *args: Any) -> None:
        if not _has_nothing_open(self):
            original(self, *args)

    return close


def async_entering(original: Method) -> Method:
    async def enter(self: Any) -> Any:
        return self if _has_nothing_open(self) else await original(self)

    return enter


def async_closing(original: Method) -> Method:
    async def close(self: Any, *args: Any) -> None:
        if not _has_nothing_open(self):
            await original(self, *args)

    return close
