"""What queueing theory says of a pool of workers, and what an ideal pool would make of given arrivals.

Written from the textbooks, so that it checks what Siding makes of them: Erlang's C formula; for service times that vary
less than exponential ones Cosmetatos' approximation (Management Science 22, 1976), which is within 3 % of the exact
value where servers are few and busy.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t for a 95 % interval, by degrees of freedom.
STUDENT_95 = {4: 2.776, 9: 2.262, 19: 2.093}


def erlang_c(servers: int, load: float) -> float:
    """The share of arrivals that wait. `load` is the mean number of servers that are busy."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)


def mean_wait(servers: int, rate: float, service: float, variation: float) -> float:
    """Of arrivals at random, in the unit of `service`, the mean service time. `variation` is the squared coefficient of
    variation of service times: 0 where they are equal, 1 where they are exponential."""
    load = rate * service
    exponential = erlang_c(servers, load) * service / (servers - load)
    idle = 1 - load / servers
    more = idle * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * servers * (1 - idle))
    return variation * exponential + (1 - variation) * exponential / 2 * (1 + more)


@dataclass(frozen=True)
class Customer:
    """When it comes, and how long each of its visits takes a server."""

    arrives: float
    services: Sequence[float]


def ideal_waits(servers: int, customers: Sequence[Customer], away: float = 0.0) -> list[float]:
    """The waits of all visits in the order in which they begin to wait, first come first served, with servers that lose
    no time. Between its visits, a customer is `away`."""
    waiting = [(customer.arrives, number, 0) for number, customer in enumerate(customers)]
    heapq.heapify(waiting)
    free = [0.0] * servers
    waits = []
    while waiting:
        arrived, number, visit = heapq.heappop(waiting)
        begins = max(arrived, free[0])
        services = customers[number].services
        ends = begins + services[visit]
        heapq.heapreplace(free, ends)
        waits.append(begins - arrived)
        if visit + 1 < len(services):
            heapq.heappush(waiting, (ends + away, number, visit + 1))
    return waits


def half_width(batches: Sequence[float]) -> float:
    """Of the 95 % interval of the mean of batches, which are long enough to be independent of one another."""
    return STUDENT_95[len(batches) - 1] * statistics.stdev(batches) / math.sqrt(len(batches))
