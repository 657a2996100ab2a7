"""The queueing theory by which the figure `saturation` judges Siding."""

from __future__ import annotations

import random
import statistics

import pytest
from queueing import Customer, erlang_c, ideal_waits, mean_wait


def test_the_share_that_waits_is_that_of_the_tables() -> None:
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, rel=1e-3)


def test_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    for variation in (0.0, 0.5, 1.0):
        assert mean_wait(1, 0.8, 1.0, variation) == pytest.approx(0.8 / 0.2 * (1 + variation) / 2)


def test_an_ideal_pool_serves_who_came_first_and_takes_customers_again() -> None:
    together = [Customer(0.0, [2.0]), Customer(0.0, [3.0]), Customer(1.0, [1.0]), Customer(1.5, [1.0])]
    assert ideal_waits(2, together) == [0.0, 0.0, 1.0, 1.5]
    again = [Customer(0.0, [1.0, 1.0]), Customer(3.5, [1.0])]
    assert ideal_waits(1, again, away=3.0) == [0.0, 0.0, 0.5]


@pytest.mark.parametrize("variation", [0.0, 1.0])
def test_an_ideal_pool_with_many_customers_does_what_the_formula_says(variation: float) -> None:
    chance, now, customers = random.Random(7), 0.0, []
    for _ in range(60_000):
        now += chance.expovariate(2.8)
        customers.append(Customer(now, [chance.expovariate(1.0) if variation else 1.0]))
    served = statistics.fmean(customer.services[0] for customer in customers)
    waited = statistics.fmean(ideal_waits(4, customers))
    assert waited == pytest.approx(mean_wait(4, len(customers) / now, served, variation), rel=0.1)


def test_passes_of_customers_that_come_again_wait_as_if_twice_as_many_came_once() -> None:
    chance, now, customers = random.Random(7), 0.0, []
    for _ in range(60_000):
        now += chance.expovariate(1.4)
        customers.append(Customer(now, [chance.expovariate(1.0), chance.expovariate(1.0)]))
    served = statistics.fmean(seconds for customer in customers for seconds in customer.services)
    waited = statistics.fmean(ideal_waits(4, customers, away=40.0))
    assert waited == pytest.approx(mean_wait(4, 2 * len(customers) / now, served, 1.0), rel=0.1)
