"""What a view says about how the proxy shares its calls: `with cache(...)` or `@cache(...)`."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction

from .stream import is_stream

Duration = float | timedelta
F = TypeVar("F", bound=Callable[..., Any])

SCOPES = ("app", "user", "none")
NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
NAMES = "1 to 64 of the characters A-Z a-z 0-9 . _ : -"
MAXIMUM_TAGS = 16
# A mistake rather than a wish; in nanoseconds it still fits 64 bits.
MAXIMUM = timedelta(days=36525)
END = object()

# The blocks that are running, outermost first. Not tokens: a generator may leave its block after
# another's has begun, or in another context.
_blocks: ContextVar[tuple[cache, ...]] = ContextVar("django_siding_cache", default=())


class cache:
    """How the proxy may share the calls made inside of it, as a block or a decorator.

    What is not given (or `None`) is inherited from the block around it, and in the end from the
    proxy's configuration. Calls that are made in line are not concerned.

    ttl: how long an answer may be given again; 0 shares calls under way and stores nothing.
    scope: with whom: "app", "user", "none", or a name of your own such as f"tenant:{id}".
    tags: names to purge stored answers by, in addition to those of outer blocks.
    lookup: `False` asks the provider whatever is stored, and stores the new answer.
    store: `False` does not store the answer.
    stale_if_error: how long after its ttl an answer may stand in for a failure.
    stale_while_revalidate: how long after its ttl it may be given while a new one is fetched.
    """

    def __init__(
        self,
        *,
        ttl: Duration | None = None,
        scope: str | None = None,
        tags: Iterable[str] | None = None,
        lookup: bool | None = None,
        store: bool | None = None,
        stale_if_error: Duration | None = None,
        stale_while_revalidate: Duration | None = None,
    ) -> None:
        said = {
            "ttl_ms": _milliseconds("ttl", ttl),
            "scope": _scope(scope),
            "lookup": _flag("lookup", lookup),
            "store": _flag("store", store),
            "stale_if_error_ms": _milliseconds("stale_if_error", stale_if_error),
            "stale_while_revalidate_ms": _milliseconds(
                "stale_while_revalidate", stale_while_revalidate
            ),
        }
        self._said = {member: value for member, value in said.items() if value is not None}
        self._tags = _tags(tags)

    def __enter__(self) -> None:
        blocks = (*_blocks.get(), self)
        _check_number(_all_tags(blocks), "together with those of the blocks around it")
        _blocks.set(blocks)

    def __exit__(self, *_: object) -> None:
        blocks = _blocks.get()
        for index in reversed(range(len(blocks))):
            if blocks[index] is self:
                _blocks.set(blocks[:index] + blocks[index + 1 :])
                return

    def __call__(self, fn: F) -> F:
        """Functions of each kind run inside of the block for as long as they run."""
        if isinstance(fn, type) or not callable(fn):
            raise TypeError(
                f"cache() decorates functions, not {fn!r}; of a class, decorate the method that "
                "makes the call, such as post()"
            )
        wrapped: Any
        if iscoroutinefunction(fn):

            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await fn(*args, **kwargs)

        elif inspect.isgeneratorfunction(fn):

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                return Steps(self, fn(*args, **kwargs))

        elif inspect.isasyncgenfunction(fn):

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                return AsyncSteps(self, fn(*args, **kwargs))

        else:

            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self:
                    result = fn(*args, **kwargs)
                if is_stream(result):
                    result.streaming_content = _inside(self, result.streaming_content)
                return result

        return cast(F, wraps(fn)(wrapped))


class Steps(Generator[Any, Any, Any]):
    """A generator that is inside of a block while it runs; whoever iterates it is not."""

    def __init__(self, block: cache, generator: Generator[Any, Any, Any]) -> None:
        self.block = block
        self.generator = generator

    def send(self, value: Any) -> Any:
        with self.block:
            return self.generator.send(value)

    def throw(self, *error: Any) -> Any:
        with self.block:
            return self.generator.throw(*error)

    def close(self) -> None:
        with self.block:
            self.generator.close()


class AsyncSteps(AsyncGenerator[Any, Any]):
    """The same of an asynchronous one."""

    def __init__(self, block: cache, generator: AsyncGenerator[Any, Any]) -> None:
        self.block = block
        self.generator = generator

    async def asend(self, value: Any) -> Any:
        with self.block:
            return await self.generator.asend(value)

    async def athrow(self, *error: Any) -> Any:
        with self.block:
            return await self.generator.athrow(*error)

    async def aclose(self) -> None:
        with self.block:
            await self.generator.aclose()


def said() -> dict[str, Any]:
    """What the running blocks say of a call made now: its member `cache` (protocol section 2)."""
    blocks = _blocks.get()
    member: dict[str, Any] = {}
    for block in blocks:
        member.update(block._said)
    if tags := _all_tags(blocks):
        member["tags"] = tags
    return member


@contextmanager
def nothing_said() -> Iterator[None]:
    """Begin a pass without blocks: an abandoned generator of an earlier request may be in one."""
    token = _blocks.set(())
    try:
        yield
    finally:
        _blocks.reset(token)


def _inside(block: cache, chunks: Iterable[Any]) -> Iterator[Any]:
    """A streaming view's answer: its calls are made when the view has returned."""
    iterator = iter(chunks)
    while True:
        with block:
            chunk = next(iterator, END)
        if chunk is END:
            return
        yield chunk


def _all_tags(blocks: Iterable[cache]) -> list[str]:
    return list(dict.fromkeys(tag for block in blocks for tag in block._tags))


def _milliseconds(name: str, value: Duration | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
        raise TypeError(
            f"{name} must be seconds or a timedelta, such as {name}=3600 or "
            f"{name}=timedelta(hours=1), not {value!r}"
        )
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    # Also false of NaN.
    if not 0 <= seconds <= MAXIMUM.total_seconds():
        raise ValueError(f"{name} must be from 0 to {MAXIMUM.days} days, not {value!r}")
    # What is not 0 must not become it: for a ttl that is another wish.
    return max(round(seconds * 1000), math.ceil(min(seconds, 1)))


def _scope(value: str | None) -> str | None:
    if value is None:
        return None
    names = f'"app", "user", "none" or a name of your own ({NAMES}), such as f"tenant:{{id}}"'
    if not isinstance(value, str):
        raise TypeError(f"scope must be {names}, not {value!r}")
    if not NAME.fullmatch(value):
        raise ValueError(f"scope must be {names}, not {value!r}")
    # As a name of its own it would be shared by everyone, which "User" hardly means.
    if value not in SCOPES and value.lower() in SCOPES:
        raise ValueError(f'scope must be "{value.lower()}" in lower case, not {value!r}')
    return value


def _tags(values: Iterable[str] | None) -> tuple[str, ...]:
    if values is None:
        return ()
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f'tags must be a list of strings, such as tags=["reports"], not {values!r}')
    tags = tuple(dict.fromkeys(map(_tag, values)))
    _check_number(tags, "in a block")
    return tags


def _tag(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a tag must be a string of {NAMES}, not {value!r}")
    if not NAME.fullmatch(value):
        raise ValueError(f"a tag must be {NAMES}, not {value!r}")
    return value


def _check_number(tags: Iterable[str], where: str) -> None:
    if (number := len(list(tags))) > MAXIMUM_TAGS:
        raise ValueError(f"there may be at most {MAXIMUM_TAGS} tags {where}, not {number}")


def _flag(name: str, value: bool | None) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value
