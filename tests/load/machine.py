"""Where and beside what a measurement is made."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path


def describe() -> str:
    """One line about this machine."""
    linux = platform.release().partition("-")[0]
    return f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, Linux {linux}, load {load():.1f}"


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_gib() -> float:
    """All of it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def load() -> float:
    """The mean number of runnable processes in the last minute."""
    return os.getloadavg()[0]


@dataclasses.dataclass(frozen=True)
class CpuTimes:
    """What all cores together did since the machine started, in seconds."""

    busy: float
    """For processes, the kernel's work for them included."""
    interrupts: float
    """Much of the network's work on the loopback."""
    stolen: float
    """Given to other guests of the host."""

    @classmethod
    def now(cls) -> CpuTimes:
        """From the first line of /proc/stat."""
        ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
        tick = 1 / os.sysconf("SC_CLK_TCK")
        return cls((user + nice + system) * tick, (irq + softirq) * tick, steal * tick)
