"""10,000 identical calls, plain and streaming, over the whole life of one stream: one provider call, all answered.

Half of the clients stream. They come evenly while the provider sends its stream, so that the last ones join shortly
before its end. The same again with the first client leaving, with every tenth leaving after its first bytes, with one
that reads a byte a second, and with a provider that dies before and after its first byte. Every answer is compared with
the others of its form, and the first of each with the prompt.

IDENTICAL_CALLS in the environment is their number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crowd import Client, Plan, asking, gather
from harness.addresses import free_address
from harness.process import rss_bytes
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from installation import Installation
from verdict import Figure, Note

CLIENTS = int(os.environ.get("IDENTICAL_CALLS", "10000"))
STREAM_SECONDS = 12.0
TOKENS, TOKEN_RATE = 60, 5
PATIENCE = 180.0


def measure(directory: Path, _: Installation) -> Iterator[Figure | Note]:
    """The promises."""
    with contextlib.ExitStack() as stack:
        llm = stack.enter_context(SimulatedLLM(directory))
        llm.configure(tokens=TOKENS, token_rate=TOKEN_RATE, latency="100ms")
        egress = free_address()
        settings = {
            "server": {"egress": egress},
            "log": {"filter": "warn"},
            "cache": {"max_followers": 2 * CLIENTS},
            "providers": {"openai": {"retry": {"attempts": 1}}},
        }
        siding = stack.enter_context(Siding(directory, free_address(), llm.providers(), settings))
        spread = STREAM_SECONDS * 0.75
        yield from answered(llm, egress, "all stay", Plan(CLIENTS, spread))
        yield Note(f"Siding's memory after it: {rss_bytes(siding.pid) >> 20} MiB")
        yield from answered(llm, egress, "the first leaves", Plan(CLIENTS, spread, {0: 1}))
        tenth = dict.fromkeys(range(0, CLIENTS, 10), 1)
        yield from answered(llm, egress, "every tenth leaves", Plan(CLIENTS, spread, tenth))
        with slow_reader(egress, "one reads a byte a second"):
            yield from answered(llm, egress, "one reads a byte a second", Plan(CLIENTS, spread))
        yield from failed(llm, egress, "[reset] dies before its first byte", 3)
        yield from failed(llm, egress, "[reset-body] dies in the middle", 1)


def answered(llm: SimulatedLLM, egress: str, name: str, plan: Plan) -> Iterator[Figure | Note]:
    """One call, and every answer whole and right."""
    prompt = f"{name}, of {plan.clients}"
    ended = gather(egress, prompt, plan, PATIENCE)
    stayed = [(how, client) for number, (how, client) in enumerate(ended) if number not in plan.leaving]
    forms: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())
    wrong = 0
    for how, client in stayed:
        body = client.body()
        forms[is_stream(client)][hashlib.sha256(body).digest()] += 1
        wrong += how != "complete" or client.status() != 200 or not is_answer(body, prompt)
    calls = llm.stats(prompt)["total"]
    yield Figure(f"{name}: provider calls", calls, "at most", 1, details=f"{plan.clients} clients")
    yield Figure(f"{name}: wrong or incomplete answers", wrong, "at most", 0, details=f"of {len(stayed)}")
    yield Figure(f"{name}: different answers of a form", max(map(len, forms)), "at most", 1)


def failed(llm: SimulatedLLM, egress: str, prompt: str, tries: int) -> Iterator[Figure | Note]:
    """Nobody gets an answer that looks whole, and the provider is not asked by each."""
    ended = gather(egress, prompt, Plan(CLIENTS // 10, 0.5), PATIENCE)
    whole = sum(how == "complete" and client.status() == 200 for how, client in ended)
    flights = llm.stats(prompt)["total"]
    yield Figure(f"{prompt}: answers that look whole", whole, "at most", 0, details=f"of {len(ended)}")
    yield Note(
        f"{prompt}: {flights} provider calls, at most {tries} a flight; ends {dict(Counter(h for h, _ in ended))}"
    )


def is_stream(client: Client) -> bool:
    """Which form it asked for."""
    return b'"stream": true' in client.request


def is_answer(body: bytes, prompt: str) -> bool:
    """Whether it is the simulated model's answer to this prompt, in either form."""
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    if not body.startswith(b"data:"):
        return digest in json.loads(body)["choices"][0]["message"]["content"]
    events = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    if events[-1] != "[DONE]":
        return False
    deltas = [choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"]]
    return digest in "".join(deltas)


@contextlib.contextmanager
def slow_reader(egress: str, name: str) -> Iterator[None]:
    """A client of the same stream that reads a byte a second while the others are served."""
    host, port = egress.rsplit(":", 1)
    over = threading.Event()
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stream.connect((host, int(port)))
        stream.sendall(asking(f"{name}, of {CLIENTS}", stream=True))

        def read() -> None:
            while not over.wait(1.0) and stream.recv(1):
                pass

        reading = threading.Thread(target=read)
        reading.start()
        yield
        over.set()
        reading.join()
