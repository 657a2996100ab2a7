"""Run the tests on the oldest and the newest Python and Django that this machine can.

    python django/tests/matrix.py DIRECTORY [--lint] [--only oldest|newest] [pytest arguments]

DIRECTORY keeps the virtual environments, so that only the package itself is installed again. Needs
nothing but the standard library and pip.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACKAGE.parent / "tests"))

from harness.environments import (  # noqa: E402
    Cell,
    Interpreter,
    cells,
    environment,
    install_again,
    listed,
    run,
    say,
)

LINT = ["ruff>=0.9", "mypy>=1.14", "Django", "urllib3>=2", "types-requests"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the virtual environments are kept")
    parser.add_argument("--lint", action="store_true", help="run ruff and mypy too")
    parser.add_argument("--only", choices=["oldest", "newest"])
    options, pytest_arguments = parser.parse_known_args()
    chosen = [cell for cell in cells() if options.only in (None, cell.label)]
    failures = []
    if options.lint and not lint(options.directory, chosen[-1].interpreter):
        failures.append("lint")
    failures += [
        cell.label for cell in chosen if not test(cell, options.directory, pytest_arguments)
    ]
    say(f"django-siding failed: {', '.join(failures)}" if failures else "django-siding passed")
    return 1 if failures else 0


def test(cell: Cell, directory: Path, arguments: list[str]) -> bool:
    requirements = [*cell.requirements, *listed(PACKAGE / "tests" / "requirements.txt")]
    python = environment(directory, "django", cell.interpreter, requirements)
    install_again(python, PACKAGE)
    started = time.monotonic()
    say(f"{cell.label}: {cell.interpreter.name}, {versions(python)}")
    ok = passes([str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments])
    took = time.monotonic() - started
    say(f"{cell.label}: {'passed' if ok else 'FAILED'} in {took:.0f} s")
    return ok


def versions(python: Path) -> str:
    script = (
        "import django, rest_framework, django_siding;"
        "print(f'Django {django.__version__}, REST framework {rest_framework.VERSION},',"
        "'django_siding from', 'site-packages' if 'site-packages' in django_siding.__file__ else"
        " django_siding.__file__)"
    )
    return subprocess.run(
        [str(python), "-c", script], capture_output=True, text=True, cwd=PACKAGE / "tests"
    ).stdout.strip()


def lint(directory: Path, interpreter: Interpreter) -> bool:
    started = time.monotonic()
    python = str(environment(directory, "lint", interpreter, LINT))
    checks = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
    results = [passes([python, "-m", *check]) for check in checks]
    ok = all(results)
    say(f"lint {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return ok


def passes(command: list[str]) -> bool:
    try:
        run(command, cwd=PACKAGE)
    except subprocess.CalledProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
