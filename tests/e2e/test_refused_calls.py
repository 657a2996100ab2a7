"""Calls that Siding must refuse: the client gets a problem, the provider nothing, and no credential leaks."""

from __future__ import annotations

import pytest
from harness.calls import KEY, assert_problem, chat, told
from harness.steps import Answer, HandOver, Tell, by_pass

PROMPT = "a call to be refused"


def spoiled(url):
    """Every way to get a call wrong, with the problem it must end in."""
    call = chat(url, PROMPT)
    small = {"handoff": {"max_call_bytes": "1KiB", "max_calls": 2}}
    journal = {"handoff": {"max_journal": "4KiB", "max_result": "4KiB", "max_call_bytes": "64KiB"}}
    value = {"kind": "value", "name": "n", "value": "v" * 5000}
    without = [{k: v for k, v in call.items() if k != member} for member in ("url", "name", "method", "digest")]
    return {
        "no signature": ("handoff-invalid", HandOver([call], signed=False), {}),
        "a signature with another secret": ("handoff-invalid", HandOver([call], secret="another-secret-of-32-b"), {}),
        "a signature of a minute ago": ("handoff-invalid", HandOver([call], seconds_off=-75), {}),
        "a signature of the future": ("handoff-invalid", HandOver([call], seconds_off=75), {}),
        "a signature for another target": ("handoff-invalid", HandOver([call], signed_target="/other"), {}),
        "another exchange": ("handoff-invalid", HandOver([call], exchange="0" * 32), {}),
        "another pass": ("handoff-invalid", HandOver([call], number=7), {}),
        "no JSON": ("handoff-invalid", HandOver([], document=b"{" + KEY.encode()), {}),
        "no document": ("handoff-invalid", HandOver([], document=b""), {}),
        "no calls": ("handoff-invalid", HandOver([]), {}),
        "no url": ("handoff-invalid", HandOver([without[0]]), {}),
        "no name": ("handoff-invalid", HandOver([without[1]]), {}),
        "no method": ("handoff-invalid", HandOver([without[2]]), {}),
        "no digest": ("handoff-invalid", HandOver([without[3]]), {}),
        "a relative url": ("handoff-invalid", HandOver([chat("", PROMPT)]), {}),
        "a header with a line break": ("handoff-invalid", HandOver([{**call, "headers": [["a", "b\r\nc: d"]]}]), {}),
        "two bodies": ("handoff-invalid", HandOver([{**call, "body_b64": "aGk="}]), {}),
        "a journal entry that is no object": ("handoff-invalid", HandOver([call], journal=[1]), {}),
        "another version": ("handoff-unsupported", HandOver([call], v=2), {}),
        "a mode that was not offered": ("handoff-unsupported", HandOver([call], mode="later"), {}),
        "a relay that does not say how": ("handoff-invalid", HandOver([call], mode="relay"), {}),
        "an unknown host": ("handoff-origin", HandOver([chat("http://169.254.169.254", PROMPT)]), {}),
        "an unknown scheme": ("handoff-origin", HandOver([{**call, "url": "file:///etc/passwd"}]), {}),
        "credentials in the url": ("handoff-origin", HandOver([chat(url.replace("//", "//u:p@"), PROMPT)]), {}),
        "one unknown host among known ones": ("handoff-origin", HandOver([call, chat("http://10.0.0.1", PROMPT)]), {}),
        "too many calls": ("handoff-limit", HandOver([call] * 3), small),
        "too large a body": ("handoff-limit", HandOver([chat(url, "x" * 2000)]), small),
        "too long a name": ("handoff-limit", HandOver([{**call, "name": "n" * 513}]), {}),
        "too large a document": (
            "handoff-limit",
            HandOver([], document=b" " * 200_000),
            {"handoff": {"max_call_bytes": "1KiB", "max_calls": 2, "max_journal": "4KiB", "max_result": "4KiB"}},
        ),
        "too large a journal": ("handoff-limit", HandOver([call], journal=[value]), journal),
    }


@pytest.mark.parametrize("fault", spoiled("http://127.0.0.1:1"))
def test_a_call_with_this_fault_is_refused_and_never_forwarded(fault, llm, scripted, siding):
    word, step, settings = spoiled(llm.url)[fault]
    worker = scripted(by_pass(step, Tell()))
    proxy = siding(worker, llm.url, settings)
    response = proxy.request("POST", "/chat", [("Authorization", "Bearer me")], b"question")
    assert_problem(response, 502, word)
    assert llm.stats()["total"] == 0
    assert len(worker.requests) == 1
    assert proxy.value("siding_handoff_refused_total", reason=word) == 1
    proxy.ended(word)
    assert proxy.value("siding_workers_busy") == 0
    assert KEY not in proxy.log


