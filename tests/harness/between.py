"""What stands between a client and a server and passes on what they say, or holds it. Standard library only."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

SIZE = 1 << 16


class Between:
    """Listens on a free port. What a client sends waits from a word on, once that is asked for, until it is let go."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._word: bytes | None = None
        self._holding, self._open = threading.Event(), threading.Event()
        self._streams: list[socket.socket] = [self._listener]

    @property
    def address(self) -> str:
        """For the client."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Between:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()

    def hold(self, word: bytes) -> None:
        """The next message with this word waits, and what its connection sends after it."""
        self._word = word

    def is_holding(self) -> bool:
        """Whether one waits."""
        return self._holding.is_set()

    def let_go(self) -> None:
        """It goes on, and so does all that follows."""
        self._open.set()

    def _accept(self) -> None:
        host, port = self._server.split(":")
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((host, int(port)))
                self._streams += [client, server]
                for ends in [(client, server, True), (server, client, False)]:
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, may_wait: bool) -> None:
        with contextlib.suppress(OSError):
            while said := source.recv(SIZE):
                if may_wait and self._word and self._word in said:
                    self._holding.set()
                    self._open.wait()
                sink.sendall(said)
            sink.shutdown(socket.SHUT_WR)
