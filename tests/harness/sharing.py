"""What the metrics say of shared calls."""

from __future__ import annotations

from harness.siding import Siding

RESULTS = ("hit", "stale", "miss", "collapsed", "bypass")


def counted(proxy: Siding, **expected: int) -> None:
    """The calls by how they were answered, all of them."""
    found = {name: int(proxy.value("siding_cache_requests_total", place="call", result=name)) for name in RESULTS}
    assert found == dict.fromkeys(RESULTS, 0) | expected


def flown(proxy: Siding, elections: int = 0, **expected: int) -> None:
    """The flights by how they ended, all of them, and that none is left."""
    proxy.until_value(0, "siding_flights_in_flight")
    outcomes = ("complete", "failed", "unwanted")
    found = {name: int(proxy.value("siding_flights_total", outcome=name)) for name in outcomes}
    assert found == dict.fromkeys(outcomes, 0) | expected
    assert proxy.value("siding_flight_elections_total") == elections
    assert proxy.value("siding_coalesced_waiting") == 0
    proxy.until_value(0, "siding_buffered_bytes")
