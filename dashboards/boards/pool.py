"""The worker pool: utilisation, saturation, errors."""

from __future__ import annotations

from panels import Json, Panel, dashboard

from boards.expressions import SATURATION, WAITING, quantile, rate


def pool() -> Json:
    """Utilisation, saturation, errors of the worker pool."""
    use = [
        Panel(
            "Utilisation",
            "The exact share of worker time that was busy, by instance. Above 90 % requests queue.",
            [("rate(siding_workers_busy_seconds_total{}[$__rate_interval]) / siding_workers_limit{}", "{{instance}}")],
            "percentunit",
            thresholds=SATURATION,
            largest=1,
        ),
        Panel(
            "Saturated",
            "The share of time in which every worker was busy.",
            [("rate(siding_workers_saturated_seconds_total{}[$__rate_interval])", "{{instance}}")],
            "percentunit",
            thresholds=SATURATION,
            largest=1,
        ),
        Panel(
            "Workers",
            "Busy, orphaned (the client has left, the worker goes on), and how many there are.",
            [
                ("sum(siding_workers_busy{})", "busy"),
                ("sum(siding_workers_orphaned{})", "orphaned"),
                ("sum(siding_workers_limit{})", "limit"),
            ],
        ),
    ]
    queue = [
        Panel(
            "Waiting",
            "Requests that wait for a worker, by class.",
            [("sum by (class) (siding_queue_depth{})", "{{class}}")],
            stacked=True,
        ),
        Panel(
            "Wait",
            "Of those that got a worker.",
            [
                (quantile(q, "siding_queue_wait_seconds", where='outcome="admitted"'), f"p{q * 100:g}")
                for q in (0.5, 0.95, 0.99)
            ],
            "s",
            thresholds=WAITING,
        ),
        Panel(
            "Wait, by class",
            "p95. Where batch waits and interactive does not, classes do their work.",
            [(quantile(0.95, "siding_queue_wait_seconds", "class"), "{{class}}")],
            "s",
        ),
        Panel(
            "Longest wait now",
            "Of a request that still waits.",
            [("max by (instance) (siding_queue_oldest_age_seconds{})", "{{instance}}")],
            "s",
            thresholds=WAITING,
        ),
        Panel(
            "Refused a worker",
            "full: no place in the queue; hopeless: the wait to expect was too long; timeout: it waited in vain.",
            [(rate("siding_queue_rejected_total", "reason"), "{{reason}}")],
            "reqps",
        ),
        Panel(
            "Mean wait, measured and expected",
            "What the load should cause by queueing theory. A measured wait far above it: "
            "arrivals come in bursts, or a limit of a route holds them back.",
            [
                (f"{rate('siding_queue_wait_seconds_sum')} / {rate('siding_queue_wait_seconds_count')}", "measured"),
                ("max(siding_queue_wait_expected_seconds{})", "expected"),
            ],
            "s",
        ),
    ]
    saved = [
        Panel(
            "Workers saved",
            "By how exchanges wait without a worker.",
            [(rate("siding_worker_seconds_saved_total", "mode"), "{{mode}}")],
            stacked=True,
        ),
        Panel(
            "Workers the load would need",
            "For the same requests without Siding, each worker waiting for the provider, so that "
            "at most one request in twenty waits.",
            [
                ("sum(siding_workers_needed_without_siding{})", "needed without Siding"),
                ("sum(siding_workers_limit{})", "there are"),
            ],
        ),
        Panel(
            "Time in a worker",
            "One trip: first is up to the call or answer, resume is with results.",
            [
                (quantile(0.95, "siding_pass_duration_seconds", "pass"), "p95, {{pass}}"),
                (quantile(0.5, "siding_pass_duration_seconds", "pass"), "p50, {{pass}}"),
            ],
            "s",
        ),
    ]
    app = [
        Panel(
            "Accept queue of the app",
            "Connections that the app has not accepted. Above zero while nothing waits in Siding: "
            "traffic bypasses Siding, or backend.workers is too high.",
            [("siding_listen_backlog{}", "{{instance}}")],
            thresholds=[(None, "green"), (1, "orange")],
        ),
        Panel(
            "Memory of the app's workers",
            "Resident, pages shared with others included. Only where the pod shares its process namespace.",
            [("siding_worker_resident_memory_bytes{}", "{{instance}} {{worker}}")],
            "bytes",
        ),
        Panel(
            "CPU of the app's workers",
            "Cores.",
            [("rate(siding_worker_cpu_seconds_total{}[$__rate_interval])", "{{instance}} {{worker}}")],
        ),
        Panel("Worker processes", "That are visible.", [("siding_worker_processes{}", "{{instance}}")]),
        Panel(
            "Workers replaced",
            "Killed, recycled or reloaded.",
            [("sum by (instance) (increase(siding_worker_restarts_total{}[$__rate_interval]))", "{{instance}}")],
        ),
        Panel(
            "Connections dropped by the kernel",
            "Because a listener's queue was full, in this network namespace.",
            [("increase(siding_listen_overflows_total{}[$__rate_interval])", "{{instance}}")],
            thresholds=[(None, "green"), (1, "red")],
        ),
    ]
    rows = [("Utilisation", use), ("Queue", queue), ("What Siding saves", saved), ("The app's processes", app)]
    return dashboard("pool", "Worker pool", "Is the pool of sync workers saturated, and why.", rows)
