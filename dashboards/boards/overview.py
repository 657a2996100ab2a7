"""The overview: six numbers, then the stories behind them."""

from __future__ import annotations

from panels import Json, Panel, dashboard

from boards.expressions import (
    ERRORS,
    GOOD,
    SATURATION,
    SAVED_WORKERS,
    UTILISATION,
    WAITING,
    errors_of_exchanges,
    quantile,
    rate,
)


def overview() -> Json:
    """Six numbers, then the three stories behind them."""
    numbers = [
        Panel(
            "Workers in use",
            "The exact share of worker time that was busy. Above 90 % for minutes, requests queue: add "
            "workers, or look at the pool's dashboard for slow views.",
            [(UTILISATION, "utilisation")],
            "percentunit",
            "stat",
            4,
            5,
            SATURATION,
            largest=1,
            decimals=0,
        ),
        Panel(
            "Queue wait, p95",
            "How long requests waited for a worker; time at LLM providers is never in it. Above a second, "
            "users notice.",
            [(quantile(0.95, "siding_queue_wait_seconds"), "p95")],
            "s",
            "stat",
            4,
            5,
            WAITING,
        ),
        Panel(
            "Workers saved",
            "Sync workers that would only wait for LLM providers now, were Siding not there.",
            [(SAVED_WORKERS, "workers")],
            "short",
            "stat",
            4,
            5,
            GOOD,
            decimals=1,
        ),
        Panel(
            "Money saved an hour",
            "What answers that were given again would have cost, by the configured prices.",
            [("sum(increase(siding_saved_dollars_total{}[1h])) or vector(0)", "saved")],
            "currencyUSD",
            "stat",
            4,
            5,
            GOOD,
            decimals=2,
        ),
        Panel(
            "Failed requests",
            "Refused, timed out or broken off: by Siding or by the app's server, not the app's own 4xx "
            "and 5xx. Above 1 %, look at the endings below.",
            [(errors_of_exchanges(), "failed")],
            "percentunit",
            "stat",
            4,
            5,
            ERRORS,
        ),
        Panel(
            "LLM call, p95",
            "Retries and pauses included.",
            [(quantile(0.95, "siding_call_duration_seconds"), "p95")],
            "s",
            "stat",
            4,
            5,
            GOOD,
        ),
    ]
    requests = [
        Panel(
            "Requests",
            "By class of status; none is where the client left before it saw one.",
            [(rate("siding_requests_total", "status"), "{{status}}")],
            "reqps",
            stacked=True,
        ),
        Panel(
            "Request time",
            "From a request's head to the end of its answer, time at providers included.",
            [(quantile(q, "siding_request_duration_seconds"), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
            "s",
        ),
        Panel(
            "How exchanges ended otherwise",
            "Everything that is not an answer of the app. The words are those of problem documents and logs.",
            [(rate("siding_exchanges_total", "outcome", where='outcome!="answered"') + " > 0", "{{outcome}}")],
            "reqps",
        ),
        Panel(
            "Routes",
            "The configured patterns, else the views' URL patterns; the busiest 20.",
            [
                (f"topk(20, {rate('siding_requests_total', 'route')})", ""),
                (rate("siding_requests_total", "route", where='status="5xx"'), ""),
                (quantile(0.95, "siding_request_duration_seconds", "route"), ""),
            ],
            "short",
            "table",
            24,
            9,
            columns=["requests/s", "5xx/s", "p95 s"],
            decimals=3,
        ),
    ]
    pool_row = [
        Panel(
            "Workers",
            "Busy on average, and how many there are.",
            [
                (rate("siding_workers_busy_seconds_total"), "busy"),
                ("sum(siding_workers_limit{})", "limit"),
                (SAVED_WORKERS, "saved"),
                ("sum(siding_workers_needed_without_siding{})", "needed without Siding"),
            ],
        ),
        Panel(
            "Waiting for a worker",
            "By class: resume are exchanges that come back with an answer.",
            [("sum by (class) (siding_queue_depth{})", "{{class}}")],
            stacked=True,
        ),
        Panel(
            "Where requests are",
            "Under way, thereof waiting for providers without a worker.",
            [("sum(siding_exchanges_in_flight{})", "in flight"), ("sum(siding_exchanges_suspended{})", "at providers")],
        ),
    ]
    process = [
        Panel("Siding's memory", "Resident.", [("process_resident_memory_bytes{}", "{{instance}}")], "bytes"),
        Panel("Siding's CPU", "Cores.", [("rate(process_cpu_seconds_total{}[$__rate_interval])", "{{instance}}")]),
        Panel(
            "Siding's own time",
            "Of an answered exchange, what was spent on neither worker, provider, queue nor client.",
            [(quantile(q, "siding_overhead_seconds"), f"p{q * 100:g}") for q in (0.5, 0.99)],
            "s",
        ),
    ]
    rows = [("Now", numbers), ("Requests", requests), ("Workers", pool_row), ("Siding itself", process)]
    return dashboard("overview", "Overview", "Saturation, errors and savings at a glance.", rows)
