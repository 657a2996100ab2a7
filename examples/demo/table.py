"""The results side by side."""

from __future__ import annotations

from measurement import Result

NAME_WIDTH = 34
FIGURE_WIDTH = 20


def table(results: list[Result]) -> str:
    """Lines for a terminal, one column a result."""
    rule = "-" * (NAME_WIDTH + FIGURE_WIDTH * len(results))
    rows = [("", [result.load.title for result in results]), *body(results)]
    lines = [line(name, values) for name, values in rows]
    return "\n".join([lines[0], rule, *lines[1:]])


def body(results: list[Result]) -> list[tuple[str, list[str]]]:
    """The figures, as text."""
    return [
        ("concurrent chats", [str(result.load.concurrency) for result in results]),
        ("chats answered", [str(result.chats["good"]) for result in results]),
        ("chats a second", [f"{result.chats['throughput']:.1f}" for result in results]),
        ("chat latency p50", [latency(result.chats, "p50") for result in results]),
        ("chat latency p99", [latency(result.chats, "p99") for result in results]),
        ("fast endpoint meanwhile, p50", [latency(result.fast, "p50") for result in results]),
        ("fast endpoint meanwhile, p99", [latency(result.fast, "p99") for result in results]),
        ("errors", [errors(result) for result in results]),
        ("rows written (2 a chat expected)", [rows(result) for result in results]),
        ("memory of both workers, peak", [mebibytes(result.worker_bytes) for result in results]),
        ("memory of Siding, peak", [mebibytes(result.siding_bytes) for result in results]),
    ]


def line(name: str, values: list[str]) -> str:
    """Names to the left, figures to the right."""
    return name.ljust(NAME_WIDTH) + "".join(value.rjust(FIGURE_WIDTH) for value in values)


def latency(summary: dict, key: str) -> str:
    """In the unit that reads best."""
    if summary["latency_ms"] is None:
        return "no answer"
    value = summary["latency_ms"][key]
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def errors(result: Result) -> str:
    """Of chats and fast requests."""
    kinds = {**result.fast["errors"], **result.chats["errors"]}
    total = result.chats["failed"] + result.fast["failed"]
    return f"{total} ({', '.join(kinds)})" if kinds else "0"


def rows(result: Result) -> str:
    """Said to be wrong where they are."""
    return str(result.rows) if not result.odd else f"{result.rows}, {result.odd} chats odd"


def mebibytes(count: int) -> str:
    """Zero is no process."""
    return f"{count / 2**20:.0f} MiB" if count else "-"
