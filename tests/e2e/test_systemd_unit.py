"""The unit file: what systemd itself says of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from harness.process import BINARIES, ROOT

UNIT = ROOT / "deploy" / "systemd" / "siding.service"
# systemd's own exposure score, from 0 (all closed) to 10.
MOST_EXPOSED = 2.5


def test_systemd_understands_the_unit_and_finds_little_exposed(tmp_path):
    unit = installed(tmp_path)
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, check=True
    )
    score = re.search(r"exposure level for siding\.service: ([\d.]+)", judged.stdout)
    assert score, judged.stdout
    assert float(score[1]) <= MOST_EXPOSED


def installed(directory: Path) -> Path:
    """The unit with a program that is there."""
    text = UNIT.read_text()
    assert "/usr/local/bin/siding" in text
    unit = directory / "siding.service"
    unit.write_text(text.replace("/usr/local/bin/siding", str(BINARIES / "siding")))
    return unit
