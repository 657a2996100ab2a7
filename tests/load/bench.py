"""Measure the public benchmark, or render what it measured.

    python tests/load/bench.py DIRECTORY [--only WORD ...] [--quick] [--render]

DIRECTORY keeps the virtual environments. A whole run takes about half an hour and writes docs/benchmark; one of some
cells, or a quick one, writes DIRECTORY/benchmark. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from benchmark.conditions import conditions  # noqa: E402
from benchmark.measurement import measure  # noqa: E402
from benchmark.plan import Cell, cells  # noqa: E402
from benchmark.progress import Progress  # noqa: E402
from benchmark.ratios import ratios  # noqa: E402
from benchmark.readme import updated  # noqa: E402
from benchmark.results import Results  # noqa: E402
from benchmark.stand import make_database  # noqa: E402
from benchmark.table import page  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.process import ROOT, ProcessFailed  # noqa: E402
from installation import Installation  # noqa: E402

PUBLISHED = ROOT / "docs" / "benchmark"
README = ROOT / "README.md"


def main() -> int:
    """The exit code."""
    # To be told to end is to be interrupted: everything that runs is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parsed()
    installation = Installation(options.directory)
    if options.render:
        return render(installation, PUBLISHED)
    try:
        chosen = cells(options.only, options.quick)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    installation.build()
    whole = not (options.only or options.quick)
    folder = options.directory / "benchmark"
    results = run(chosen, installation, folder / "results.json")
    if whole:
        PUBLISHED.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "results.json", PUBLISHED)
    render(installation, PUBLISHED if whole else folder)
    return 1 if any("failure" in cell for cell in results.cells) else 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the virtual environments are kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="servers, latency=N, concurrency=N")
    parser.add_argument("--quick", action="store_true", help="short windows, to see whether all works")
    parser.add_argument("--render", action="store_true", help="make table and chart again from docs/benchmark")
    return parser.parse_args()


def run(chosen: list[Cell], installation: Installation, path: Path) -> Results:
    """Measures cell after cell; what there is so far is always in the file."""
    # A descriptor for each client and each call; servers inherit the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    began = time.monotonic()
    python = installation.python
    with tempfile.TemporaryDirectory(prefix="siding-bench-") as name:
        directory = Path(name)
        with Postgres(directory) as postgres:
            make_database(directory, python, postgres)
            results = Results(conditions(python, postgres))
            progress = Progress(chosen)
            for cell in chosen:
                results.cells.append(progress.told(cell, attempt(cell, directory, python, postgres)))
                results.conditions["minutes"] = round((time.monotonic() - began) / 60)
                results.write(path)
    return results


def attempt(cell: Cell, directory: Path, python: str, postgres: Postgres) -> dict:
    """A cell that cannot be measured is told as such, and the others go on."""
    try:
        return measure(cell, directory, python, postgres)
    except (ProcessFailed, AssertionError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        point = cell.point
        place = {"server": cell.setup.name, "latency_s": point.latency, "concurrency": point.concurrency}
        return {**place, "failure": str(error).splitlines()[0], "throughput": 0.0, "answered": 0, "errors": {}}


def render(installation: Installation, folder: Path) -> int:
    """Table and chart beside the results; prints the ratios."""
    results = Results.read(folder / "results.json")
    (folder / "results.md").write_text(page(results))
    if folder == PUBLISHED:
        README.write_text(updated(README.read_text(), results))
    installation.draw(folder / "results.json", folder / "chart.svg")
    print(f"\nin {folder}: results.json, results.md, chart.svg\n")
    for figure in ratios(results):
        print(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
