"""What Siding's heap holds while calls are pending: `python tests/load/heap.py DIRECTORY [CALLS]`.

Runs Siding under heaptrack with the stub app, whose provider is slow, ends it while all calls are pending, and prints
who had allocated what was there then. The report has function names; for lines too, build with
CARGO_PROFILE_RELEASE_DEBUG=1 CARGO_PROFILE_RELEASE_STRIP=none CARGO_TARGET_DIR=target/lines, and run with the same
CARGO_TARGET_DIR. The raw data stays in DIRECTORY.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from harness.siding import Siding  # noqa: E402
from harness.waiting import until  # noqa: E402
from stub import BINARY, Stub  # noqa: E402
from tools import require  # noqa: E402

PATIENCE = "15m"
# Calls that are begun in a second.
RATE = 200
# Of the report.
STACKS, FRAMES, WIDTH = 25, 6, 150
ESCAPES = {"$LT$": "<", "$GT$": ">", "$u20$": " ", "$u7b$": "{", "$u7d$": "}", "$C$": ",", "$RF$": "&", "..": "::"}


class Watched(Siding):
    """Siding under heaptrack, which starts it as a child."""

    def __init__(self, directory: Path, stub: Stub, data: Path) -> None:
        settings = {
            "backend": {"workers": 1000},
            "log": {"filter": "warn"},
            "handoff": {"deadline": PATIENCE},
            "providers": {"openai": {"timeout": {"first_byte": PATIENCE, "total": PATIENCE}}},
        }
        super().__init__(directory, stub.address, stub.provider_url, settings)
        self.command = ["heaptrack", "--output", str(data), *self.command]

    def finish(self) -> None:
        """Ends Siding at once, and lets heaptrack write what it knows."""
        (siding,) = (pid for pid in self.children() if Path(f"/proc/{pid}/comm").read_text() == "siding\n")
        os.kill(siding, signal.SIGINT)
        self.wait(300)


def main() -> int:
    """The exit code."""
    require("heaptrack", "c++filt")
    home, calls = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    home.mkdir(parents=True, exist_ok=True)
    data = home / f"heap-of-{calls}-calls"
    with tempfile.TemporaryDirectory(prefix="siding-heap-") as name:
        record(Path(name), data, calls)
    held = stacks(data.with_name(f"{data.name}.zst"))
    print(
        f"{sum(held.values()) / calls:.0f} bytes of heap a call, the process's own included; by stack, innermost first:"
    )
    for stack, size in held.most_common(STACKS):
        print(f"{size / calls:8.0f}", *stack[:FRAMES], sep="\n             ")
    return 0


def record(directory: Path, data: Path, calls: int) -> None:
    """All calls, pending, and an end."""
    with Stub(directory, "--latency", PATIENCE) as stub, Watched(directory, stub, data) as siding:
        arguments = ["--name", "heap", "--rate", str(RATE), "--requests", str(calls), "--url"]
        with subprocess.Popen([BINARY, "visit", *arguments, f"{siding.address}/call"]) as clients:
            try:
                patience = 60 + 2 * calls / RATE
                until("all calls", lambda: siding.value("siding_exchanges_suspended") == calls, patience)
            finally:
                clients.send_signal(signal.SIGSTOP)  # its connections are to stay while the heap is looked at
                siding.finish()
                clients.kill()


def stacks(data: Path) -> Counter[tuple[str, ...]]:
    """What is held when most is, by who allocated it; innermost first, without the allocator."""
    folded = data.with_suffix(".stacks")
    quiet = ["--print-peaks=0", "--print-allocators=0", "--print-temporary=0", "--flamegraph-cost-type=peak"]
    command = ["heaptrack_print", *quiet, "-F", str(folded), "-f", str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    named = subprocess.run(["c++filt"], stdin=folded.open(), capture_output=True, text=True, check=True).stdout
    held: Counter[tuple[str, ...]] = Counter()
    for line in named.splitlines():
        frames, _, size = line.rpartition(" ")
        names = [readable(frame.strip()) for frame in frames.split(";")]
        inner = itertools.dropwhile(lambda name: not name or name.startswith(("0x", "alloc::")), reversed(names))
        held[tuple(name for name in inner if not name.startswith("0x"))] += int(size)
    return held


def readable(name: str) -> str:
    """A function's name without escapes and hash."""
    for escape, meant in ESCAPES.items():
        name = name.replace(escape, meant)
    return re.sub(r"::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]", "", name).replace("::_{", "::{").lstrip("_")[:WIDTH]


if __name__ == "__main__":
    sys.exit(main())
