"""Environments that are kept: each is named after a hash of what is installed in it, so that it is made once. Virtual
environments for Python, folders with `node_modules` for JavaScript. Several programs may want one at once: the first
makes it, the others wait. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness.once import locked

PYTHONS = [(3, minor) for minor in range(10, 15)]

# Each Django with the Pythons it runs on and the REST framework of its time.
DJANGOS = {
    "Django>=4.2,<5.0": ((3, 10), (3, 12), "djangorestframework>=3.15,<3.16"),
    "Django>=5.2,<6.0": ((3, 10), (3, 14), "djangorestframework>=3.16"),
    "Django>=6.0,<7.0": ((3, 12), (3, 14), "djangorestframework>=3.16"),
}


# Nothing but the packages is wanted, and nothing of theirs is run at the installation.
NPM_OPTIONS = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error"]


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine."""

    version: tuple[int, int]
    path: str

    @property
    def name(self) -> str:
        """For people."""
        return f"Python {self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Cell:
    """One combination of Python and Django."""

    label: str
    interpreter: Interpreter
    django: str

    @property
    def requirements(self) -> list[str]:
        """Django and the REST framework of its time."""
        return [self.django, DJANGOS[self.django][2]]


def say(text: str) -> None:
    """Progress, at once."""
    print(f"-- {text}", flush=True)


def interpreters() -> list[Interpreter]:
    """The oldest first, one of each version."""
    found: dict[tuple[int, int], Interpreter] = {}
    for path in _candidates():
        version = _version_of(path)
        if version in PYTHONS and version not in found:
            found[version] = Interpreter(version, path)
    if not found:
        sys.exit("no Python from 3.10 to 3.14 with venv was found: apt install python3 python3-venv")
    return [found[version] for version in sorted(found)]


def cells() -> list[Cell]:
    """The oldest and the newest combination that this machine can run."""
    available = interpreters()
    oldest, newest = available[0], available[-1]
    if oldest == newest:
        say(f"only {oldest.name} was found: the oldest and the newest Django it supports run on it")
    chosen = [Cell("oldest", oldest, _supported(oldest)[0]), Cell("newest", newest, _supported(newest)[-1])]
    return chosen[:1] if oldest == newest and chosen[0].django == chosen[1].django else chosen


def environment(directory: Path, name: str, interpreter: Interpreter, requirements: list[str]) -> Path:
    """The Python of an environment that has the requirements; made if it is not there yet."""
    key = "\n".join([interpreter.path, str(interpreter.version), *requirements])
    home = directory.resolve() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    python = home / "bin" / "python"
    with locked(home):
        if (home / "complete").exists():
            return python
        started = time.monotonic()
        say(f"making the environment {home.name}: {interpreter.name}, {', '.join(requirements)}")
        shutil.rmtree(home, ignore_errors=True)
        run([interpreter.path, "-m", "venv", str(home)])
        run([*pip(python), *requirements])
        (home / "complete").touch()
        say(f"made in {time.monotonic() - started:.0f} s")
        return python


def install_again(python: Path, package: Path) -> None:
    """Puts this checkout's package into an environment: for real, not editable, so that what is missing from the wheel
    is missed."""
    with locked(python.parents[1]):
        run([*pip(python), "--force-reinstall", "--no-deps", str(package)])


def node_environment(directory: Path, name: str, programs: Path) -> Path:
    """A folder with the packages that `programs` needs, by its package.json, and `programs` in it."""
    manifest = programs / "package.json"
    home = directory.resolve() / f"{name}-{hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]}"
    with locked(home):
        if not (home / "complete").exists():
            say(f"making the environment {home.name}: the packages of {manifest.name}")
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            shutil.copy(manifest, home)
            run(["npm", "install", *NPM_OPTIONS], cwd=home)
            (home / "complete").touch()
        # Packages are searched from where a program is found, so it must be found here.
        linked = home / "programs"
        linked.unlink(missing_ok=True)
        linked.symlink_to(programs.resolve())
        return home


def listed(file: Path) -> list[str]:
    """The requirements in a file."""
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def pip(python: Path) -> list[str]:
    """The beginning of a command that installs."""
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def run(command: list[str], cwd: Path | None = None) -> None:
    """Runs a command that must succeed, and in which nothing but what is installed is to be found."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(command, cwd=cwd, env=clean, check=True)


def _candidates() -> list[str]:
    names = [f"python{major}.{minor}" for major, minor in PYTHONS]
    on_path = [path for name in names if (path := shutil.which(name))]
    installed = sorted(str(path) for path in Path.home().glob(".pyenv/versions/*/bin/python"))
    return [*on_path, *installed, sys.executable]


def _version_of(path: str) -> tuple[int, int] | None:
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


def _supported(interpreter: Interpreter) -> list[str]:
    return [django for django, (first, last, _) in DJANGOS.items() if first <= interpreter.version <= last]
