"""docs/provider-faults.md: what the tests of provider faults observe, as the page has it.

    python tests/e2e/faults_page.py DIRECTORY

runs these tests and writes what they observe into the page; DIRECTORY is as for run.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

E2E = Path(__file__).resolve().parent
PAGE = E2E.parents[1] / "docs" / "provider-faults.md"
BEGIN = "<!-- tests/e2e/faults_page.py wrote this -->"
END = "<!-- end of what tests/e2e/faults_page.py wrote -->"
HEADINGS = ("at the provider", "asked through", "the caller gets", "requests for it", "for {} calls", "the next call")
# Names the folder in which the tests put their rows; without it, they compare them with the page.
ROWS = "SIDING_FAULT_ROWS"

# Calls at once, and what the defaults of `providers.*.retry` let them cost: a tenth more, and ten that are saved up.
BURST = 30
BOUND = BURST + BURST // 10 + 10


@dataclass(frozen=True)
class Row:
    """What was observed of one fault in one way."""

    fault: str
    way: str
    gets: str
    requests: str
    burst: str
    after: str

    def line(self) -> str:
        """As the page has it."""
        return "| " + " | ".join(astuple(self)) + " |"


def is_being_made() -> bool:
    """Whether rows are collected for the page."""
    return ROWS in os.environ


def keep(row: Row) -> None:
    """Puts a row where the page is made from."""
    (Path(os.environ[ROWS]) / f"{row.fault}, {row.way}.json").write_text(json.dumps(asdict(row)))


def published() -> list[str]:
    """The lines of the page's table."""
    between = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    return between.strip().splitlines()[2:]


def render(rows: list[Row]) -> str:
    """The page with these rows."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    names = [heading.format(BURST) for heading in HEADINGS]
    table = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *(row.line() for row in rows)]
    return "\n".join([f"{before}{BEGIN}", *table, f"{END}{after}"])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(E2E / "run.py"), sys.argv[1], "test_provider_faults.py"]
        done = subprocess.run(command, env={**os.environ, ROWS: folder})
        if done.returncode:
            return done.returncode
        rows = [Row(**json.loads(file.read_text())) for file in Path(folder).glob("*.json")]
    sys.path.insert(0, str(E2E.parent))
    from provider_faults import combinations

    order = combinations()
    rows.sort(key=lambda row: order.index((row.fault, row.way)))
    PAGE.write_text(render(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
