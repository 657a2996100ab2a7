#!/usr/bin/env python3
"""What must be on the machine, and what to install where it is not.

    python3 tests/harness/prerequisites.py [demo|test|bench]

Prints each thing that `make demo`, `make test` or `make bench` misses (without an argument: that any of them does)
and exits with 1 if there is any. Runs on Python 3.8, so that an older one than needed is told so.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PURPOSES = ("demo", "test", "bench")
OLDEST_PYTHON = (3, 10)
OLDEST_NODE = 20
# kubectl 1.27 has it; Debian has a newer one since 13.
OLDEST_KUSTOMIZE = 5
# What end-to-end tests run is built for it, as what the image ships: no library of the machine is needed.
STATIC_TARGET = f"{platform.machine()}-unknown-linux-musl"


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) > 1 or not set(arguments) <= set(PURPOSES):
        print("usage: prerequisites.py [demo|test|bench]", file=sys.stderr)
        return 2
    lines = missing(arguments or PURPOSES)
    if lines:
        commands = " and ".join(f"make {purpose}" for purpose in arguments or PURPOSES)
        print(f"Missing for {commands}:", *lines, sep="\n  ", file=sys.stderr)
    return 1 if lines else 0


def missing(purposes: list[str] | tuple[str, ...]) -> list[str]:
    """One line for each thing that is missing."""
    chosen = [check for purpose, check in CHECKS if purpose in (None, *purposes)]
    return [line for check in chosen for line in check()]


def linux() -> list[str]:
    """Processes and their memory are read from /proc."""
    return [] if sys.platform.startswith("linux") else ["Linux: processes are read from /proc"]


def cargo() -> list[str]:
    """As new as Cargo.toml says."""
    wanted = rust_version()
    version = re.match(r"cargo (\d+)\.(\d+)", output("cargo"))
    if version is None:
        return [f"Rust {dotted(wanted)} or later: https://rustup.rs"]
    found = (int(version[1]), int(version[2]))
    if found < wanted:
        return [f"Rust {dotted(wanted)} or later, {dotted(found)} was found: rustup update"]
    return []


def rust_components() -> list[str]:
    """For formatting and lints. Without cargo, that is what to say first."""
    names = {"fmt": "rustfmt", "clippy": "clippy"}
    absent = [name for command, name in names.items() if output("cargo") and not output("cargo", command)]
    return [f"{' and '.join(absent)}: rustup component add {' '.join(absent)}"] if absent else []


def rust_target() -> list[str]:
    """Rust's standard library for static binaries. Without rustc, that is what to say first."""
    folder = printed("rustc", "--print", "target-libdir", "--target", STATIC_TARGET).strip()
    is_there = not folder or Path(folder).is_dir()
    return [] if is_there else [f"Rust's standard library for {STATIC_TARGET}: rustup target add {STATIC_TARGET}"]


def commands(*packages: tuple[str, str]) -> Callable[[], list[str]]:
    """Commands with the package that has each."""
    return lambda: [f"{name}: apt install {package}" for name, package in packages if not shutil.which(name)]


def node() -> list[str]:
    """For the JavaScript clients."""
    version = re.match(r"v(\d+)", output("node"))
    if version is None or int(version[1]) < OLDEST_NODE:
        return [f"Node.js {OLDEST_NODE} or later, {output('node').strip() or 'none'} was found: https://nodejs.org"]
    return []


def kubectl() -> list[str]:
    """For the manifests, by the Kustomize that is in it."""
    version = re.search(r"Kustomize Version: v(\d+)", printed("kubectl", "version", "--client"))
    if version is None or int(version[1]) < OLDEST_KUSTOMIZE:
        return ["kubectl 1.27 or later: https://kubernetes.io/docs/tasks/tools"]
    return []


def postgres() -> list[str]:
    """The benchmark's database, whichever version Debian has."""
    return [] if postgres_binaries() else ["PostgreSQL's initdb, postgres and psql: apt install postgresql"]


def postgres_binaries() -> Path | None:
    """The folder with the newest version's programs. Debian keeps them out of PATH."""
    versioned = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    programs = ("initdb", "postgres", "pg_isready", "psql")
    whole = [folder for folder in [*on_path, *versioned] if all((folder / name).exists() for name in programs)]
    return whole[-1] if whole else None


def python() -> list[str]:
    """With what makes virtual environments."""
    if sys.version_info < OLDEST_PYTHON:
        found = dotted(sys.version_info[:2])
        return [
            f"Python {dotted(OLDEST_PYTHON)} or later, {found} was found: apt install python3 python3-venv, "
            "or name one with make PYTHON=..."
        ]
    absent = [module for module in ("venv", "ensurepip") if importlib.util.find_spec(module) is None]
    if absent:
        version = dotted(sys.version_info[:2])
        return [f"Python's {' and '.join(absent)}: apt install python3-venv (or python{version}-venv)"]
    return []


def rust_version() -> tuple[int, int]:
    """From Cargo.toml."""
    found = re.search(r'^rust-version = "(\d+)\.(\d+)', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found, "Cargo.toml names no rust-version"
    return int(found[1]), int(found[2])


def output(*command: str) -> str:
    """What a command says of itself."""
    return printed(*command, "--version")


def printed(*command: str) -> str:
    """What a command prints; nothing if it is not there, or there in name only."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def dotted(version: tuple[int, ...]) -> str:
    """For people."""
    return ".".join(map(str, version))


# What each is for, None being all, and what says what is missing.
CHECKS: list[tuple[str | None, Callable[[], list[str]]]] = [
    (None, linux),
    (None, python),
    (None, cargo),
    (None, commands(("cc", "build-essential"), ("cmake", "cmake"))),
    ("test", rust_components),
    ("test", rust_target),
    ("test", commands(("musl-gcc", "musl-tools"), ("openssl", "openssl"), ("npm", "npm"))),
    ("test", commands(("promtool", "prometheus"), ("prometheus-alertmanager", "prometheus-alertmanager"))),
    ("test", commands(("redis-server", "redis-server"), ("chromium", "chromium"), ("systemd-analyze", "systemd"))),
    ("test", commands(("podman", "podman netavark catatonit"), ("buildah", "buildah"), ("runc", "runc"))),
    ("test", kubectl),
    ("test", node),
    ("bench", postgres),
]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
