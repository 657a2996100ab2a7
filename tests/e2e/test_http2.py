"""HTTP/2, over TLS and without: the same answers as over HTTP/1.1."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from types import SimpleNamespace

import apps
import httpx
import pytest
import tls
from harness.addresses import free_address
from harness.backend import Backend
from harness.calls import chat
from harness.h2_client import Streams
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from harness.steps import Answer, CloseMidBody, HandOver, Tell, by_pass, by_path
from test_differential import REQUESTS

NOT_IN_HTTP2 = {"connection", "keep-alive", "transfer-encoding", "date"}
LEFT_OUT = {"OPTIONS of everything", "100-continue that nobody waits for", "a host with a port", "compression"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An app behind listeners of every kind."""
    directory = tmp_path_factory.mktemp("http2")
    cert, key = tls.make(directory)
    with ExitStack() as stack:
        app = stack.enter_context(Backend(directory, "apps:mirror", apps.FOLDER, server="gunicorn-gthread", threads=8))
        server = {"h2c": free_address(), "tls": {"cert": str(cert), "key": str(key)}}
        proxy = stack.enter_context(Siding(directory, app.address, None, {"server": server, "backend": {"threads": 8}}))
        verify = tls.trusting(cert)
        clients = {
            "h1": httpx.Client(base_url=f"http://{app.address}"),
            "h1 over TLS": httpx.Client(base_url=f"https://{proxy.address}", verify=verify),
            "h2 over TLS": httpx.Client(base_url=f"https://{proxy.address}", verify=verify, http2=True),
            "h2c": httpx.Client(base_url=f"http://{server['h2c']}", http1=False, http2=True),
        }
        yield SimpleNamespace(h2c=server["h2c"], clients={k: stack.enter_context(c) for k, c in clients.items()})


def ask(client, name):
    """A request of the differential test through a client library."""
    method, target, headers, body = REQUESTS[name]
    fixed = [("accept-encoding", "identity"), ("user-agent", "test"), ("host", "app.example")]
    headers = [*fixed, *((n, v.encode("latin-1")) for n, v in headers if n.lower() not in ("accept-encoding", "te"))]
    response = client.request(method, target, headers=headers, content=body, timeout=10)
    kept = [(n.lower(), v) for n, v in response.headers.raw if n.lower().decode() not in NOT_IN_HTTP2]
    return response.status_code, sorted(kept, key=lambda header: header[0]), response.content


@pytest.mark.parametrize("kind", ["h1 over TLS", "h2 over TLS", "h2c"])
@pytest.mark.parametrize("name", [name for name in REQUESTS if name not in LEFT_OUT])
def test_an_answer_is_the_same_as_over_http_1_1(name, kind, site):
    assert ask(site.clients[kind], name) == ask(site.clients["h1"], name)


VERSIONS = [("h1 over TLS", "HTTP/1.1"), ("h2 over TLS", "HTTP/2"), ("h2c", "HTTP/2")]


@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_the_protocol_is_the_one_that_was_asked_for(kind, version, site):
    response = site.clients[kind].get("/echo")
    assert (response.status_code, response.http_version) == (200, version)


def test_many_streams_share_a_connection(site):
    with Streams(site.h2c) as streams:
        bodies = [bytes([number]) * 500 for number in range(100)]
        started = [streams.start("POST", "/echo", body) for body in bodies]
        answers = [streams.finish(stream) for stream in started]
    assert {answer.status for answer in answers} == {200}
    told = [json.loads(answer.body)["body"][1] for answer in answers]
    assert told == [hashlib.sha256(body).hexdigest() for body in bodies]


@pytest.fixture
def h2c(stack, tmp_path, llm):
    """A scripted worker behind an HTTP/2 listener."""

    def start(script):
        worker = stack.enter_context(ScriptedWorker(script))
        server = {"h2c": free_address()}
        proxy = stack.enter_context(
            Siding(
                tmp_path,
                worker.address,
                llm.url,
                {"server": server, "routes": [{"path": "/streamed/**", "handoff": False}]},
            )
        )
        client = httpx.Client(base_url=f"http://{server['h2c']}", http1=False, http2=True)
        return worker, proxy, stack.enter_context(client)

    return start


def test_an_exchange_suspends_and_resumes(llm: SimulatedLLM, h2c):
    worker, proxy, client = h2c(by_pass(HandOver([chat(llm.url, "over h2")]), Tell()))
    response = client.post("/chat", content=b"question")
    assert (response.status_code, response.json()["body"]) == (200, "question")
    assert response.json()["journal"][0]["status"] == 200
    assert llm.stats("over h2")["total"] == 1
    assert all(request.offer_verifies() for request in worker.requests)
    proxy.ended("answered", "replay")


def test_a_client_that_resets_its_stream_cancels_its_call_and_leaves_the_others_alone(llm: SimulatedLLM, h2c):
    worker, proxy, client = h2c(
        lambda r: by_pass(HandOver([chat(llm.url, "[hang]")]), Tell())(r) if r.target == "/chat" else Answer()
    )
    with Streams(client.base_url.netloc.decode()) as streams:
        waiting = streams.start("POST", "/chat", b"question")
        llm.until_stats({"in_flight": 1})
        streams.reset(waiting)
        llm.until_stats({"total": 1, "cancelled": 1})
        proxy.ended("client-gone", "replay")
        assert streams.finish(streams.start("GET", "/other")).status == 200
    assert [request.target for request in worker.requests] == ["/chat", "/other"]


@pytest.mark.parametrize("path", ["/buffered", "/streamed/x"])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_that_breaks_off_never_looks_complete(path, chunked, h2c):
    half = CloseMidBody(b"half", chunked)
    _, proxy, client = h2c(by_path(buffered=half, streamed=half))
    with Streams(client.base_url.netloc.decode()) as streams:
        stream = streams.finish(streams.start("GET", path))
    assert stream.reset is not None, f"it ended well after {bytes(stream.body)!r}"
    proxy.ended("interrupted")
