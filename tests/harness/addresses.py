"""Where programs listen: addresses that are free, and whether somebody is there. An address is `host:port` or
`unix:/path`."""

from __future__ import annotations

import itertools
import random
import socket
import threading
from collections.abc import Iterator

from harness import raw_http

# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(20_000, 32_000)
BLOCK = 1_000


def free_address() -> str:
    """
    An address that nothing listens on, and that nobody else is given: each process has a block of ports of its own
    and takes them in turn.
    """
    for _ in range(BLOCK):
        with _lock:
            port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return f"127.0.0.1:{port}"
    raise RuntimeError("no port is free")


def listens(address: str) -> bool:
    """Whether a connection is accepted."""
    try:
        raw_http.connect(address, 1.0).close()
    except OSError:
        return False
    return True


def answers(address: str, path: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return raw_http.request(address, "GET", path, timeout=2).status == 200
    except (OSError, raw_http.Incomplete):
        return False


def _claimed_ports() -> Iterator[int]:
    """The ports of a block, over and over. A name that only one process can have, for as long as it lives, stands
    for the block."""
    starts = list(PORTS[::BLOCK])
    random.shuffle(starts)
    claim = socket.socket(socket.AF_UNIX)
    for start in starts:
        try:
            claim.bind(f"\0siding-tests-ports-{start}")
        except OSError:
            continue
        yield from itertools.cycle(range(start, start + BLOCK))
    raise RuntimeError(f"{len(starts)} processes have taken all ports: end some")


_lock = threading.Lock()
_ports = _claimed_ports()
