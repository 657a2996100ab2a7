"""Check what dependencies bring with them, or list them.

    python tests/harness/supply_chain.py DIRECTORY audit [--if-reachable]
    python tests/harness/supply_chain.py DIRECTORY sbom FILE TARGET

`audit` asks for licences, sources and versions as deny.toml allows them, and for advisories. Their database is
fetched; where it cannot be, the audit fails, or with --if-reachable says so and does nothing: what needs no network is
in tests/supply_chain.rs. `sbom` writes a CycloneDX bill of materials of the program for a target. The tools are
installed into DIRECTORY, once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.environments import say
from harness.once import locked
from harness.process import ROOT

DATABASE = "https://github.com/RustSec/advisory-db"
PATIENCE_SECONDS = 30
# The newest that were looked at.
VERSIONS = {"cargo-deny": "0.20.2", "cargo-audit": "0.22.2", "cargo-cyclonedx": "0.5.9"}
NO_SOURCES = (".git", ".cache", "target", "node_modules", "__pycache__")
UNREACHABLE = f"advisories were not asked for: {DATABASE} cannot be reached"


def main() -> int:
    """The exit code."""
    directory, command, *arguments = Path(sys.argv[1]), *sys.argv[2:]
    if command == "audit" and arguments in ([], ["--if-reachable"]):
        return audit(directory, must=not arguments)
    if command == "sbom" and len(arguments) == 2:
        return sbom(directory, Path(arguments[0]), arguments[1])
    print(__doc__, file=sys.stderr)
    return 2


def audit(directory: Path, *, must: bool) -> int:
    """Everything that can be asked. 0 if nothing was found; 1 also where something that must be could not be asked."""
    has_database = is_reachable()
    if not has_database and not must:
        say(f"{UNREACHABLE}. Licences and sources are checked by tests/supply_chain.rs.")
        return 0
    kinds = ["bans", "licenses", "sources", *(["advisories"] if has_database else [])]
    found = [run(directory, "cargo-deny", "deny", "check", *kinds)]
    if has_database:
        found.append(run(directory, "cargo-audit", "audit"))
    else:
        say(f"{UNREACHABLE}.")
    return int(any(found) or not has_database)


def is_reachable() -> bool:
    """Whether the database answers."""
    command = ["git", "ls-remote", "--exit-code", DATABASE, "HEAD"]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def sbom(directory: Path, file: Path, target: str) -> int:
    """Made of a copy, since the tool writes one beside the manifest of each crate."""
    with tempfile.TemporaryDirectory(prefix="siding-sbom-") as name:
        copy = shutil.copytree(ROOT, Path(name) / "siding", ignore=shutil.ignore_patterns(*NO_SOURCES))
        options = ["--format", "json", "--target", target, "--override-filename", "sbom", "--manifest-path"]
        code = run(directory, "cargo-cyclonedx", "cyclonedx", *options, str(copy / "Cargo.toml"))
        if code == 0:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Crates of the workspace are named by where they were.
            file.write_text((copy / "sbom.json").read_text().replace(str(copy), "/siding"))
            say(f"{file}")
    return code


def run(directory: Path, crate: str, *arguments: str) -> int:
    """A tool, which is installed if it is not there."""
    root = directory.resolve() / f"{crate}-{VERSIONS[crate]}"
    program = root / "bin" / crate
    with locked(root):
        if not program.exists():
            say(f"installing {crate} {VERSIONS[crate]}")
            install = ["cargo", "install", "--quiet", "--locked", "--root", str(root), f"{crate}@{VERSIONS[crate]}"]
            subprocess.run(install, check=True)
    say(" ".join(["cargo", *arguments]))
    return subprocess.run([program, *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
