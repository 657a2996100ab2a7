"""The content of a request: journal and body, read once and put back."""

from __future__ import annotations

import hashlib
import io
import tempfile
from typing import IO, Any, NoReturn, cast

from django.core.handlers.wsgi import LimitedStream

from .signature import Unverified

# What is larger goes to a file: an offer is not trusted before its whole content has been hashed.
MEMORY_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024

# An empty request of these methods has no Content-Length; of others, it has one of 0.
BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"})


class Content:
    """The bytes after the head, as sent."""

    def __init__(self, file: IO[bytes], size: int, sha256: str) -> None:
        self.file = file
        self.size = size
        self.sha256 = sha256

    @classmethod
    def read(cls, request: Any) -> Content:
        """Read all of it; from here on the request reads from memory or a file."""
        if request._read_started:
            raise Unverified("the body was read before SidingMiddleware; it must be the first")
        sha256 = hashlib.sha256()
        in_memory = request._stream.limit <= MEMORY_BYTES
        file: IO[bytes] = io.BytesIO() if in_memory else tempfile.TemporaryFile()  # noqa: SIM115
        size = 0
        try:
            while chunk := request._stream.read(CHUNK_BYTES):
                sha256.update(chunk)
                file.write(chunk)
                size += len(chunk)
        except OSError as error:
            file.close()
            request._stream = BrokenStream(error)
            raise Unverified("the body could not be read") from error
        content = cls(file, size, sha256.hexdigest())
        content.give_back(request, 0)
        return content

    def journal(self, length: int) -> bytes:
        if length > self.size:
            raise Unverified("Siding-Journal-Length is more than the content")
        self.file.seek(0)
        return self.file.read(length)

    def give_back(self, request: Any, offset: int) -> None:
        """Let the request's body begin at `offset`."""
        self.file.seek(offset)
        request.environ["wsgi.input"] = self.file
        request._stream = LimitedStream(cast(Any, self.file), self.size - offset)

    def restore_length(self, request: Any, offset: int) -> None:
        """Undo the journal's part of Content-Length."""
        length = self.size - offset
        if length == 0 and request.method in BODILESS:
            request.environ.pop("CONTENT_LENGTH", None)
        else:
            request.environ["CONTENT_LENGTH"] = str(length)

    def close(self) -> None:
        self.file.close()


class BrokenStream:
    """Fails when the view reads it, as the connection's own stream would have."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def read(self, *_: object) -> NoReturn:
        raise self.error

    readline = read

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass
