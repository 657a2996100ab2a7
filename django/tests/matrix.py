"""Run the tests on the oldest and the newest Python and Django that this machine can.

    python django/tests/matrix.py DIRECTORY [--lint] [--only oldest|newest] [pytest arguments]

DIRECTORY keeps the virtual environments, each named after a hash of what is installed in it, so
that only the package itself is installed again. Needs nothing but the standard library and pip.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
REQUIREMENTS = PACKAGE / "tests" / "requirements.txt"
LINT = ["ruff>=0.9", "mypy>=1.14"]

PYTHONS = [(3, minor) for minor in range(10, 15)]

# Each Django with the Pythons it runs on and the REST framework of its time.
DJANGOS = {
    "Django>=4.2,<5.0": ((3, 10), (3, 12), "djangorestframework>=3.15,<3.16"),
    "Django>=5.2,<6.0": ((3, 10), (3, 14), "djangorestframework>=3.16"),
    "Django>=6.0,<7.0": ((3, 12), (3, 14), "djangorestframework>=3.16"),
}


@dataclass(frozen=True)
class Interpreter:
    version: tuple[int, int]
    path: str

    @property
    def name(self) -> str:
        return f"Python {self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Cell:
    """One combination."""

    label: str
    interpreter: Interpreter
    django: str

    @property
    def requirements(self) -> list[str]:
        listed = [line.strip() for line in REQUIREMENTS.read_text().splitlines()]
        return [self.django, DJANGOS[self.django][2], *filter(None, listed)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where the virtual environments are kept")
    parser.add_argument("--lint", action="store_true", help="run ruff and mypy too")
    parser.add_argument("--only", choices=["oldest", "newest"])
    options, pytest_arguments = parser.parse_known_args()
    directory = options.directory.resolve()
    cells = [cell for cell in choose(interpreters()) if options.only in (None, cell.label)]
    failures = []
    if options.lint and not lint(directory, cells[-1].interpreter):
        failures.append("lint")
    failures += [cell.label for cell in cells if not test(cell, directory, pytest_arguments)]
    say(f"failed: {', '.join(failures)}" if failures else "all passed")
    return 1 if failures else 0


def say(text: str) -> None:
    print(f"matrix: {text}", flush=True)


def interpreters() -> list[Interpreter]:
    """The oldest first, one of each version."""
    found: dict[tuple[int, int], Interpreter] = {}
    for path in candidates():
        version = version_of(path)
        if version in PYTHONS and version not in found:
            found[version] = Interpreter(version, path)
    if not found:
        sys.exit("matrix: no Python from 3.10 to 3.14 was found")
    return [found[version] for version in sorted(found)]


def candidates() -> list[str]:
    names = [f"python{major}.{minor}" for major, minor in PYTHONS]
    on_path = [path for name in names if (path := shutil.which(name))]
    installed = sorted(str(path) for path in Path.home().glob(".pyenv/versions/*/bin/python"))
    return [*on_path, *installed, sys.executable]


def version_of(path: str) -> tuple[int, int] | None:
    """Asked of the interpreter itself: a shim may be there and not work."""
    script = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        result = subprocess.run([path, "-c", script], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode != 0:
        return None
    major, minor = result.stdout.split()
    return int(major), int(minor)


def choose(available: list[Interpreter]) -> list[Cell]:
    oldest, newest = available[0], available[-1]
    if oldest == newest:
        say(f"only {oldest.name} was found: both Djangos that it supports run on it")
    cells = [
        Cell("oldest", oldest, supported(oldest)[0]),
        Cell("newest", newest, supported(newest)[-1]),
    ]
    if cells[0].django == cells[1].django and oldest == newest:
        say("it supports only one")
        return cells[:1]
    return cells


def supported(interpreter: Interpreter) -> list[str]:
    return [
        django
        for django, (first, last, _) in DJANGOS.items()
        if first <= interpreter.version <= last
    ]


def environment(directory: Path, interpreter: Interpreter, requirements: list[str]) -> Path:
    """The Python of an environment that has them; made if it is not there yet."""
    key = "\n".join([interpreter.path, str(interpreter.version), *requirements])
    home = directory / f"django-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    started = time.monotonic()
    say(f"making {home.name}: {interpreter.name}, {', '.join(requirements)}")
    shutil.rmtree(home, ignore_errors=True)
    run([interpreter.path, "-m", "venv", str(home)], check=True)
    run([*pip(python), *requirements], check=True)
    (home / "complete").touch()
    say(f"made in {time.monotonic() - started:.1f} s")
    return python


def pip(python: Path) -> list[str]:
    quiet = ["--quiet", "--disable-pip-version-check"]
    return [str(python), "-m", "pip", "install", *quiet]


def test(cell: Cell, directory: Path, arguments: list[str]) -> bool:
    started = time.monotonic()
    python = environment(directory, cell.interpreter, cell.requirements)
    # For real, not editable: what is missing from the wheel is to be missed here.
    run([*pip(python), "--force-reinstall", "--no-deps", str(PACKAGE)], check=True)
    installed = time.monotonic()
    say(f"{cell.label}: {cell.interpreter.name}, {versions(python)}")
    ok = run([str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments])
    say(
        f"{cell.label}: {'passed' if ok else 'FAILED'} in {time.monotonic() - installed:.1f} s "
        f"(installation {installed - started:.1f} s)"
    )
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
    python = str(
        environment(directory, interpreter, [*LINT, "Django", "urllib3>=2", "types-requests"])
    )
    checks = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
    results = [run([python, "-m", *check]) for check in checks]
    ok = all(results)
    say(f"lint {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.1f} s")
    return ok


def run(command: list[str], check: bool = False) -> bool:
    # Nothing but what is installed is to be found.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, cwd=PACKAGE, env=clean, check=check).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
