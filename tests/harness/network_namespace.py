"""Connections from within another process's network namespace."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000


class Network:
    """The network of a process, also when the process has ended. Needs root. To be closed."""

    def __init__(self, pid: int) -> None:
        self._namespace = _opened(f"/proc/{pid}/ns/net")

    def close(self) -> None:
        """It ends when nothing else is in it."""
        os.close(self._namespace)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread opens meanwhile are in it, and stay there. Other threads are not concerned."""
        own = _opened("/proc/thread-self/ns/net")
        try:
            _enter(self._namespace)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)


def _opened(namespace: str) -> int:
    return os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)


def _enter(namespace: int) -> None:
    """setns(2), which Python has since 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
