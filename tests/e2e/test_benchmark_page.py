"""The benchmark's page says what its results say. Nothing is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmark.plan import cells
from benchmark.ratios import ratios
from benchmark.readme import updated
from benchmark.results import Results
from benchmark.table import page
from harness.process import ROOT

PUBLISHED = ROOT / "docs" / "benchmark"

CONDITIONS = {
    "date": "2026-01-01 00:00 UTC",
    "commit": "0123456789ab",
    "modified": False,
    "machine": "a machine",
    "versions": {"Siding": "0.1.0"},
    "postgres": {"fsync": "off"},
    "siding": {"backend": {"queue": {"capacity": 2000}}},
    "minutes": 30,
}


def record(server: str, latency: int, concurrency: int, answered: int, cpu: float, **more: Any) -> dict[str, Any]:
    """A cell of 10 seconds; `cpu` is in milliseconds a chat."""
    return {
        "server": server,
        "latency_s": latency,
        "concurrency": concurrency,
        "window_s": 10.0,
        "answered": answered,
        "throughput": answered / 10,
        "errors": {},
        "unanswered": 0,
        "latency_ms": {"p50": 1500.0, "p99": 20.0} if answered else None,
        "cpu_ms_per_chat": {"server": cpu - 1, "siding": 1.0, "total": cpu} if answered else None,
        "cpu_s": {"others": 0.5, "stolen": 0.0},
        "memory_mib": {"server": 100.0, "siding": 20.0, "total": 120.0},
        "connections": 1,
        "transactions": 1,
        "idle_transactions": 0,
        "samples": 20,
        "load_before": 0.1,
        **more,
    }


def row(text: str, title: str, heading: str) -> list[str]:
    """The fields of a server's row in the table below a heading."""
    lines = text[text.index(f"{heading}\n") :].splitlines()
    found = next(line for line in lines if line.startswith(f"| {title} |"))
    return [field.strip() for field in found.strip("|").split("|")]


@pytest.mark.skipif(not (PUBLISHED / "results.json").exists(), reason="no run is published yet")
def test_the_published_page_is_what_the_published_results_render_to() -> None:
    assert (PUBLISHED / "results.md").read_text() == page(Results.read(PUBLISHED / "results.json")), (
        "docs/benchmark/results.md is out of date: python tests/load/bench.py .cache --render"
    )


@pytest.mark.skipif(not (PUBLISHED / "results.json").exists(), reason="no run is published yet")
def test_the_readme_shows_the_published_results() -> None:
    readme = (PUBLISHED.parents[1] / "README.md").read_text()
    assert readme == updated(readme, Results.read(PUBLISHED / "results.json")), (
        "the README is out of date: python tests/load/bench.py .cache --render"
    )


def test_results_survive_being_written(tmp_path: Path) -> None:
    results = Results(CONDITIONS, [record("sync", 0, 1, 100, 4.0)])
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_a_server_that_answers_nothing_is_shown_with_nothing_and_its_errors() -> None:
    silent = record("sync", 1, 1000, 0, 0.0, errors={"timeout": 7, "status 503": 2}, unanswered=991)
    text = page(Results(CONDITIONS, [silent]))
    assert row(text, "gunicorn sync", "## Chats a second")[8] == "0 (9 errors)"
    assert row(text, "gunicorn sync", "### 1 s, 1,000 at once")[1:6] == [
        "0",
        "-",
        "-",
        "7 timeout, 2 status 503",
        "991",
    ]


def test_the_cost_of_a_chat_is_not_told_from_a_few() -> None:
    text = page(Results(CONDITIONS, [record("sync", 1, 1, 8, 4.0), record("siding", 1, 1, 80, 5.0)]))
    assert row(text, "gunicorn sync", "## CPU of a chat, ms")[5] == "-"
    assert row(text, "gunicorn sync behind Siding", "## CPU of a chat, ms")[5] == "5.00"


def test_a_cell_that_failed_is_said_to_have_failed() -> None:
    failed = {"server": "granian", "latency_s": 1, "concurrency": 32, "failure": "it did not start"}
    text = page(Results(CONDITIONS, [{**failed, "throughput": 0.0, "answered": 0, "errors": {}}]))
    assert row(text, "Granian, 512 threads", "### 1 s, 32 at once")[1] == "failed: it did not start"


def test_ratios_are_of_the_best_concurrency() -> None:
    cells = [
        *(record("sync", 0, 1, 1500, 5.0), record("sync", 0, 32, 2000, 4.0)),
        *(record("siding", 1, 256, 2100, 4.4), record("siding", 1, 1000, 1800, 4.6)),
        record("granian", 1, 1000, 1200, 6.0),
    ]
    values = [round(figure.value, 3) for figure in ratios(Results(CONDITIONS, cells))]
    assert values == [2100 / 2000, 1.1, 1.5]


def test_servers_of_one_point_follow_one_another() -> None:
    points = [(cell.point.latency, cell.point.concurrency) for cell in cells([], quick=False)]
    assert points == sorted(points)
    assert len(points) == 7 * 3 * 4


def test_words_choose_cells() -> None:
    chosen = cells(["siding", "granian", "latency=1", "concurrency=1000"], quick=False)
    assert [cell.setup.name for cell in chosen] == ["granian", "siding"]
    with pytest.raises(ValueError, match="no latency 2"):
        cells(["latency=2"], quick=False)
