"""The binaries and the virtual environment, made when they are not there yet."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.backend import CHAT
from harness.process import ROOT

CRATES = ("siding", "simulated-llm", "load-driver")
CACHE = Path(os.environ.get("SIDING_CACHE") or ROOT / ".cache")
PACKAGE = ROOT / "django"


def build() -> None:
    """Release binaries; cargo shows its own progress."""
    crates = [argument for crate in CRATES for argument in ("-p", crate)]
    subprocess.run(["cargo", "build", "--release", *crates], cwd=ROOT, check=True)


def python() -> str:
    """An interpreter with the chat project's requirements and django-siding. Made once for each set of them."""
    requirements = CHAT / "requirements.txt"
    # django-siding is installed in place: its code may change, only its metadata counts.
    parts = [
        sys.version.encode(),
        str(ROOT).encode(),
        requirements.read_bytes(),
        (PACKAGE / "pyproject.toml").read_bytes(),
    ]
    home = CACHE / f"demo-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:12]}"
    interpreter, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        print(f"making a virtual environment in {home}", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(requirements), "-e", str(PACKAGE)], check=True)
        complete.touch()
    return str(interpreter)
