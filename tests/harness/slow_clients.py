"""Clients that take their time, by the thousand and in one thread: half a request, or an answer that is not read."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
from collections.abc import Callable

from harness.waiting import until

# Descriptors for everything else.
SPARE = 200


class SlowClients:
    """`count` connections to `host:port`. They stay until the `with` block ends."""

    def __init__(self, address: str, count: int, receive_buffer: int | None = None) -> None:
        self._target = (address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1]))
        self._count = count
        self._receive_buffer = receive_buffer
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> SlowClients:
        needed = self._count + SPARE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
        try:
            for _ in range(self._count):
                self._connect()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def say(self, data: bytes | Callable[[int], bytes]) -> None:
        """Each sends a few bytes, which fit into the kernel's buffers. Those that were left do not."""
        for number, client in enumerate(self.sockets):
            with contextlib.suppress(OSError):
                client.send(data if isinstance(data, bytes) else data(number))

    def answered(self) -> list[bytes]:
        """What each was sent so far, read without waiting and not for the first time."""
        heads = []
        for client in self.sockets:
            try:
                heads.append(client.recv(1 << 16, socket.MSG_PEEK))
            except OSError:
                heads.append(b"")
        return heads

    def until_answered(self, patience: float = 60.0) -> list[bytes]:
        """What each was sent, once each was sent something or was left."""
        with selectors.DefaultSelector() as selector:
            for client in self.sockets:
                selector.register(client, selectors.EVENT_READ)

            def all_have() -> bool:
                for key, _ in selector.select(0.1):
                    selector.unregister(key.fileobj)
                return not selector.get_map()

            until("every slow client to be answered", all_have, patience)
        return self.answered()

    def leave(self) -> None:
        """All go."""
        for client in self.sockets:
            client.close()
        self.sockets.clear()

    def _connect(self) -> None:
        client = socket.socket()
        if self._receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        client.settimeout(30)
        client.connect(self._target)
        client.setblocking(False)
        self.sockets.append(client)
