"""A relayed stream without Siding: the worker itself passes on what the provider sends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

from .answer import Answer
from .capture import Terms
from .formats import Translator
from .tape import Tape

logger = logging.getLogger("django_siding")

# What a client is told: the failure's own text is the app's business.
BROKEN_OFF = "the model's answer broke off"


class InlineStream:
    """The content of a `StreamingHttpResponse`, which closes it, whether it was read or not."""

    def __init__(
        self,
        tape: Tape,
        translator: Translator,
        stream: Any,
        on_complete: Callable[[Answer], object] | None,
        terms: Terms,
    ) -> None:
        self.tape = tape
        self.translator = translator
        self.stream = stream
        self.on_complete = on_complete
        self.terms = terms
        # What must stay open until the end.
        self.held = ExitStack()
        self.has_ended = False
        self._translated = self._translate()
        self._delivered = self._deliver()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._delivered)

    def close(self) -> None:
        """The response has ended, or its client has left."""
        with self.held:
            self._delivered.close()
            if not self.has_ended and self.terms.finishes:
                for _ in self._translated:
                    pass
                self._last()
                self._complete()

    def _translate(self) -> Generator[bytes]:
        """Ends where the answer ends or breaks off: the tape knows which."""
        try:
            for chunk in self.tape:
                piece = self.translator.feed(chunk)
                if piece:
                    yield piece
        except Exception as failure:
            if failure is not self.tape.failure:
                raise
            logger.warning("a relayed answer broke off: %r", failure)

    def _deliver(self) -> Generator[bytes]:
        # Not `yield from`, which would close what `close()` may have to go on with.
        for piece in self._translated:  # noqa: UP028
            yield piece
        last = self._last()
        if last:
            yield last
        self._complete()
        if last is None and self.tape.failure is not None:
            # Nothing in this format says so: the server must not end the answer well.
            raise self.tape.failure

    def _last(self) -> bytes | None:
        if self.tape.failure is None:
            return self.translator.finish()
        return self.translator.fail(BROKEN_OFF)

    def _complete(self) -> None:
        """As behind the proxy, the client has had its answer whatever becomes of this."""
        self.has_ended = True
        if self.on_complete is None:
            return
        answer = Answer.of(self.translator, self.tape.error, self.stream, self.tape.body)
        try:
            self.on_complete(answer)
        except Exception:
            logger.exception("the on_complete of a relayed answer failed")
