"""Expressions and thresholds that dashboards have in common."""

from __future__ import annotations

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
