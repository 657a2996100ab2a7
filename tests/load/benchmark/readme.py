"""The README's part of the results, between two marks."""

from __future__ import annotations

from benchmark.results import Results, cpu_per_chat
from benchmark.setups import SETUPS
from benchmark.table import duration, number, table, throughput

BEGIN, END = "<!-- make bench wrote this -->\n", "<!-- end of what make bench wrote -->"
CONCURRENCIES = (32, 256, 1000)


def updated(readme: str, results: Results) -> str:
    """The README with the results in their place."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{summary(results)}\n{END}{after}"


def summary(results: Results) -> str:
    """What each server does while the model takes a second."""
    heads = [f"chats a second, {concurrency:,} at once" for concurrency in CONCURRENCIES]
    columns = ["a model that takes 1 s", *heads, "p99 at 1,000", "CPU of a chat, ms", "memory at 1,000, MiB"]
    rows = []
    for setup in SETUPS:
        cells = [results.cell(setup.name, 1, concurrency) for concurrency in CONCURRENCIES]
        if any(cell is None or "failure" in cell for cell in cells):
            rows.append([setup.title, *["-"] * (len(columns) - 1)])
            continue
        last = cells[-1]
        p99 = duration(last["latency_ms"]["p99"]) if last["latency_ms"] else "-"
        cost = number(cpu_per_chat(results.best(setup.name, 1)))
        rows.append([setup.title, *map(throughput, cells), p99, cost, f"{last['memory_mib']['total']:.0f}"])
    return table(columns, rows)
