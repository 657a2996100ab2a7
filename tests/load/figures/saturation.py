"""What Siding says of its pool under a known load, to Little's law and Erlang's formula.

Four of gunicorn's sync workers are held for as long as each request says. Requests come at random (Poisson), so many
that the workers are busy for about 0.7 and 0.85 of the time: with equal service times, and with exponential ones. Then
every request is an exchange whose model takes two seconds, with exponential times of both passes; by theory (a network
of queues with a delay) its passes wait as if there was no model and twice the arrivals. Each run has its own Siding.

Arrivals and service times are drawn before, from a seed. Theory is asked about the rate and the mean time that a worker
was held as they came about, which Siding's own counters say. By chance alone the mean wait of thousands of arrivals is
further from its expectation than the promise allows. So an ideal pool is given the same arrivals in a simulation, and
what chance did to its mean goes off Siding's (a control variate): what is compared with theory is theory plus Siding's
mean less the ideal pool's. How sure that is, is judged by ten batches of the run, and told as half of a 95 % interval,
of theory. Means of gauges are those of a sample every mean service time.

SATURATION_PASSES in the environment is the number of passes of each run, SATURATION_MILLISECONDS the mean service time:
where other things run on the machine, it must be long to what they take from the workers.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exposition import Scrape, between
from harness.backend import Backend
from harness.load_driver import LoadDriver
from harness.siding import Siding
from harness.signing import SECRET
from harness.simulated_llm import SimulatedLLM
from installation import Installation
from queueing import Customer, erlang_c, half_width, ideal_waits, mean_wait
from verdict import Figure, Note

PASSES = int(os.environ.get("SATURATION_PASSES", "12000"))
WORKERS = 4
MEAN_SECONDS = float(os.environ.get("SATURATION_MILLISECONDS", "50")) / 1000
MODEL_SECONDS = 2.0
PROBES = 100
BATCHES = 10
SAMPLING_SECONDS = MEAN_SECONDS
# Before the expected wait is read: it is told from the first requests on, of which there are few at first.
SETTLING_SECONDS = 20.0
WAIT, HELD = "siding_queue_wait_seconds", "siding_workers_busy_seconds_total"
PROMISE = 10.0
SETTINGS = {
    "server": {"threads": 0},
    "log": {"filter": "warn"},
    "backend": {"workers": WORKERS, "queue": {"capacity": 10_000, "timeout": "60s"}},
}
HOME = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """One load. `utilisation` is what is aimed at; `is_equal` says how service times are spread, `visits` how often an
    exchange needs a worker."""

    name: str
    utilisation: float
    is_equal: bool
    visits: int = 1

    def customers(self, overhead: float) -> list[Customer]:
        """Who comes when, the same each time. `overhead` is what a worker takes besides."""
        chance = random.Random(self.name)
        rate = WORKERS * self.utilisation / (MEAN_SECONDS + overhead) / self.visits
        now, customers = 0.0, []
        for _ in range(PASSES // self.visits):
            now += chance.expovariate(rate)
            customers.append(Customer(now, [self._service(chance) for _ in range(self.visits)]))
        return customers

    def _service(self, chance: random.Random) -> float:
        return MEAN_SECONDS if self.is_equal else chance.expovariate(1 / MEAN_SECONDS)

    def path(self, customer: Customer, number: int) -> str:
        """What the app is asked; no two prompts are the same."""
        times = "/".join(f"{1000 * seconds:.3f}" for seconds in customer.services)
        return f"/{'serve' if self.visits == 1 else 'ask'}/{times}?{number}"


RUNS = (
    Run("equal times, 0.7", 0.7, is_equal=True),
    Run("equal times, 0.85", 0.85, is_equal=True),
    Run("exponential times, 0.7", 0.7, is_equal=False),
    Run("exponential times, 0.85", 0.85, is_equal=False),
    Run(f"every request a chat whose model takes {MODEL_SECONDS:g} s, 0.7", 0.7, is_equal=False, visits=2),
)


def measure(directory: Path, installation: Installation) -> Iterator[Figure | Note]:
    """Four or five verdicts for each run."""
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory, latency=f"{MODEL_SECONDS:g}s"))
        environment = {"LLM_URL": llm.url, "SIDING_SECRET": SECRET}
        app = stack.enter_context(
            Backend(
                directory,
                "queueing_app:application",
                HOME,
                workers=WORKERS,
                python=installation.python,
                environment=environment,
            )
        )
        with proxy(directory, app, llm) as siding:
            overhead = probe(siding)
        for run in RUNS:
            with proxy(directory, app, llm) as siding:
                observed = observe(directory, siding, run, run.customers(overhead))
            yield from observed.verdicts()


@contextlib.contextmanager
def proxy(directory: Path, app: Backend, llm: SimulatedLLM) -> Iterator[Siding]:
    """A new one, which knows of no load."""
    with Siding(directory, app.address, llm.providers(), SETTINGS) as siding:
        siding.until_app()
        yield siding


def probe(siding: Siding) -> float:
    """What a worker takes for a request beyond what it is told to, in seconds."""
    for _ in range(PROBES):
        assert siding.request("GET", f"/serve/{1000 * MEAN_SECONDS:g}").status == 200
    return Scrape.of(siding).total(HELD) / PROBES - MEAN_SECONDS


def observe(directory: Path, siding: Siding, run: Run, customers: Sequence[Customer]) -> Observed:
    """The load, watched."""
    trace = directory / "trace"
    trace.write_text("".join(f"{each.arrives:.6f} {run.path(each, at)}\n" for at, each in enumerate(customers)))
    before = Scrape.of(siding)
    with Watch(siding) as watch, LoadDriver(directory, siding.url, "--trace", str(trace)) as driver:
        result = driver.result(patience=customers[-1].arrives + 120)
    assert not result["failed"], result["errors"]
    return Observed(run, customers, before, Scrape.of(siding), watch.samples)


@dataclass(frozen=True)
class Sample:
    """What metrics said at one moment."""

    at: float
    depth: float
    busy: float
    expected: float
    waits: int
    waited: float


class Watch(threading.Thread):
    """Looks at the metrics for as long as it is entered."""

    def __init__(self, siding: Siding) -> None:
        super().__init__(daemon=True)
        self._siding, self._done = siding, threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self._done.wait(due - time.monotonic()):
            self.samples.append(self.look())
            due = max(due + SAMPLING_SECONDS, time.monotonic())

    def look(self) -> Sample:
        """One sample."""
        now = Scrape.of(self._siding)
        return Sample(
            now.at,
            now.total("siding_queue_depth"),
            now.total("siding_workers_busy"),
            now.total("siding_queue_wait_expected_seconds"),
            int(now.total(f"{WAIT}_count")),
            now.total(f"{WAIT}_sum"),
        )

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


@dataclass(frozen=True)
class Observed:
    """What came of a run, and what should have."""

    run: Run
    customers: Sequence[Customer]
    before: Scrape
    after: Scrape
    samples: Sequence[Sample]

    def verdicts(self) -> Iterator[Figure | Note]:
        """Differences in per cent."""
        name, began, ended = self.run.name, self.samples[0].at, self.samples[-1].at
        passes, waited = self._grown(f"{WAIT}_count"), self._grown(f"{WAIT}_sum")
        assert passes == len(self.customers) * self.run.visits, "not every pass was counted once"
        assert self._rate() * self._grown(HELD) / passes < WORKERS, "the machine is too busy: workers cannot keep up"
        # What is sampled includes the end of the run, when nothing comes any more.
        rate, held, wait = passes / (ended - began), self._grown(HELD) / passes, waited / passes
        took = self._grown("siding_pass_duration_seconds_sum") / passes
        busy = statistics.fmean(sample.busy for sample in self.samples)
        depth = statistics.fmean(sample.depth for sample in self.samples)
        yield off(f"{name}: busy workers, to Little's law", busy, rate * took, "workers", f"{rate:.1f} passes a second")
        yield off(f"{name}: queue depth, to Little's law", depth, rate * wait, "requests", f"{wait_ms(wait)} each")
        theory, ideal = self._theory(held), self._ideal(held)
        adjusted = wait - statistics.fmean(ideal) + theory
        details = f"Siding's mean {wait_ms(wait)}, the ideal pool's {wait_ms(statistics.fmean(ideal))}; " + self._sure(
            ideal, theory
        )
        yield off(f"{name}: mean wait, to Erlang's formula", adjusted, theory, "s", details)
        settled = [sample.expected for sample in self.samples if sample.at > began + SETTLING_SECONDS]
        if settled:
            expected = statistics.fmean(settled)
            yield off(f"{name}: the wait that Siding expects, to the mean wait", expected, adjusted, "s", "")
        yield Note(self._shares(held, ideal))

    def _grown(self, family: str) -> float:
        return between(self.before, self.after, family)

    def _rate(self) -> float:
        """Passes a second while customers came."""
        return len(self.customers) * self.run.visits / self.customers[-1].arrives

    def _theory(self, held: float) -> float:
        drawn = [seconds for each in self.customers for seconds in each.services]
        return mean_wait(WORKERS, self._rate(), held, statistics.pvariance(drawn) / held**2)

    def _ideal(self, held: float) -> list[float]:
        """The waits in an ideal pool whose workers take as much longer as these did."""
        drawn = statistics.fmean(seconds for each in self.customers for seconds in each.services)
        more = held - drawn
        customers = [Customer(each.arrives, [seconds + more for seconds in each.services]) for each in self.customers]
        return ideal_waits(WORKERS, customers, MODEL_SECONDS)

    def _sure(self, ideal: Sequence[float], theory: float) -> str:
        """How sure the difference between Siding and the ideal pool is, and Siding's mean by itself."""
        counts = [sample.waits - self.samples[0].waits for sample in self.samples]
        differences, means = [], []
        for batch in range(BATCHES):
            first, last = (bisect.bisect_left(counts, len(ideal) * edge // BATCHES) for edge in (batch, batch + 1))
            first, last = min(first, len(counts) - 1), min(last, len(counts) - 1)
            waits = counts[last] - counts[first]
            mean = (self.samples[last].waited - self.samples[first].waited) / max(waits, 1)
            means.append(mean / theory)
            differences.append((mean - statistics.fmean(ideal[counts[first] : counts[last]] or [0.0])) / theory)
        return (
            f"the difference is sure to {100 * half_width(differences):.1f} %, "
            f"Siding's mean alone to {100 * half_width(means):.1f} %"
        )

    def _shares(self, held: float, ideal: Sequence[float]) -> str:
        """How many waited longer than the least that the histogram tells apart."""
        least = 0.001
        longer = 1 - self._grown_bucket(least) / self._grown(f"{WAIT}_count")
        simulated = sum(wait > least for wait in ideal) / len(ideal)
        erlang = erlang_c(WORKERS, self._rate() * held)
        utilisation = self._rate() * held / WORKERS
        return (
            f"utilisation {utilisation:.3f}; waited longer than {1000 * least:g} ms: {100 * longer:.1f} % here, "
            f"{100 * simulated:.1f} % in the ideal pool; Erlang's share that waits at all {100 * erlang:.1f} %"
        )

    def _grown_bucket(self, bound: float) -> float:
        return between(self.before, self.after, f"{WAIT}_bucket", le=f"{bound:g}")


def off(name: str, found: float, wanted: float, unit: str, details: str) -> Figure:
    """How far they are apart."""
    told = f"{found:.4g} to {wanted:.4g} {unit}" + (f"; {details}" if details else "")
    return Figure(name, 100 * abs(found / wanted - 1), "at most", PROMISE, "%", told)


def wait_ms(seconds: float) -> str:
    """For people."""
    return f"{1000 * seconds:.2f} ms"
