"""What a process has open."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Of src/http1/pool.rs.
MOST_IDLE = 256


def opened(pid: int) -> list[str]:
    """Files and sockets, by what the kernel calls them."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def without_idle(pid: int, provider: str) -> int:
    """Their number, without the idle connections to the provider's address that Siding may keep."""
    descriptors, port = opened(pid), int(provider.rsplit(":")[-1])
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    to_provider = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}
    return len(descriptors) - min(sum(each in to_provider for each in descriptors), MOST_IDLE)
