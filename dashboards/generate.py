#!/usr/bin/env python3
"""Writes the dashboards beside this file. `--check` only says whether they are up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from boards.llm import llm
from boards.overview import overview
from boards.pool import pool
from boards.sharing import sharing
from panels import Json

HERE = Path(__file__).resolve().parent


def written() -> dict[str, Json]:
    """Each file's content."""
    return {f"{board['uid']}.json": board for board in (overview(), pool(), llm(), sharing())}


def main(arguments: list[str]) -> int:
    """The exit code."""
    stale = []
    for name, board in written().items():
        text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        path = HERE / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if arguments != ["--check"]:
                path.write_text(text)
    if arguments == ["--check"] and stale:
        print(f"not up to date: {', '.join(stale)}; run {Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
