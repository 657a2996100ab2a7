"""Whose key a provider sees, and which secret the app and Siding share."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.addresses import free_address
from harness.calls import KEY, assert_problem, chat, entry
from harness.siding import Siding
from harness.steps import HandOver, Tell, by_pass
from harness.waiting import until

OLD, NEW = "old-secret-old-secret-old", "new-secret-new-secret-new"


def test_the_apps_own_credentials_are_passed_on_where_none_is_configured(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")]), Tell()))
    proxy = siding(worker, llm.url)
    response = proxy.request("POST", "/", [("Authorization", "Bearer of-the-client"), ("Cookie", "c=1")], b"x")
    assert entry(response)["status"] == 200
    [asked] = llm.asked("x")
    headers = [(name.lower(), value) for name, value in asked["headers"]]
    assert ("authorization", f"Bearer {KEY}") in headers
    assert "of-the-client" not in str(asked)
    assert "cookie" not in dict(headers)
    assert not [name for name, _ in headers if name.startswith(("siding", "x-forwarded"))]


def test_a_configured_key_replaces_the_apps_credentials(llm, scripted, stack, tmp_path: Path):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")]), Tell()))
    settings = {"providers": {"openai": {"api_key_env": "THE_KEY"}}}
    proxy = stack.enter_context(
        Siding(tmp_path, worker.address, llm.url, settings, environment={"THE_KEY": "sk-configured"})
    )
    assert entry(proxy.request("POST", "/", body=b"x"))["status"] == 200
    [asked] = llm.asked("x")
    assert [value for name, value in asked["headers"] if name.lower() == "authorization"] == ["Bearer sk-configured"]
    assert KEY not in str(asked)
    assert "sk-configured" not in proxy.log
    assert "sk-configured" not in str(worker.requests)


def test_a_call_that_the_provider_does_not_authorise_is_the_apps_to_handle(llm, scripted, siding):
    call = chat(llm.url, "x", headers=[["authorization", "Bearer bad-key"], ["content-type", "application/json"]])
    proxy = siding(scripted(by_pass(HandOver([call]), Tell())), llm.url)
    assert entry(proxy.request("POST", "/", body=b"x"))["status"] == 401
    assert llm.stats()["total"] == 1


@pytest.mark.parametrize(("signed_with", "accepted"), [(NEW, True), (OLD, True), ("a-third-secret-of-24-byte", False)])
def test_during_a_rotation_both_secrets_are_accepted_and_the_new_one_signs(
    signed_with, accepted, llm, scripted, stack, tmp_path
):
    worker = scripted(by_pass(HandOver([chat(llm.url, "x")], secret=signed_with), Tell()))
    settings = {"handoff": {"previous_secret_env": "PREVIOUS"}}
    proxy = stack.enter_context(
        Siding(tmp_path, worker.address, llm.url, settings, secret=NEW, environment={"PREVIOUS": OLD})
    )
    response = proxy.request("POST", "/", body=b"x")
    if accepted:
        assert entry(response)["status"] == 200
    else:
        assert_problem(response, 502, "handoff-invalid")
    assert llm.stats()["total"] == int(accepted)
    assert all(request.offer_verifies(NEW) for request in worker.requests)
    assert not any(secret in proxy.log for secret in (OLD, NEW))


def test_a_call_goes_to_the_provider_whose_prefix_is_the_longest(llm, scripted, siding, stack):
    other = scripted(by_pass(Tell()))
    settings = {"providers": {"special": {"dialect": "openai", "base_url": f"{other.url}/v1/special"}}}
    url = f"{other.url}/v1/special"
    worker = scripted(by_pass(HandOver([chat(llm.url, "x"), chat(url, "y", url=f"{url}/chat/completions")]), Tell()))
    proxy = siding(worker, llm.url, settings)
    assert proxy.request("POST", "/", body=b"x").status == 200
    assert (llm.stats()["total"], [r.target for r in other.requests]) == (1, ["/v1/special/chat/completions"])
    proxy.until_value(1, "siding_calls_total", provider="special", result="ok")
    assert proxy.value("siding_calls_total", provider="openai", result="ok") == 1


@pytest.mark.parametrize("tail", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/..%2fadmin", "/v1x/chat", "/admin"])
def test_a_call_outside_every_prefix_is_not_made(tail, llm, scripted, siding):
    call = chat(llm.url, "x", url=llm.url + tail)
    worker = scripted(by_pass(HandOver([call]), Tell()))
    proxy = siding(worker, {"openai": f"{llm.url}/v1"})
    assert_problem(proxy.request("POST", "/", body=b"x"), 502, "handoff-origin")
    assert llm.stats()["total"] == 0
    assert proxy.value("siding_handoff_refused_total", reason="handoff-origin") == 1


@pytest.mark.parametrize("handoff", [True, False])
def test_a_query_is_never_logged(handoff, siding):
    proxy = siding(free_address(), None, {"routes": [{"path": "/**", "handoff": handoff}]})
    assert proxy.request("GET", "/a?token=very-secret").status == 502
    until("the access line", lambda: "backend-connect" in proxy.log)
    assert "very-secret" not in proxy.log
