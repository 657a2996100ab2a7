"""A real browser, headless, and what a person would find in a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class View:
    """How somebody looks. `picture` is where a screenshot goes: of the `whole` page, or of what fits.
    Where it is `hostile`, every text that the page reads is markup instead."""

    width: int
    height: int
    scheme: str
    picture: str | None = None
    whole: bool = False
    hostile: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.width}x{self.height}, {self.scheme}"


PHONE, DESK = (390, 844), (1280, 800)
VIEWS = [View(*size, scheme) for size in (PHONE, DESK) for scheme in ("light", "dark")]


def visit(node: Path, url: str, views: list[View]) -> list[dict[str, Any]]:
    """What is found at `url` in each view, by `browser.mjs`. `node` is the folder with the packages that it needs."""
    told = {"executable": shutil.which("chromium"), "url": url, "views": [asdict(view) for view in views]}
    # Chromium keeps its profile, and looks for fonts, in a home.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    command = ["node", "--preserve-symlinks-main", "--preserve-symlinks", str(node / "programs" / "browser.mjs")]
    done = subprocess.run(
        command, input=json.dumps(told), capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
