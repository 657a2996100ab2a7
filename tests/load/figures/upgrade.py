"""Upgrades and a drain under five hundred requests a second: no request fails.

Another process takes the sockets over, several times in a row, while requests go on in open loops on connections that
are kept and on new ones. Then the last one is drained as in a pod that ends: unready first, SIGTERM later; clients stop
while it lingers, as a load balancer has them do.

UPGRADES in the environment makes it shorter.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import traffic
from harness.process import Process
from harness.siding import Siding
from harness.waiting import until
from installation import Installation
from verdict import Figure, Note

UPGRADES = int(os.environ.get("UPGRADES", "5"))
SECONDS_EACH = 10
# Requests end before the linger does.
DRAIN_SECONDS, LINGER_SECONDS = 12, 15
STARTED = "siding_config_last_reload_success_timestamp_seconds"


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """Failed requests, of upgrades and of a drain."""
    settings = {**traffic.SETTINGS, "server": {"threads": 0, "linger": f"{LINGER_SECONDS}s"}}
    with traffic.stub(directory) as stub, Siding(directory, stub.address, stub.provider_url, settings) as siding:
        with traffic.under(directory, siding, UPGRADES * SECONDS_EACH + 5) as flowing:
            pid = siding.pid
            for _number in range(UPGRADES):
                pid = upgrade(siding, pid)
            assert not flowing.is_over(), "the upgrades took longer than the requests"
            outcome = flowing.outcome()
        yield verdict(f"failed requests of {UPGRADES} upgrades", outcome)
        with traffic.under(directory, siding, DRAIN_SECONDS) as flowing:
            until("requests", lambda: siding.value("siding_requests_total") > 1000, 30)
            siding.page("/-/drain")
            until("unreadiness", lambda: siding.page("/readyz").status == 503)
            os.kill(pid, signal.SIGTERM)
            outcome = flowing.outcome()
        yield verdict("failed requests of a drain", outcome)


def verdict(name: str, outcome: traffic.Outcome) -> Figure:
    """None may fail."""
    details = f"{outcome.good:,} answered, p99 of streamed ones {outcome.p99_ms:.1f} ms; errors: {outcome.errors}"
    return Figure(name, outcome.failed, "at most", 0, details=details)


def upgrade(siding: Siding, pid: int) -> int:
    """Waits until another process serves and the old one is gone. Returns its number."""
    before = siding.value(STARTED)
    os.kill(pid, signal.SIGUSR2)
    until("another process", lambda: siding.value(STARTED) != before, 30)
    until("the end of the old one", lambda: is_gone(siding, pid), 30)
    (successor,) = [child for child in siding.children() if child != pid] or [siding.pid]
    return successor


def is_gone(process: Process, pid: int) -> bool:
    """Whether a process of the group has ended, waited for or not."""
    if pid == process.pid:
        return not process.is_running()
    return not os.path.exists(f"/proc/{pid}")
