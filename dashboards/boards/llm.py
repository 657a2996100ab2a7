"""LLM calls: rate, errors, duration and cost."""

from __future__ import annotations

from panels import Json, Panel, dashboard

from boards.expressions import BREAKER, ERRORS, errors_of_calls, quantile, rate


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
