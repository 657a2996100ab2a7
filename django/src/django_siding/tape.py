"""The bytes of an answer as they arrive, kept so that each reader has them from the beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# As much as the proxy takes of one answer by default (`handoff.max_result`).
MAXIMUM_BYTES = 8 * 1024 * 1024


class TooLarge(Exception):
    """An answer has more than `MAXIMUM_BYTES`."""


class Tape:
    """Whoever reads past its end gets the next bytes from the connection; the others find them.

    So the SDK's own object can be read later, or never, and the client waits for no one else.
    """

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], None]) -> None:
        self.failure: Exception | None = None
        self._source: Iterator[bytes] | None = chunks
        self._close = close
        self._chunks: list[bytes] = []
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        position = 0
        while position < len(self._chunks) or self._more():
            yield self._chunks[position]
            position += 1

    @property
    def body(self) -> bytes:
        """What has arrived."""
        return b"".join(self._chunks)

    @property
    def error(self) -> str | None:
        """How it broke off, in the protocol's words."""
        if self.failure is None:
            return None
        if isinstance(self.failure, TooLarge):
            return "too_large"
        is_timeout = "timeout" in type(self.failure).__name__.lower()
        return "idle_timeout" if is_timeout else "interrupted"

    def close(self) -> None:
        """Give up what has not arrived."""
        self._source = None
        self._close()

    def _more(self) -> bool:
        if self.failure is not None:
            raise self.failure
        if self._source is None:
            return False
        try:
            chunk = next(self._source, None)
            self._size += len(chunk or b"")
            if self._size > MAXIMUM_BYTES:
                raise TooLarge(f"the answer has more than {MAXIMUM_BYTES} bytes")
        except Exception as failure:
            self.failure = failure
            self._source = None
            raise
        if chunk is None:
            self._source = None
            return False
        self._chunks.append(chunk)
        return True
