"""The binaries and the virtual environment, made when they are not there yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.backend import CHAT
from harness.environments import Interpreter, environment, install_again, listed
from harness.process import ROOT

CRATES = ("siding", "simulated-llm", "load-driver")
CACHE = Path(os.environ.get("SIDING_CACHE") or ROOT / ".cache")
PACKAGE = ROOT / "django"


def build() -> None:
    """Release binaries; cargo shows its own progress."""
    crates = [argument for crate in CRATES for argument in ("-p", crate)]
    subprocess.run(["cargo", "build", "--release", *crates], cwd=ROOT, check=True)


def python() -> Path:
    """An interpreter with the chat project's requirements and the package of this checkout."""
    interpreter = Interpreter(sys.version_info[:2], sys.executable)
    made = environment(CACHE, "demo", interpreter, listed(CHAT / "requirements.txt"))
    install_again(made, PACKAGE)
    return made
