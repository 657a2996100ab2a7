"""What is shown: an overview, and one dashboard each for the worker pool, for LLM calls, and for what is shared."""

from __future__ import annotations

from panels import Json, Panel, dashboard

RATE = "[$__rate_interval]"
TIMEOUTS = "connect_timeout|first_byte_timeout|idle_timeout|total_timeout"
FAILED = f"server_error|connect|{TIMEOUTS}|interrupted|protocol|unavailable"
BAD = ".*(closed|connect|timeout|protocol|full|hopeless|failed|unavailable|internal|deadline|interrupted).*"
SATURATION: list[tuple[float | None, str]] = [(None, "green"), (0.7, "orange"), (0.9, "red")]
WAITING: list[tuple[float | None, str]] = [(None, "green"), (0.25, "orange"), (1, "red")]
ERRORS: list[tuple[float | None, str]] = [(None, "green"), (0.01, "orange"), (0.05, "red")]
GOOD: list[tuple[float | None, str]] = [(None, "blue")]

UTILISATION = f"sum(rate(siding_workers_busy_seconds_total{{}}{RATE})) / sum(siding_workers_limit{{}})"
SAVED_WORKERS = f"sum(rate(siding_worker_seconds_saved_total{{}}{RATE}))"


BREAKER = (
    'max by (provider) (siding_provider_breaker_state{state="open"} * 2 '
    'or siding_provider_breaker_state{state="half-open"})'
)


def quantile(share: float, family: str, *by: str, where: str = "") -> str:
    """Of a histogram, over all instances."""
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({share}, sum by ({labels}) (rate({family}_bucket{{{where}}}{RATE})))"


def rate(family: str, *by: str, where: str = "") -> str:
    """Events a second, or what a counter counts."""
    total = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{total} (rate({family}{{{where}}}{RATE}))"


def errors_of_exchanges() -> str:
    """The share of requests that Siding or the app's server failed."""
    bad = rate("siding_exchanges_total", where=f'outcome=~"{BAD}"')
    return f"{bad} / {rate('siding_exchanges_total')}"


def errors_of_calls(*by: str) -> str:
    """The share of calls that providers failed; those whose caller left count for nothing."""
    failed = rate("siding_calls_total", *by, where=f'result=~"{FAILED}|rate_limited"')
    ended = rate("siding_calls_total", *by, where='result!="cancelled"')
    return f"{failed} / {ended}"


def hit_rate(*by: str) -> str:
    """The share of requests that could share and cost nothing."""
    free = rate("siding_cache_requests_total", *by, where='result=~"hit|stale|collapsed"')
    could = rate("siding_cache_requests_total", *by, where='result!="bypass"')
    return f"{free} / {could}"


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


def llm() -> Json:
    """Rate, errors, duration and cost of calls."""
    calls = [
        Panel(
            "Calls",
            "By how they ended.",
            [(rate("siding_calls_total", "result") + " > 0", "{{result}}")],
            "reqps",
            stacked=True,
        ),
        Panel(
            "Failed calls",
            "By provider, rate limits included. Retries that helped are not in it.",
            [(errors_of_calls("provider"), "{{provider}}")],
            "percentunit",
            thresholds=ERRORS,
            largest=1,
        ),
        Panel(
            "Time of a call",
            "Retries and pauses included.",
            [
                (quantile(0.95, "siding_call_duration_seconds", "provider"), "p95, {{provider}}"),
                (quantile(0.5, "siding_call_duration_seconds", "provider"), "p50, {{provider}}"),
            ],
            "s",
        ),
        Panel(
            "Time to first token",
            "Of streams, from the call to the first piece.",
            [
                (quantile(q, "siding_call_first_token_seconds", "provider"), f"p{q * 100:g}, {{{{provider}}}}")
                for q in (0.5, 0.95)
            ],
            "s",
        ),
        Panel(
            "Time to the response head",
            "Of one try.",
            [(quantile(0.95, "siding_call_first_byte_seconds", "provider"), "p95, {{provider}}")],
            "s",
        ),
        Panel("Calls under way", "By provider.", [("sum by (provider) (siding_calls_in_flight{})", "{{provider}}")]),
    ]
    health = [
        Panel(
            "Circuit breakers",
            "Open: nothing is sent to the provider for a while; calls fail at once or go to a fallback.",
            [
                (
                    BREAKER,
                    "{{provider}}",
                )
            ],
            "short",
            "state-timeline",
            12,
            mappings={
                "0": {"text": "closed", "color": "green"},
                "1": {"text": "half-open", "color": "orange"},
                "2": {"text": "open", "color": "red"},
            },
        ),
        Panel(
            "Tries beyond the first",
            "Retries, second requests sent in time, calls that went to a fallback.",
            [
                (rate("siding_call_retries_total"), "retries"),
                (rate("siding_call_hedges_total"), "hedges"),
                (rate("siding_call_fallbacks_total") + " or vector(0)", "fallbacks"),
            ],
            "reqps",
            width=12,
        ),
        Panel(
            "Waiting to be sent",
            "By what calls wait for: a place at the provider, or its rate limit's reset.",
            [("sum by (provider, cause) (siding_provider_waiting{})", "{{provider}}: {{cause}}")],
        ),
        Panel(
            "Requests at once",
            "And how many Siding allows, which falls after 429 and time-outs and grows with answers.",
            [
                ("sum by (provider) (siding_provider_concurrency_in_use{})", "{{provider}}"),
                ("min by (provider) (siding_provider_concurrency_limit{})", "{{provider}}, allowed"),
            ],
        ),
        Panel(
            "Keys that rest or are refused",
            "A refused key is wrong or withdrawn: replace it.",
            [
                (rate("siding_provider_key_rests_total", "provider", "key"), "{{provider}} {{key}} rests"),
                (rate("siding_provider_key_refusals_total", "provider", "key"), "{{provider}} {{key}} refused"),
            ],
            "reqps",
        ),
    ]
    money = [
        Panel(
            "Cost an hour",
            "By model, as configured prices have it. An estimate.",
            [
                (
                    "sum by (provider, model) (rate(siding_cost_dollars_total{}[$__rate_interval])) * 3600",
                    "{{provider}} {{model}}",
                )
            ],
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Saved an hour",
            "By how: hit is a stored answer, collapsed another's call.",
            [("sum by (how) (rate(siding_saved_dollars_total{}[$__rate_interval])) * 3600", "{{how}}")],
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Tokens", "cached_input is a part of input.", [(rate("siding_tokens_total", "kind"), "{{kind}}")], "short"
        ),
        Panel(
            "Where money goes",
            "By route, in the time shown.",
            [("topk(20, sum by (route, provider, model) (increase(siding_cost_dollars_total{}[$__range])))", "")],
            "currencyUSD",
            "table",
            24,
            8,
            columns=["dollars"],
            decimals=4,
        ),
    ]
    rows = [("Calls", calls), ("Health of providers", health), ("Tokens and money", money)]
    return dashboard("llm", "LLM calls", "Rate, errors, duration and cost of calls to providers.", rows)


