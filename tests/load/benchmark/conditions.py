"""Where, when and with what the benchmark ran."""

from __future__ import annotations

import datetime
import json
import subprocess
from typing import Any

from harness.postgres import SETTINGS, Postgres
from harness.process import BINARIES, ROOT
from machine import describe

from benchmark.stand import SIDING

PACKAGES = [
    *("Django", "djangorestframework", "gunicorn", "gevent", "granian", "uvicorn", "uvloop", "httptools", "adrf"),
    *("openai", "httpx", "httpx2", "psycopg", "psycopg-binary"),
]


def conditions(python: str, postgres: Postgres) -> dict[str, Any]:
    """What is known at the start."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        "machine": describe(),
        "versions": versions(python, postgres),
        "postgres": SETTINGS,
        "siding": SIDING,
    }


def versions(python: str, postgres: Postgres) -> dict[str, str]:
    """Of everything that takes part."""
    script = f"""
import importlib.metadata, json, platform
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
print(json.dumps({{"Python": platform.python_version(), **{{name: version(name) for name in {PACKAGES!r}}}}}))
"""
    said = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout
    siding = subprocess.run([BINARIES / "siding", "--version"], capture_output=True, text=True, check=True).stdout
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return {
        "Siding": siding.split()[-1],
        "Rust": rust.split()[1],
        "PostgreSQL": postgres.version,
        **{name: version for name, version in json.loads(said).items() if version != "none"},
    }


def git(*arguments: str) -> str:
    """What git says; nothing outside a repository."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip()
