"""TLS on both sides: clients reach Siding over it, Siding reaches providers over it."""

from __future__ import annotations

import ssl

import pytest
import tls
from harness.calls import chat, entry
from harness.raw_http import Connection, Incomplete
from harness.simulated_llm import SimulatedLLM
from harness.steps import HandOver, Tell, by_pass


def test_a_client_over_tls_is_served_and_the_app_is_told(scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    worker = scripted(Tell())
    proxy = siding(worker, settings={"server": {"tls": {"cert": str(cert), "key": str(key)}}})
    with Connection(proxy.address, tls=tls.trusting(cert)) as connection:
        response = connection.request("POST", "/", body=b"secret")
    assert response.status == 200
    assert b"secret" in response.body
    assert worker.requests[0].header("x-forwarded-proto") == "https"
    assert worker.requests[0].header("x-forwarded-for") == "127.0.0.1"
    proxy.ended("answered", "plain")


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")])
def test_the_protocol_is_negotiated(offered, chosen, scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    proxy = siding(scripted(Tell()), settings={"server": {"tls": {"cert": str(cert), "key": str(key)}}})
    context = tls.trusting(cert)
    context.set_alpn_protocols(offered)
    with Connection(proxy.address, tls=context) as connection:
        assert connection.socket.selected_alpn_protocol() == chosen
        assert connection.socket.version() in ("TLSv1.2", "TLSv1.3")


def test_plain_bytes_on_a_tls_listener_harm_nobody(scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    worker = scripted(Tell())
    proxy = siding(worker, settings={"server": {"tls": {"cert": str(cert), "key": str(key)}}})
    with Connection(proxy.address, 5) as plain:
        plain.start("GET", "/")
        with pytest.raises((Incomplete, OSError, ValueError)):  # an alert, a reset or an end, but no answer
            plain.response()
    with Connection(proxy.address, tls=tls.trusting(cert)) as connection:
        assert connection.request("GET", "/").status == 200
    assert len(worker.requests) == 1


def test_a_provider_over_tls_is_called_when_its_certificate_is_trusted(stack, scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    llm = stack.enter_context(SimulatedLLM(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)))
    worker = scripted(by_pass(HandOver([chat(llm.url, "over TLS")]), Tell()))
    proxy = siding(worker, llm.url, {"providers": {"openai": {"ca_file": str(cert)}}})
    assert entry(proxy.request("POST", "/chat", body=b"x"))["status"] == 200
    proxy.until_value(1, "siding_calls_total", result="ok")


def test_a_provider_whose_certificate_is_not_trusted_gets_nothing(stack, scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    llm = stack.enter_context(SimulatedLLM(tmp_path, "--tls-cert", str(cert), "--tls-key", str(key)))
    worker = scripted(by_pass(HandOver([chat(llm.url, "over TLS")]), Tell()))
    proxy = siding(worker, llm.url, {"providers": {"openai": {"retry": {"attempts": 1}}}})
    result = entry(proxy.request("POST", "/chat", body=b"x"))
    assert (result["kind"], result["error"]) == ("error", "connect")
    assert "certificate" in result["message"].lower()
    context = ssl.create_default_context(cafile=str(cert))
    with Connection(llm.address, tls=context) as connection:
        assert b'"total":0' in connection.request("GET", "/sim/stats").body
    proxy.until_value(1, "siding_calls_total", result="connect")