def sharing() -> Json:
    """What the cache and coalescing do."""
    results = [
        Panel(
            "Shared",
            "Of requests that could share, the share that cost nothing: stored, or another's call.",
            [(hit_rate("place"), "{{place}}")],
            "percentunit",
            largest=1,
        ),
        Panel(
            "Requests that could share",
            "By result.",
            [(rate("siding_cache_requests_total", "place", "result"), "{{place}}: {{result}}")],
            "reqps",
            stacked=True,
        ),
        Panel(
            "Waiting for another's answer",
            "Requests that joined a call under way, and the calls that are shared.",
            [("sum(siding_coalesced_waiting{})", "waiting"), ("sum(siding_flights_in_flight{})", "flights")],
        ),
        Panel(
            "Requests an answer serves",
            "Those that joined, and the one that made it.",
            [(f"1 + {rate('siding_coalesced_requests_total')} / {rate('siding_flights_total')}", "requests")],
        ),
        Panel(
            "How shared work ended",
            "unwanted: everybody had left. Elections are further tries after a failed one.",
            [
                (rate("siding_flights_total", "outcome"), "{{outcome}}"),
                (rate("siding_flight_elections_total"), "elections"),
            ],
            "reqps",
        ),
        Panel(
            "Not stored",
            "Complete answers, by why. forbidden: no ttl, or a directive.",
            [(rate("siding_cache_not_stored_total", "reason") + " > 0", "{{reason}}")],
            "reqps",
        ),
    ]
    size = [
        Panel(
            "Memory of the cache",
            "And its bound. At the bound, answers are let go before their time: see evictions by size.",
            [
                ("sum by (instance) (siding_cache_size_bytes{})", "{{instance}}"),
                ("max(siding_cache_size_limit_bytes{})", "bound"),
            ],
            "bytes",
        ),
        Panel("Entries", "Stored now.", [("sum by (instance) (siding_cache_entries{})", "{{instance}}")]),
        Panel(
            "Evictions",
            "size: others needed the place. Steadily above zero, cache.capacity is too small.",
            [(rate("siding_cache_evictions_total", "reason"), "{{reason}}")],
            "reqps",
        ),
    ]
    saved = [
        Panel("Tokens saved", "By kind.", [(rate("siding_saved_tokens_total", "how", "kind"), "{{how}}: {{kind}}")]),
        Panel(
            "Money saved an hour",
            "By model.",
            [
                (
                    "sum by (provider, model) (rate(siding_saved_dollars_total{}[$__rate_interval])) * 3600",
                    "{{provider}} {{model}}",
                )
            ],
            "currencyUSD",
            stacked=True,
        ),
        Panel(
            "Jobs",
            "Under way, and results that are kept.",
            [("sum by (state) (siding_jobs{})", "{{state}}"), ("sum(siding_job_results{})", "results")],
        ),
    ]
    rows = [("One answer for many", results), ("The store", size), ("What that saves", saved)]
    return dashboard("sharing", "Cache and coalescing", "Which requests share answers, and what that saves.", rows)
