"""Each fault of a provider, in each way that a call can meet it: what the caller gets, what it costs, that the retry
budget holds, and that nothing needs to be done once the fault is gone. docs/provider-faults.md says what is observed
here."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import faults_page
import pytest
from faults_page import BOUND, BURST, Row
from harness.waiting import until
from provider_faults import FAULTS, WAYS, WHOLE, combinations


@pytest.mark.parametrize(("fault", "way"), combinations())
def test_a_fault_has_the_outcome_that_the_page_tells(fault: str, way: str, stack: ExitStack, tmp_path: Path) -> None:
    provider = FAULTS[fault].broken(stack, tmp_path)
    calls = WAYS[way](stack, tmp_path, provider, FAULTS[fault])
    [gets] = calls.ask(["the first"])
    requests = calls.requests()
    assert len(calls.ask([f"burst {number}" for number in range(BURST)])) == BURST
    burst = calls.requests() - requests
    assert BURST <= burst <= BOUND, "the retry budget does not hold"
    if had := provider.requests:
        until("the provider to have had what Siding sent", lambda: had() == requests + burst)
    provider.mend()
    before = calls.requests()
    [after] = calls.ask(["the last"])
    assert after == WHOLE
    assert calls.requests() - before == 1, "the next call meets something of the fault"
    for family in ("siding_calls_in_flight", "siding_flights_in_flight", "siding_buffered_bytes"):
        calls.proxy.until_value(0, family)
    told = str(BURST) if burst == BURST else f"at most {BOUND}"
    row = Row(fault, way, gets, str(requests), told, after)
    if faults_page.is_being_made():
        faults_page.keep(row)
    else:
        missing = f"docs/provider-faults.md does not say {row}: python tests/e2e/faults_page.py .cache"
        assert row.line() in faults_page.published(), missing


def test_the_page_tells_of_every_fault_and_of_no_other() -> None:
    if faults_page.is_being_made():
        pytest.skip("the page is being made")
    told = [tuple(line.strip("| ").split(" | ")[:2]) for line in faults_page.published()]
    assert told == combinations()