def test_the_spoiled_calls_are_refused_for_their_fault_alone(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, PROMPT)]), Tell()))
    proxy = siding(worker, llm.url, {"handoff": {"max_call_bytes": "1KiB", "max_calls": 2}})
    [entry] = told(proxy.request("POST", "/chat", body=b"question"))["journal"]
    assert (entry["kind"], entry["status"]) == ("result", 200)
    assert llm.stats(PROMPT)["completed"] == 1
    assert all(request.offer_verifies() for request in worker.requests)
    proxy.ended("answered", "replay")
    assert proxy.value("siding_handoff_refused_total") == 0


def test_a_pass_past_the_cap_ends_the_exchange(llm, scripted, siding):
    worker = scripted(lambda received: HandOver([chat(llm.url, f"again {received.number}")]))
    proxy = siding(worker, llm.url, {"handoff": {"max_passes": 3}})
    problem = assert_problem(proxy.request("POST", "/chat", body=b"question"), 500, "handoff-pass-limit")
    assert "handoff.max_passes" in problem["detail"]
    assert [request.number for request in worker.requests] == [0, 1, 2]
    assert llm.stats()["total"] == 2
    assert proxy.value("siding_handoff_refused_total", reason="handoff-pass-limit") == 1
    proxy.ended("handoff-pass-limit", "replay")
    assert "app/views.py:chat:42#0" in proxy.log


@pytest.mark.parametrize("handoff", [{"routes": [{"path": "/**", "handoff": False}]}, {"handoff": {"enabled": False}}])
def test_a_call_on_a_route_without_hand_off_is_not_forwarded(handoff, llm, scripted, siding):
    worker = scripted(HandOver([chat(llm.url, PROMPT)], signed=False, exchange="0" * 32))
    proxy = siding(worker, llm.url, handoff)
    assert_problem(proxy.request("POST", "/chat", body=b"question"), 502, "handoff-unexpected")
    assert llm.stats()["total"] == 0
    assert not [name for name, _ in worker.requests[0].headers if name.lower().startswith("siding-")]
    assert proxy.value("siding_handoff_refused_total", reason="handoff-unexpected") == 1
    proxy.ended("handoff-unexpected", "pass-through")


def test_a_202_of_the_app_itself_is_no_call(scripted, siding):
    accepted = Answer(202, b'{"job": 1}', [("Content-Type", "application/json"), ("Location", "/jobs/1")])
    proxy = siding(scripted(accepted))
    response = proxy.request("POST", "/jobs", body=b"{}")
    assert (response.status, response.body, response.header("location")) == (202, b'{"job": 1}', "/jobs/1")
    proxy.ended("answered", "plain")


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
def test_what_a_client_says_in_sidings_name_never_reaches_the_worker(path, scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"routes": [{"path": "/streamed", "handoff": False}]})
    forged = ["Siding-Id", "Siding_Id", "siding-pass", "SIDING_JOURNAL_LENGTH", "Siding-Journal-Length"]
    forged += ["Siding-Accept", "Siding-Signature", "Siding-Now-Ms", "Siding-Anything", "X_Forwarded_For"]
    headers = [*((name, "forged") for name in forged), ("X-Request-Start", "t=forged"), ("X-Mine", "kept")]
    headers += [("Connection", "X-Private, close"), ("X-Private", "1")]
    body = told(proxy.request("POST", path, headers, b"question"))["body"]
    assert body == "question"
    [received] = worker.requests
    assert b"forged" not in received.head.lower()
    assert b"_" not in b"".join(line.split(b":")[0] for line in received.head.split(b"\r\n")[1:])
    assert received.header("x-mine") == "kept"
    assert received.header("x-private") is None
    assert received.offer_verifies() == (path == "/buffered")


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
def test_what_the_app_says_in_sidings_name_never_reaches_the_client(path, scripted, siding):
    internal = [("Siding-Signature", "s"), ("Siding-Drift", "2"), ("Siding-Unconsumed", "3"), ("X-Mine", "kept")]
    proxy = siding(scripted(Answer(headers=internal)), settings={"routes": [{"path": "/streamed", "handoff": False}]})
    response = proxy.request("GET", path)
    assert (response.status, response.header("x-mine")) == (200, "kept")
    assert not [name for name, _ in response.headers if name.lower().startswith("siding-")]
    counted = (2, 3) if path == "/buffered" else (0, 0)
    assert (proxy.value("siding_drift_total"), proxy.value("siding_results_unconsumed_total")) == counted
