"""One cell, measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from harness.load_driver import LoadDriver, asking
from harness.postgres import Postgres
from machine import load

from benchmark.plan import Cell
from benchmark.sampling import Sampler
from benchmark.stand import Stand, running
from benchmark.usage import Usage

# Processors are read a little before the load ends, while all processes are there.
MARGIN_SECONDS = 0.1
DRIVER_TIMEOUT = "10m"
MIB = 2**20


def measure(cell: Cell, directory: Path, python: str, postgres: Postgres) -> dict[str, Any]:
    """The cell's record, as it is kept."""
    load_before = load()
    with running(cell, directory, python, postgres) as stand:
        record = measured(cell, stand, directory)
    return {
        "server": cell.setup.name,
        "latency_s": cell.point.latency,
        "concurrency": cell.point.concurrency,
        "ramp_up_s": cell.point.ramp_up,
        "warm_up_s": cell.point.warm_up,
        **record,
        "load_before": round(load_before, 2),
    }


def measured(cell: Cell, stand: Stand, directory: Path) -> dict[str, Any]:
    """Loads it and looks at everything meanwhile."""
    window = cell.point.window
    with LoadDriver(directory, stand.url, *flags(cell)) as driver:
        began = time.monotonic()
        usage = Usage(stand, driver)
        with Sampler(stand) as sampler:
            time.sleep(max(0.0, began + window - MARGIN_SECONDS - time.monotonic()))
            cpu = usage.since(window)
        result = driver.result(patience=30)
    return {**outcome(result), **costs(cpu, result["good"]), **held(sampler)}


def flags(cell: Cell) -> list[str]:
    """The driver's."""
    point = cell.point
    times = ["--ramp-up", f"{point.ramp_up * 1000:.0f}ms", "--warm-up", f"{point.warm_up * 1000:.0f}ms"]
    times += ["--duration", f"{point.window:g}s", "--leave", "--timeout", DRIVER_TIMEOUT]
    return [*asking(point.concurrency), *times]


def outcome(result: dict[str, Any]) -> dict[str, Any]:
    """What the clients saw. Latencies are of the answers that came."""
    latency = result["latency_ms"]
    return {
        "window_s": round(result["seconds"], 2),
        "answered": result["good"],
        "throughput": round(result["throughput"], 3),
        "latency_ms": {name: round(latency[name], 1) for name in ("p50", "p99")} if latency else None,
        "errors": result["errors"],
        "unanswered": result["unanswered"],
    }


def costs(cpu: dict[str, float], answered: int) -> dict[str, Any]:
    """Processor time, of everyone in the window and of the server for one chat."""
    shares = {"server": cpu["server"], "siding": cpu["siding"], "total": cpu["server"] + cpu["siding"]}
    per_chat = {name: round(1000 * seconds / answered, 3) for name, seconds in shares.items()} if answered else None
    return {"cpu_ms_per_chat": per_chat, "cpu_s": cpu}


def held(sampler: Sampler) -> dict[str, Any]:
    """Memory and the database's connections, at most."""
    memory = {"server": sampler.server_bytes, "siding": sampler.siding_bytes, "total": sampler.total_bytes}
    return {
        "memory_mib": {name: round(count / MIB, 1) for name, count in memory.items()},
        "connections": sampler.activity.connections,
        "transactions": sampler.activity.transactions,
        "idle_transactions": sampler.activity.idle_transactions,
        "samples": sampler.samples,
    }
