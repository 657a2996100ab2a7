"""What is measured, made when it is not there yet: release binaries, and a Python with every server."""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path

from harness.backend import CHAT
from harness.environments import DJANGOS, Interpreter, environment, install_again, interpreters, listed, run
from harness.process import ROOT

CHART = ROOT / "tests" / "load" / "benchmark" / "chart.py"
SERVERS = ["gunicorn[gevent]", "granian>=2", "uvicorn[standard]", "adrf", "psycopg[binary]>=3.2"]


class Installation:
    """Binaries, and interpreters in `cache`."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def build(self) -> None:
        """Release binaries; cargo shows its own progress."""
        subprocess.run(["cargo", "build", "--release", "--workspace", "--locked"], cwd=ROOT, check=True)

    @cached_property
    def python(self) -> str:
        """An interpreter with the chat project's requirements, all servers and the package of this checkout."""
        interpreter = self.interpreter
        django = [name for name, (first, last, _) in DJANGOS.items() if first <= interpreter.version <= last][-1]
        requirements = [django, DJANGOS[django][2], *SERVERS, *listed(CHAT / "requirements.txt")]
        made = environment(self.cache, "bench", interpreter, requirements)
        install_again(made, ROOT / "django")
        return str(made)

    @cached_property
    def interpreter(self) -> Interpreter:
        """The newest one."""
        return interpreters()[-1]

    def draw(self, results: Path, chart: Path) -> None:
        """The chart, by an interpreter of its own."""
        python = environment(self.cache, "chart", self.interpreter, ["matplotlib>=3.10"])
        run([str(python), str(CHART), str(results), str(chart)])
