"""Run the end-to-end tests: makes the environments, then runs pytest.

    python tests/e2e/run.py DIRECTORY [pytest arguments]
    python tests/e2e/run.py DIRECTORY --prepare         # makes the environments only

DIRECTORY keeps the environments: one for the tests, one for the chat project on the oldest and one on the newest Django
that this machine can run, one for the Python and one for the JavaScript libraries that call LLMs. The programs that are
tested are those of `make binaries`; with SIDING_PROFILE=debug, those of `cargo build`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS))

from harness.environments import (  # noqa: E402
    Cell,
    cells,
    environment,
    install_again,
    listed,
    node_environment,
    say,
)
from harness.prerequisites import STATIC_TARGET  # noqa: E402

SERVERS = ["gunicorn[gevent]", "granian>=2"]
# At once, for each core: a test mostly waits, for its programs to start and for what it has them do.
PROCESSES_PER_CORE = 3
# Each claims addresses of its own, of which there are twelve blocks.
MOST_PROCESSES = 10


@dataclass(frozen=True)
class Prepared:
    """The Python that runs the tests, and what they are told in the environment."""

    runner: Path
    told: dict[str, str]


def main() -> int:
    directory, arguments = Path(sys.argv[1]), sys.argv[2:]
    chosen = cells()
    prepared = prepare(directory, chosen)
    if arguments == ["--prepare"]:
        return 0
    combinations = ", ".join(f"{cell.interpreter.name} with {cell.django}" for cell in chosen)
    say(f"end to end, the chat project on {combinations}")
    processes = min(PROCESSES_PER_CORE * (os.cpu_count() or 1), MOST_PROCESSES)
    options = ["-p", "no:cacheprovider", f"--numprocesses={processes}", "--dist=worksteal"]
    command = [str(prepared.runner), "-m", "pytest", *options, *arguments]
    return subprocess.run(command, cwd=TESTS / "e2e", env={**os.environ, **programs(), **prepared.told}).returncode


def prepare(directory: Path, chosen: list[Cell]) -> Prepared:
    """Makes what is not there yet."""
    interpreter, e2e = chosen[-1].interpreter, TESTS / "e2e"
    runner = environment(directory, "e2e", interpreter, listed(e2e / "requirements.txt"))
    sdks = environment(directory, "sdks", interpreter, listed(e2e / "requirements-sdks.txt"))
    node = node_environment(directory, "js", e2e / "js")
    apps = {cell.label: app(directory, cell) for cell in chosen}
    told = {
        "CHAT_PYTHONS": os.pathsep.join(f"{label}={python}" for label, python in apps.items()),
        "SDKS_PYTHON": str(sdks),
        "SDKS_NODE": str(node),
    }
    return Prepared(runner, told)


def programs() -> dict[str, str]:
    """Which programs are tested: as they are shipped, unless a profile is chosen."""
    return {} if "SIDING_PROFILE" in os.environ else {"SIDING_TARGET": STATIC_TARGET}


def app(directory: Path, cell: Cell) -> Path:
    """An environment for the chat project with the package of this checkout."""
    requirements = [*cell.requirements, *SERVERS, *listed(ROOT / "examples" / "chat" / "requirements.txt")]
    python = environment(directory, "chat", cell.interpreter, requirements)
    install_again(python, ROOT / "django")
    return python


if __name__ == "__main__":
    sys.exit(main())
