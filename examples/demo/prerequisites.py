"""What must be on the machine, and the Debian or Ubuntu package to install where it is not."""

from __future__ import annotations

import importlib.util
import shutil
import sys

# Command to what brings it.
COMMANDS = {
    "cargo": "Rust, from https://rustup.rs (or a recent cargo package)",
    "cc": "a C compiler: apt install build-essential",
    "cmake": "cmake: apt install cmake",
}


def missing() -> list[str]:
    """One line for each thing that is missing."""
    lines = [remedy for command, remedy in COMMANDS.items() if shutil.which(command) is None]
    if not sys.platform.startswith("linux"):
        lines.append("Linux: memory is read from /proc")
    if sys.version_info < (3, 10):  # noqa: UP036, this file must run on an older one to say so
        lines.append("Python 3.10 or later: apt install python3")
    elif not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        lines.append(f"Python's venv: apt install python3-venv (or python3.{sys.version_info.minor}-venv)")
    return lines
