"""The figures that Siding promises, from a run's results."""

from __future__ import annotations

from verdict import Figure

from benchmark.results import Results, cpu_per_chat


def ratios(results: Results) -> list[Figure]:
    """Those whose cells were measured. Siding's and the baseline's concurrency are each the best."""
    figures = []
    siding, direct = results.best("siding", 1), results.best("sync", 0)
    if siding and direct and direct["throughput"]:
        ratio = siding["throughput"] / direct["throughput"]
        details = (
            f"{siding['throughput']:.1f} chats a second behind Siding at 1 s, {siding['concurrency']:,} at once, "
            f"to {direct['throughput']:.1f} of gunicorn sync at 0 s, {direct['concurrency']:,} at once"
        )
        figures.append(Figure("latency-hiding efficiency", ratio, "at least", 0.9, details=details))
    ours, theirs = cpu_per_chat(siding), cpu_per_chat(direct)
    if ours and theirs:
        details = f"{ours:.2f} ms of worker and Siding at 1 s to {theirs:.2f} ms of gunicorn sync at 0 s"
        figures.append(Figure("CPU of a chat", ours / theirs, "at most", 1.25, details=details))
    siding, granian = results.cell("siding", 1, 1000), results.cell("granian", 1, 1000)
    if siding and granian and granian["throughput"]:
        ratio = siding["throughput"] / granian["throughput"]
        details = f"{siding['throughput']:.1f} to {granian['throughput']:.1f} chats a second"
        name = "throughput to Granian's, 1,000 at once, 1 s"
        figures.append(Figure(name, ratio, "at least", 1.0, details=details))
    return figures
