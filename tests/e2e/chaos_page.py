"""docs/chaos.md: what is promised for bad days, and what the tests of them measured, as the page has it.

    python tests/e2e/chaos_page.py DIRECTORY [pytest arguments]

runs these tests with 10,000 clients, one after the other, and writes what they observe into the page; DIRECTORY is as
for run.py. Ordinary runs are smaller: they compare the words of the page and not its numbers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

E2E = Path(__file__).resolve().parent
PAGE = E2E.parents[1] / "docs" / "chaos.md"
COMMAND = "python tests/e2e/chaos_page.py .cache"
# Names the folder in which the tests put their rows; without it, they compare them with the page.
ROWS = "SIDING_CHAOS_ROWS"
CLIENTS = "10000"
HEADINGS = {
    "bad days": ("what happens", "what is promised", "what was measured"),
    "requests": ("what is sent", "where Siding reads it whole", "where it is streamed"),
}
NUMBER = re.compile(r"\d[\d,.]*")

# In the order of the page.
PROMISES = {
    "gunicorn's workers are killed while none serves": ("Requests wait until gunicorn has started others; none fails."),
    "gunicorn's workers are killed while calls are pending": (
        "Nothing is lost: no worker is held meanwhile, and the next ones finish what the former began."
    ),
    "gunicorn's workers are killed again and again under load": (
        "Who was in the pass of a killed worker is told so (502 `backend-closed`, in the middle of an answer by the "
        "end of the connection); a chat is called for once at the most, and its rows are all there or none is."
    ),
    "the app stops for a while (SIGSTOP), shorter than `backend.timeout`": (
        "Requests wait; none fails, and calls that end meanwhile are not made again."
    ),
    "the app stops for longer than `backend.timeout`": (
        "Passes end with 504 (502 in the middle of an answer), what waits for a worker with 503 and Retry-After; "
        "afterwards all is as before without help."
    ),
    "the provider accepts connections and never answers": (
        "Calls end by `first_byte`, then the breaker fails them at once; views that call nobody are served as ever; "
        "afterwards all is as before without help."
    ),
    "packets to the provider are dropped: its backlog is full": ("Calls end by `connect`, and so on as above."),
    "the Redis of two processes is killed, and started again": (
        "Every chat is answered; a prompt is called for once, without Redis once a process at the most; afterwards all "
        "is as before without help."
    ),
    "the Redis of two processes stops for a while (SIGSTOP)": "As above.",
    "more clients than descriptors": (
        "An eighth is left to the app, to providers and to operators: who is connected is served, newcomers are "
        "refused with 503 `too-many-clients`, nothing spins, and all is as before when some have gone."
    ),
    "more request bodies than `server.buffered`, under a hard limit of memory": (
        "What does not fit is refused with 503 `buffers-full`; the process lives, and all is as before afterwards."
    ),
    "the app's clock is wrong by an hour": (
        "Its views run as without Siding: each call is made once, in line, and holds its worker."
    ),
    "the app's clock jumps by an hour while calls are pending": (
        "These chats fail with 400, called for once and without rows (one that is in a pass just then with 502, and is "
        "not called for); the next ones are as above."
    ),
    "Siding's monotonic clock is ten years ahead": "Nothing is different.",
    "Siding is stopped for a while, as a paused machine is": (
        "Its clocks have jumped when it goes on; nothing is lost that is still within its time-outs."
    ),
    "the disk for logs is full": "Lines are lost and counted; no request notices.",
    "the pipe for logs is closed": "Lines are lost and counted; no request notices.",
    "nobody reads the pipe for logs": (
        "Lines wait, up to 4 MiB, then they are lost and counted; no request notices, and the process ends in time."
    ),
    "slow heads and slow bodies": (
        "Others are served as ever; a client costs memory for what it has sent, and a descriptor."
    ),
    "slow readers": "No worker waits for them, nobody else does, and what is kept for each is bounded.",
    "heads without end": "Refused with 431 at 32 KiB, before memory grows.",
    "a target of 1 MB": "Refused with 431; the app hears nothing of it.",
    "10,000 headers": "Refused with 400 or 431; the app hears nothing of it.",
    "bodies in chunks of one byte": "They arrive whole; each byte costs little time.",
}


@dataclass(frozen=True)
class Row:
    """A line of one of the tables; `position` is where in it."""

    table: str
    position: int
    cells: tuple[str, ...]

    def line(self) -> str:
        """As the page has it."""
        return "| " + " | ".join(self.cells) + " |"


def measured(what: str, text: str) -> None:
    """What came of a bad day. An ordinary run finds these words in the page, with any numbers."""
    row = Row("bad days", list(PROMISES).index(what), (what, PROMISES[what], text))
    print(row.line())
    if not _kept(row):
        said = [_without_numbers(line) for line in published(row.table)]
        assert _without_numbers(row.line()) in said, f"{PAGE} does not say {row.line()}: {COMMAND}"


def observed(position: int, *cells: str) -> None:
    """What became of a request. The page says exactly that."""
    row = Row("requests", position, cells)
    if not _kept(row):
        assert row.line() in published(row.table), f"{PAGE} does not say {row.line()}: {COMMAND}"


def is_being_made() -> bool:
    """Whether rows are collected for the page."""
    return ROWS in os.environ


def published(table: str) -> list[str]:
    """The lines of a table."""
    between = PAGE.read_text().partition(_begin(table))[2].partition(_end(table))[0]
    return between.strip().splitlines()[2:]


def first_cells(table: str) -> list[str]:
    """What its lines are about."""
    return [line.strip("| ").split(" | ")[0] for line in published(table)]


def render(rows: list[Row]) -> str:
    """The page with these rows; a table that has none stays."""
    page = PAGE.read_text()
    for table, names in HEADINGS.items():
        lines = [row.line() for row in sorted(rows, key=lambda row: row.position) if row.table == table]
        if lines:
            before, _, rest = page.partition(_begin(table))
            after = rest.partition(_end(table))[2]
            head = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
            page = "\n".join([f"{before}{_begin(table)}", *head, *lines, f"{_end(table)}{after}"])
    return page


def main() -> int:
    """Runs the tests and writes the page."""
    with tempfile.TemporaryDirectory() as folder:
        tests = [path.name for path in sorted(E2E.glob("test_chaos_*.py"))]
        command = [sys.executable, str(E2E / "run.py"), sys.argv[1], *tests, "--numprocesses=0", *sys.argv[2:]]
        done = subprocess.run(command, env={"CHAOS_CLIENTS": CLIENTS, **os.environ, ROWS: folder})
        if done.returncode:
            return done.returncode
        kept = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
        PAGE.write_text(render([Row(row["table"], row["position"], tuple(row["cells"])) for row in kept]))
    return 0


def _kept(row: Row) -> bool:
    if is_being_made():
        name = f"{row.table}-{row.position}.json"
        (Path(os.environ[ROWS]) / name).write_text(json.dumps(vars(row)))
    return is_being_made()


def _without_numbers(line: str) -> str:
    return NUMBER.sub("#", line)


def _begin(table: str) -> str:
    return f"<!-- tests/e2e/chaos_page.py wrote this: {table} -->"


def _end(table: str) -> str:
    return f"<!-- end of what tests/e2e/chaos_page.py wrote: {table} -->"


if __name__ == "__main__":
    sys.exit(main())
