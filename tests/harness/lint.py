"""Lint and format check of tests/, examples/ and generators with ruff: `python tests/harness/lint.py DIRECTORY`.

django/ has rules and a check of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.environments import environment, interpreters  # noqa: E402

FOLDERS = ["tests", "examples", "dashboards", "deploy"]
# The same as django/tests/matrix.py, so that the environment is shared.
TOOLS = ["ruff>=0.9", "mypy>=1.14", "Django", "urllib3>=2", "types-requests"]


def main() -> int:
    python = environment(Path(sys.argv[1]), "lint", interpreters()[-1], TOOLS)
    checks = [["check"], ["format", "--check"]]
    results = [subprocess.run([python, "-m", "ruff", *check, *FOLDERS], cwd=ROOT).returncode for check in checks]
    return max(results)


if __name__ == "__main__":
    sys.exit(main())
