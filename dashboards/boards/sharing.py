"""What the cache and coalescing do."""

from __future__ import annotations

from panels import Json, Panel, dashboard

from boards.expressions import hit_rate, rate


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
