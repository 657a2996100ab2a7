"""Measure the figures that Siding promises: each is a command that prints a verdict.

    python tests/load/run.py DIRECTORY [NAME ...]

Each NAME is a module in tests/load/figures; without one, all are measured in turn. DIRECTORY keeps the virtual
environments. Exits with 1 when a figure falls short.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import figures  # noqa: E402
from installation import Installation  # noqa: E402
from machine import describe  # noqa: E402


def main() -> int:
    """The exit code."""
    cache, names = Path(sys.argv[1]), sys.argv[2:]
    known = sorted(module.name for module in pkgutil.iter_modules(figures.__path__))
    if unknown := set(names) - set(known):
        print(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    installation = Installation(cache)
    installation.build()
    print(describe(), flush=True)
    short = 0
    for name in names or known:
        module = importlib.import_module(f"figures.{name}")
        print(f"\n== {name}: {module.__doc__.splitlines()[0]}", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"siding-{name}-") as directory:
            for figure in module.measure(Path(directory), installation):
                short += not figure.holds
                print(figure, flush=True)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
