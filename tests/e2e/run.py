"""Run the end-to-end tests: makes the environments, then runs pytest.

    python tests/e2e/run.py DIRECTORY [pytest arguments]

DIRECTORY keeps the environments: one for the tests, one for the chat project on the oldest and one on the newest Django
that this machine can run, one for the Python and one for the JavaScript libraries that call LLMs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS))

from harness.environments import Cell, cells, environment, listed, node_environment, pip, run, say  # noqa: E402

SERVERS = ["gunicorn[gevent]", "granian>=2"]


def main() -> int:
    directory, arguments = Path(sys.argv[1]), sys.argv[2:]
    chosen = cells()
    runner = environment(directory, "e2e", chosen[-1].interpreter, listed(TESTS / "e2e" / "requirements.txt"))
    sdks = environment(directory, "sdks", chosen[-1].interpreter, listed(TESTS / "e2e" / "requirements-sdks.txt"))
    node = node_environment(directory, "js", TESTS / "e2e" / "js")
    apps = {cell.label: app(directory, cell) for cell in chosen}
    combinations = ", ".join(f"{cell.interpreter.name} with {cell.django}" for cell in chosen)
    say(f"end to end, the chat project on {combinations}")
    told = {
        "CHAT_PYTHONS": os.pathsep.join(f"{label}={python}" for label, python in apps.items()),
        "SDKS_PYTHON": str(sdks),
        "SDKS_NODE": str(node),
    }
    # Four at once on two cores: each test mostly waits for its programs to start. Addresses are claimed by process.
    options = ["-p", "no:cacheprovider", "--numprocesses=4", "--dist=worksteal"]
    command = [str(runner), "-m", "pytest", *options, *arguments]
    return subprocess.run(command, cwd=TESTS / "e2e", env={**os.environ, **told}).returncode


def app(directory: Path, cell: Cell) -> Path:
    """An environment for the chat project with the package of this checkout."""
    requirements = [*cell.requirements, *SERVERS, *listed(ROOT / "examples" / "chat" / "requirements.txt")]
    python = environment(directory, "chat", cell.interpreter, requirements)
    run([*pip(python), "--force-reinstall", "--no-deps", str(ROOT / "django")])
    return python


if __name__ == "__main__":
    sys.exit(main())
