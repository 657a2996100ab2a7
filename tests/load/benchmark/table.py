"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark.plan import CONCURRENCIES, LATENCIES
from benchmark.ratios import ratios
from benchmark.results import ENOUGH_ANSWERS, Results, cpu_per_chat
from benchmark.setups import SETUPS

Cell = dict[str, Any]


def page(results: Results) -> str:
    """All of it."""
    parts = [
        "# Benchmark",
        introduction(results),
        *[f"- {figure.name}: **{figure.value:.2f}** ({figure.details})" for figure in ratios(results)],
        "![Chats a second and CPU of a chat](chart.svg)",
        "## Chats a second",
        grid(results, throughput),
        "## CPU of a chat, ms",
        f"User and system, of the server's processes and Siding. Not told below {ENOUGH_ANSWERS} answers.",
        grid(results, lambda cell: number(cpu_per_chat(cell))),
        "## Every cell",
        LEGEND,
        *[block for latency in LATENCIES for block in details(results, latency)],
        "## Conditions",
        conditions(results.conditions),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1) + "\n"


LEGEND = """\
Latencies are of the answers that came in the window; *unanswered* are requests still in flight at its end, which in
a closed loop is nearly all of them. Memory is resident, of all processes of the server and of Siding, at its peak.
Connections and open transactions are PostgreSQL's own count (`pg_stat_activity`), at most at any sample; *idle* are
transactions that are open while the app does something else. *Others* is what else ran on the machine, in cores,
and *stolen* what the host took."""


def introduction(results: Results) -> str:
    """What the figures are of."""
    said = results.conditions
    changed = ", with changes" if said["modified"] else ""
    return (
        "`make bench` wrote this page and the chart from [results.json](results.json). Each server runs the same view, "
        "`POST /api/ask/` of the [chat project](../../examples/chat), in one process: DRF checks the input, the openai "
        "SDK asks a simulated model, one row is written to PostgreSQL. Every cell has processes of its own and a load "
        "that asks again as soon as it is answered, after a warm-up; answers are checked.\n\n"
        f"Measured {said['date']} at {said['commit']}{changed} on {said['machine']}."
    )


def grid(results: Results, value: Callable[[Cell], str]) -> str:
    """Servers by latency and concurrency."""
    points = [(latency, concurrency) for latency in LATENCIES for concurrency in CONCURRENCIES]
    heads = [f"{latency} s, {concurrency:,}" for latency, concurrency in points]
    rows = []
    for setup in SETUPS:
        cells = [results.cell(setup.name, *point) for point in points]
        rows.append([setup.title, *("" if cell is None else value(cell) for cell in cells)])
    return table(["latency, at once", *heads], rows)


def details(results: Results, latency: int) -> list[str]:
    """A table for each concurrency."""
    blocks = []
    for concurrency in CONCURRENCIES:
        found = [(setup, results.cell(setup.name, latency, concurrency)) for setup in SETUPS]
        rows = [[setup.title, *described(cell)] for setup, cell in found if cell]
        if rows:
            blocks += [f"### {latency} s, {concurrency:,} at once", table(["", *COLUMNS], rows)]
    return blocks


COLUMNS = [
    *("chats a second", "p50", "p99", "errors", "unanswered", "CPU of server, ms a chat", "of Siding"),
    *("memory, MiB", "of Siding", "connections", "transactions", "idle", "others", "stolen"),
]


def described(cell: Cell) -> list[str]:
    """The figures of a row."""
    if "failure" in cell:
        return [f"failed: {cell['failure']}", *[""] * (len(COLUMNS) - 1)]
    cost = cell["cpu_ms_per_chat"] if cell["answered"] >= ENOUGH_ANSWERS else {"server": None, "siding": None}
    memory = cell["memory_mib"]
    behind = cell["server"] == "siding"
    latency = cell["latency_ms"] or {"p50": None, "p99": None}
    cores = [f"{cell['cpu_s'][name] / cell['window_s']:.2f}" for name in ("others", "stolen")]
    return [
        *(number(cell["throughput"]), duration(latency["p50"]), duration(latency["p99"]), errors(cell)),
        *(str(cell["unanswered"]), number(cost["server"]), number(cost["siding"]) if behind else ""),
        *(f"{memory['total']:.0f}", f"{memory['siding']:.0f}" if behind else ""),
        *(str(cell["connections"]), str(cell["transactions"]), str(cell["idle_transactions"]), *cores),
    ]


def throughput(cell: Cell) -> str:
    """With the errors, if there were any."""
    if "failure" in cell:
        return "failed"
    failed = sum(cell["errors"].values())
    return number(cell["throughput"]) + (f" ({failed} errors)" if failed else "")


def errors(cell: Cell) -> str:
    """By kind."""
    return ", ".join(f"{count} {kind}" for kind, count in cell["errors"].items()) or "0"


def number(value: float | None) -> str:
    """Three digits or so."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(milliseconds: float | None) -> str:
    """In the unit that reads best."""
    if milliseconds is None:
        return "-"
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def conditions(said: dict[str, Any]) -> str:
    """Versions and settings."""
    versions = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    postgres = ", ".join(f"{name}={value}" for name, value in said["postgres"].items() if value)
    return (
        f"- Versions: {versions}\n"
        f"- PostgreSQL: {postgres}; Django closes its connections after each request, which is its default\n"
        f"- Siding: one worker, a thread per core, a queue of {said['siding']['backend']['queue']['capacity']}\n"
        f"- All of it, the load and the simulated model on the same cores; the run took {said['minutes']} minutes"
    )


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown, figures to the right."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
