"""Results as a picture: `python chart.py results.json chart.svg`. Runs where matplotlib is installed, and for itself.

Left: chats a second at a latency of 1 s over concurrency. Right: what a chat costs in CPU, for the servers that can
tell, beside a gunicorn sync worker's cost where the model answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

import matplotlib  # noqa: E402

matplotlib.use("svg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from benchmark.plan import CONCURRENCIES  # noqa: E402
from benchmark.results import Results, cpu_per_chat  # noqa: E402
from benchmark.setups import SETUPS, TITLES  # noqa: E402

LATENCY = 1
BUSIEST = CONCURRENCIES[-1]
# Told apart by people who see colours differently, with marks besides.
COLOURS = {
    "sync": "#7f7f7f",
    "gthread-32": "#b8860b",
    "gthread-256": "#e69f00",
    "gevent": "#009e73",
    "granian": "#0072b2",
    "uvicorn": "#9467bd",
    "siding": "#c1272d",
}
MARKS = dict(zip(COLOURS, "sv^DoPX", strict=True))
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # The same results are the same file.
    "svg.hashsalt": "siding",
    "svg.fonttype": "path",
}


def main() -> int:
    """Draws it."""
    results = Results.read(Path(sys.argv[1]))
    matplotlib.rcParams.update(STYLE)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), width_ratios=(1.15, 1), layout="constrained")
    draw_throughput(left, results)
    draw_cost(right, results)
    figure.savefig(sys.argv[2], format=Path(sys.argv[2]).suffix[1:], metadata={"Date": None}, facecolor="white")
    return 0


def draw_throughput(axes: Axes, results: Results) -> None:
    """A line a server. A logarithmic scale cannot show none."""
    axes.set(xscale="log", yscale="log", xlabel="chats at once", ylabel="chats a second", ylim=(0.5, 1000))
    axes.set_xlim(0.8, 1400)
    for setup in SETUPS:
        cells = [results.cell(setup.name, LATENCY, concurrency) for concurrency in CONCURRENCIES]
        shown = [(cell["concurrency"], cell["throughput"]) for cell in cells if cell and cell["throughput"]]
        ours = setup.behind_siding
        axes.plot(
            *([point[axis] for point in shown] for axis in (0, 1)),
            color=COLOURS[setup.name],
            marker=MARKS[setup.name],
            linewidth=2.6 if ours else 1.5,
            zorder=3 if ours else 2,
            label=setup.title,
        )
    axes.set_title("A model that takes 1 s, one process", loc="left")
    axes.set_xticks(CONCURRENCIES, [f"{concurrency:,}" for concurrency in CONCURRENCIES])
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, loc="upper left", fontsize=9)


def draw_cost(axes: Axes, results: Results) -> None:
    """A bar a server, Siding's own part beside its worker's, the cheapest at the top."""
    cells = [results.cell(setup.name, LATENCY, BUSIEST) for setup in SETUPS]
    told = [(cell, cost) for cell in cells if (cost := cpu_per_chat(cell))]
    costs = sorted(told, key=lambda pair: pair[1])
    for place, (cell, cost) in enumerate(costs):
        parts, name = cell["cpu_ms_per_chat"], cell["server"]
        axes.barh(place, parts["server"], color=COLOURS[name], height=0.6)
        axes.barh(place, parts["siding"], left=parts["server"], color=COLOURS[name], height=0.6, alpha=0.5)
        axes.text(cost, place, f" {cost:.1f}", va="center")
    axes.set_yticks(range(len(costs)), [TITLES[cell["server"]] for cell, _ in costs])
    axes.set(xlabel="ms of CPU; the paler part is Siding's own")
    axes.set_title(f"CPU of a chat, {BUSIEST:,} at once, 1 s", loc="left")
    axes.set_xlim(0, 1.12 * max([cost for _, cost in costs], default=1))
    axes.set_ylim(len(costs), -0.6)
    baseline = cpu_per_chat(results.best("sync", 0))
    if baseline:
        axes.axvline(baseline, color="#7f7f7f", linestyle="--", linewidth=1.2)
        note = f"gunicorn sync, model at once: {baseline:.1f}"
        axes.text(baseline, len(costs) - 0.1, f" {note}", color="#555555", fontsize=9, va="bottom")


if __name__ == "__main__":
    sys.exit(main())
