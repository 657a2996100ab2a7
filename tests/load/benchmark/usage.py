"""Who used the processors: everything the benchmark started, and the rest of the machine."""

from __future__ import annotations

import os
import time

from harness.load_driver import LoadDriver
from harness.process import cpu_seconds
from machine import CpuTimes

from benchmark.stand import Stand


class Usage:
    """CPU seconds by user since it was made."""

    def __init__(self, stand: Stand, driver: LoadDriver) -> None:
        server = [stand.server.pid, *stand.server.children()]
        siding = [stand.siding.pid] if stand.siding else []
        self._pids = {"server": server, "siding": siding, "llm": [stand.llm.pid], "driver": [driver.pid]}
        self._postgres = stand.postgres
        self._start = self._now()
        self._began = time.monotonic()

    def since(self, window: float) -> dict[str, float]:
        """What a window of this length used; the time that has passed may differ from it a little."""
        scale = window / (time.monotonic() - self._began)
        used = {name: (now - self._start[name]) * scale for name, now in self._now().items()}
        used["others"] = max(0.0, used.pop("all") - sum(used[name] for name in (*self._pids, "postgres", "bench")))
        return {name: round(seconds, 3) for name, seconds in used.items()}

    def _now(self) -> dict[str, float]:
        machine = CpuTimes.now()
        known = {name: sum(map(cpu_seconds, pids)) for name, pids in self._pids.items()}
        return {
            **known,
            "postgres": self._postgres.cpu_seconds(),
            "bench": cpu_seconds(os.getpid()),
            "all": machine.busy,
            "interrupts": machine.interrupts,
            "stolen": machine.stolen,
        }
