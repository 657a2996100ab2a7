"""The images of deploy/, built from what is on this machine: the last stage of each Dockerfile is the real one, the
stages before it, which need a registry, are folders that are made here. Python's packages, of which there are many
thousand files, are no part of an image: pods see the environment's folder where they would be, see `beside_chat`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.containers import Containers
from harness.process import BINARIES, ROOT

SIDING = "localhost/siding:test"
CHAT = "localhost/chat:test"
PYTHON = "localhost/python:test"

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What Python can do without.
NOT_OF_PYTHON = ("site-packages", "test", "idlelib", "ensurepip", "config-*")


def build_siding(containers: Containers, folder: Path) -> None:
    """deploy/Dockerfile with the binary under test."""
    image = folder / "image"
    _copy_program(BINARIES / "siding", image, Path("/siding"))
    _copy(CERTIFICATES.resolve(), image, CERTIFICATES)
    containers.build(ROOT / "deploy" / "Dockerfile", SIDING, ROOT, {"build": str(folder)})


def build_chat(containers: Containers, folder: Path, python: Path) -> None:
    """deploy/demo-app/Dockerfile with the interpreter of a virtual environment."""
    base, packages = folder / "base", folder / "packages"
    (packages / "venv").mkdir(parents=True)
    asked = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('stdlib'))"
    prefix, library = map(Path, _output([str(python), "-c", asked]).split())
    _copy_tree(library, base / _inside(library), NOT_OF_PYTHON)
    interpreter = python.resolve()
    _copy_program(interpreter, base, interpreter)
    # What the environment's `python` points at.
    (base / _inside(prefix) / "bin" / "python").symlink_to(interpreter)
    _copy_libraries([*base.rglob("*.so"), *python.parents[1].rglob("*.so")], base)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY base /\n")
    containers.build(dockerfile, PYTHON, folder)
    stages = {"python": f"container-image://{PYTHON}", "packages": str(packages)}
    containers.build(ROOT / "deploy" / "demo-app" / "Dockerfile", CHAT, ROOT, stages)


def beside_chat(python: Path) -> dict[str, Path]:
    """What containers of the chat project see besides its image: where, and which folder."""
    return {"/venv": python.parents[1]}


def _copy_program(program: Path, root: Path, to: Path) -> None:
    """A program, and its libraries if it is not a static one."""
    _copy(program, root, to)
    _copy_libraries([program], root)


def _copy_libraries(programs: list[Path], root: Path) -> None:
    """The shared libraries that programs are linked with, where the loader finds them."""
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True).stdout
    for path in map(Path, set(re.findall(r"(/\S+) \(0x", listed))):
        if not path.is_relative_to(root):
            _copy(path.resolve(), root, path)


def _copy(file: Path, root: Path, to: Path) -> None:
    target = root / _inside(to)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, target)


def _copy_tree(folder: Path, target: Path, without: tuple[str, ...]) -> None:
    ignored = shutil.ignore_patterns(*without)
    shutil.copytree(folder, target, symlinks=True, ignore=ignored, copy_function=_link)


def _link(source: str, target: str) -> None:
    """The same file twice takes no time; another file system takes a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _inside(path: Path) -> Path:
    """An absolute path, from another root."""
    return path.relative_to("/")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
