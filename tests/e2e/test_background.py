"""Jobs: a client that would rather not wait is told where its answer will be, and finds it there."""

from __future__ import annotations

import base64
import json
import re
import signal
import threading
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import tls
from harness.addresses import free_address, listens
from harness.calls import assert_problem, chat, entry
from harness.events import EventStream
from harness.raw_http import Response
from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.steps import Answer, CloseMidBody, HandOver, Hang, Pieces, Tell, by_pass, by_path, in_order
from harness.waiting import until
from standardwebhooks import Webhook

ASYNC = ("Prefer", "respond-async")
ME = ("Authorization", "Bearer me")
ROUTE = {"path": "/api/**", "background": True}
JOBS = {"routes": [ROUTE]}
# What is not zero while anything is under way or kept.
GAUGES = [
    "siding_jobs",
    "siding_job_results",
    "siding_job_result_bytes",
    "siding_exchanges_in_flight",
    "siding_calls_in_flight",
    "siding_flights_in_flight",
    "siding_workers_busy",
    "siding_buffered_bytes",
]
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def begin(proxy: Siding, *headers: tuple[str, str], target: str = "/api/report", body: bytes = b"question") -> str:
    """Begins a job and returns where it is found."""
    return accepted(proxy.request("POST", target, [ASYNC, ME, *headers], body))


def accepted(response: Response) -> str:
    """Where the job of a 202 is found."""
    assert (response.status, response.header("preference-applied")) == (202, "respond-async"), response
    assert response.header("cache-control") == "no-store"
    assert int(response.header("retry-after") or 0) >= 1
    location, said = response.header("location") or "", json.loads(response.body)
    assert re.fullmatch("/.siding/jobs/[0-9a-f]{32}", location)
    assert (said["location"], said["id"]) == (location, location.rsplit("/")[-1])
    return location


def ask(proxy: Siding, location: str, *headers: tuple[str, str], method: str = "GET") -> Response:
    """Asks for a job as its owner."""
    return proxy.request(method, location, [ME, *headers])


def standing(response: Response) -> dict[str, Any]:
    """How a job stands that is under way."""
    assert (response.status, response.header("content-type")) == (202, "application/json"), response
    assert response.header("retry-after")
    return json.loads(response.body)


def done(proxy: Siding, location: str) -> Response:
    """A job's answer, once it has one."""
    return until("the job's answer", lambda: answered(ask(proxy, location)))


def answered(response: Response) -> Response | None:
    return None if response.status == 202 else response


def test_a_client_is_told_where_its_answer_will_be_and_finds_it_there(scripted, siding):
    asked = threading.Event()
    provider = scripted(Hang(asked, Answer(200, b'"late"')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    proxy = siding(worker, provider.url, JOBS)
    with proxy.connect() as client:
        location = accepted(client.request("POST", "/api/report?a=b", [ASYNC, ME], b"question"))
    provider.wait_for(1)
    said = standing(ask(proxy, location))
    assert said.pop("created").startswith("20")
    expected = {"id": location.rsplit("/")[-1], "location": location, "status": "calling", "passes": 1, "calls": 1}
    assert said == expected | {"bytes": 0}
    proxy.until_value(1, "siding_jobs", state="calling")
    assert proxy.value("siding_exchanges_in_flight") == 1
    asked.set()
    response = done(proxy, location)
    assert entry(response)["status"] == 200
    assert json.loads(response.body)["body"] == "question"
    assert (response.header("cache-control"), response.framing) == ("no-store", "length")
    head = ask(proxy, location, method="HEAD")
    assert (head.status, head.header("content-length"), head.body) == (200, str(len(response.body)), b"")
    proxy.ended("answered", "background")
    assert [request.number for request in worker.requests] == [0, 1]
    assert worker.requests[0].target == "/api/report?a=b"
    assert worker.requests[0].header("prefer") is None
    assert proxy.value("siding_jobs_ended_total", outcome="answered") == 1
    assert proxy.value("siding_job_results") == 1
    proxy.until_value(0, "siding_exchanges_in_flight")
    proxy.until_value(0, "siding_buffered_bytes")


def test_the_answer_is_the_apps_own_but_kept_by_nobody_on_its_way(scripted, siding):
    headers = [("Content-Type", "text/x"), ("Cache-Control", "public, max-age=60"), ("X-App", "1")]
    worker = scripted(Answer(418, b"short", [*headers, ("Siding-Drift", "1"), ("Set-Cookie", "a=b")]))
    proxy = siding(worker, settings=JOBS)
    response = done(proxy, begin(proxy))
    assert (response.status, response.body) == (418, b"short")
    assert (response.header("x-app"), response.header("set-cookie")) == ("1", "a=b")
    assert response.header("cache-control") == "no-store"
    assert response.header("siding-drift") is None


def test_without_the_preference_or_the_route_nothing_changes(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings=JOBS)
    for target, prefer in [("/api/report", "wait=1, return=minimal"), ("/other", "respond-async")]:
        response = proxy.request("POST", target, [("Prefer", prefer)], b"x")
        assert (response.status, response.header("preference-applied")) == (200, None)
        assert worker.requests[-1].header("prefer") == prefer
    assert proxy.value("siding_jobs_ended_total") == 0


def test_the_path_is_the_apps_own_where_no_route_makes_jobs(scripted, siding):
    proxy = siding(scripted(Tell()))
    assert proxy.request("GET", "/.siding/jobs/0123").status == 200


def test_a_route_without_hand_off_makes_jobs_too(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings={"handoff": {"enabled": False}, **JOBS}, secret=None)
    assert json.loads(done(proxy, begin(proxy)).body)["body"] == "question"
    assert proxy.request("POST", "/api/report", body=b"x").status == 200
    proxy.ended("answered", "pass-through")


def test_jobs_are_made_over_http2_too(scripted, siding):
    address = free_address()
    proxy = siding(scripted(Tell()), settings=JOBS | {"server": {"h2c": address}})
    with httpx.Client(base_url=f"http://{address}", http1=False, http2=True) as client:
        promised = client.post("/api/report", headers=[ASYNC, ME], content=b"question")
        assert (promised.status_code, promised.http_version) == (202, "HTTP/2")
        location = promised.headers["location"]
        response = client.get(location, headers=[ME, ("Prefer", "wait=30")])
        assert (response.status_code, response.json()["body"]) == (200, "question")
        events = client.get(location, headers=[ME, ("Accept", "text/event-stream")]).text
        assert events.endswith('event: done\ndata: {"status":200,"outcome":"answered"}\n\n')
        assert client.delete(location, headers=[ME]).status_code == 204
    assert proxy.value("siding_job_results") == 0


def test_an_answer_that_is_ready_in_time_is_delivered_at_once(scripted, siding):
    worker = scripted(Answer(201, b"quick"))
    proxy = siding(worker, settings=JOBS)
    response = proxy.request("POST", "/api/report", [("Prefer", "respond-async, wait=30"), ME], b"x")
    assert (response.status, response.body) == (201, b"quick")
    assert (response.header("preference-applied"), response.header("location")) == ("wait=30", None)
    proxy.until_value(0, "siding_job_results")  # nobody was told where it is
    proxy.until_value(0, "siding_job_result_bytes")


def test_an_answer_that_is_not_ready_in_time_is_promised(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"slow")))
    proxy = siding(worker, settings=JOBS | {"background": {"max_wait": "1s"}})
    response = proxy.request("POST", "/api/report", [("Prefer", "wait=300, respond-async"), ME], b"x")
    location = accepted(response)
    waited = standing(ask(proxy, location, ("Prefer", "wait=300")))
    assert waited["status"] == "running"
    release.set()
    assert done(proxy, location).body == b"slow"


def test_whoever_asks_may_wait_for_the_answer(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"slow")))
    proxy = siding(worker, settings=JOBS)
    location = begin(proxy)
    with proxy.connect() as client:
        client.start("GET", location, [ME, ("Prefer", "wait=30")])
        proxy.until_value(2, "siding_exchanges_in_flight")
        release.set()
        response = client.response()
    assert (response.status, response.body) == (200, b"slow")
    assert response.header("preference-applied") == "wait=30"


def test_what_an_answer_says_so_far_is_told(scripted, siding):
    more, end = threading.Event(), threading.Event()
    pieces = [(set_already(), b"one \xe2\x82"), (more, b"\xac"), (end, b" two")]
    worker = scripted(Pieces(pieces, [("Content-Type", "text/plain")]))
    proxy = siding(worker, settings=JOBS)
    location = begin(proxy)
    until("the first piece", lambda: standing(ask(proxy, location))["bytes"] == 6)
    assert standing(ask(proxy, location))["output"] == {"text": "one "}
    more.set()
    until("the second piece", lambda: standing(ask(proxy, location)).get("output") == {"text": "one \u20ac"})
    end.set()
    assert done(proxy, location).body.decode() == "one \u20ac two"


def test_events_tell_the_story_and_go_on_where_a_reader_was_cut_off(scripted, siding):
    asked, more, end = threading.Event(), threading.Event(), threading.Event()
    provider = scripted(Hang(asked, Answer(200, b'"late"')))
    final = Pieces([(set_already(), b"first"), (more, b"second"), (end, b"\xff")], [("Content-Type", "text/plain")])
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), final))
    proxy = siding(worker, provider.url, JOBS)
    location = begin(proxy)
    provider.wait_for(1)
    with EventStream(proxy.address, location, [ME]) as stream:
        assert (stream.status, dict(stream.headers)["Content-Type"]) == (200, "text/event-stream")
        begun = [stream.next(), stream.next(), stream.next()]
        assert [event.data["status"] for event in begun] == ["queued", "running", "calling"]
        assert begun[-1].data == {"status": "calling", "passes": 1, "calls": 1}
        asked.set()
        heard = stream.until("output")
        assert heard.data == {"text": "first"}
    proxy.ended("client-gone", "jobs")
    more.set()
    with EventStream(proxy.address, location, [ME], after=heard.id) as stream:
        second = stream.next()
        assert (second.name, second.data) == ("output", {"text": "second"})
        end.set()
        rest = stream.rest()
    assert [(event.name, event.data) for event in rest] == [
        ("output", {"base64": "/w=="}),
        ("done", {"status": 200, "outcome": "answered"}),
    ]
    with EventStream(proxy.address, location, [ME]) as stream:
        whole = stream.rest()
    assert [event.data["status"] for event in whole if event.name == "status"] == [
        "queued", "running", "calling", "queued", "running",
    ]  # fmt: skip
    assert [event for event in whole if event.id == rest[-1].id] == [rest[-1]]
    with EventStream(proxy.address, location, [ME], after=rest[-1].id) as stream:
        assert stream.status == 204, "a browser that comes back is told that there is nothing more"


def test_its_owner_ends_a_job_and_its_call(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, JOBS)
    location = begin(proxy)
    llm.until_stats({"in_flight": 1})
    with EventStream(proxy.address, location, [ME]) as stream:
        stream.next()
        assert ask(proxy, location, method="DELETE").status == 204
        assert stream.until("done").data == {"status": None, "outcome": "cancelled"}
    llm.until_stats({"cancelled": 1, "in_flight": 0})
    assert_problem(ask(proxy, location), 404, "job-unknown")
    proxy.ended("client-gone", "background")
    assert len(worker.requests) == 1, "nobody wants the answer, so there is no second pass"
    assert proxy.value("siding_jobs_ended_total", outcome="cancelled") == 1
    proxy.until_value(0, "siding_workers_busy")
    proxy.until_value(0, "siding_buffered_bytes")


def test_a_job_that_is_ended_in_the_queue_never_reaches_a_worker(scripted, siding):
    release = threading.Event()
    worker = scripted(by_path(first=Hang(release), api=Tell()))
    proxy = siding(worker, settings=JOBS | {"backend": {"workers": 1}})
    with proxy.connect() as first:
        first.start("GET", "/first")
        worker.wait_for(1)
        location = begin(proxy)
        proxy.until_value(1, "siding_queue_depth", **{"class": "interactive"})
        assert standing(ask(proxy, location))["status"] == "queued"
        assert ask(proxy, location, method="DELETE").status == 204
        proxy.until_value(0, "siding_queue_depth", **{"class": "interactive"})
        release.set()
        assert first.response().status == 200
    assert [request.target for request in worker.requests] == ["/first"]


def test_a_job_that_is_ended_while_a_worker_runs_does_not_free_the_worker(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings=JOBS | {"backend": {"workers": 1}})
    location = begin(proxy)
    worker.wait_for(1)
    assert ask(proxy, location, method="DELETE").status == 204
    proxy.until_value(1, "siding_workers_orphaned")
    assert proxy.value("siding_workers_busy") == 1
    release.set()
    proxy.until_value(0, "siding_workers_busy")


def test_nothing_is_left_of_jobs_that_were_ended(llm, scripted, siding):
    worker = scripted(lambda r: HandOver([chat(llm.url, f"[hang] {r.target}")]))
    proxy = siding(worker, llm.url, JOBS | {"backend": {"workers": 4}})
    count = 100
    locations = [begin(proxy, target=f"/api/{number}") for number in range(count)]
    llm.until_stats({"total": count})
    with ExitStack() as readers:
        for location in locations:
            readers.enter_context(EventStream(proxy.address, location, [ME])).next()
        for location in locations:
            assert ask(proxy, location, method="DELETE").status == 204
    llm.until_stats({"cancelled": count, "in_flight": 0})
    for gauge in GAUGES:
        proxy.until_value(0, gauge)
    assert proxy.value("siding_jobs_ended_total", outcome="cancelled") == count


def test_a_call_that_others_want_goes_on_when_a_job_ends(scripted, siding):
    release = threading.Event()
    provider = scripted(Hang(release, Answer(200, b'{"choices": []}')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "same")]), Tell()))
    proxy = siding(worker, provider.url, JOBS)
    location = begin(proxy)
    provider.wait_for(1)
    with proxy.connect() as other:
        other.start("POST", "/chat", body=b"x")
        proxy.until_value(1, "siding_coalesced_waiting")
        assert ask(proxy, location, method="DELETE").status == 204
        release.set()
        assert entry(other.response("POST"))["status"] == 200
    assert len(provider.requests) == 1


def test_a_result_is_forgotten_by_its_owner(scripted, siding):
    proxy = siding(scripted(Answer()), settings=JOBS)
    location = begin(proxy)
    done(proxy, location)
    assert ask(proxy, location, method="DELETE").status == 204
    assert_problem(ask(proxy, location, method="DELETE"), 404, "job-unknown")
    assert proxy.value("siding_job_results") == proxy.value("siding_job_result_bytes") == 0


@pytest.mark.parametrize("ended", [False, True])
def test_a_job_is_its_owners_only(ended, scripted, siding):
    release = threading.Event()
    proxy = siding(scripted(Hang(release)), settings=JOBS)
    location = begin(proxy)
    if ended:
        release.set()
        done(proxy, location)
    unknown = normal(proxy.request("GET", "/.siding/jobs/" + "0" * 32, [ME]))
    for method in ("GET", "DELETE"):
        for headers in ([], [("Authorization", "Bearer other")], [("Cookie", "sessionid=me")], [("X-Api-Key", "me")]):
            assert normal(proxy.request(method, location, headers)) == unknown
    assert normal(proxy.request("GET", location, [("Accept", "text/event-stream")])) == unknown
    for other in ("/.siding/jobs", "/.siding/jobs/", location + "/", location + "0", "/.siding/jobs/../jobs"):
        assert normal(proxy.request("GET", other, [ME])) == unknown
    release.set()
    assert done(proxy, location).status == 200


def test_a_session_is_an_owner_whatever_its_other_cookies(scripted, siding):
    proxy = siding(scripted(Answer(200, b"mine")), settings=JOBS)
    cookies = [("Cookie", "csrftoken=1; sessionid=s")]
    location = accepted(proxy.request("POST", "/api/report", [ASYNC, *cookies], b"x"))
    mine = [("Cookie", "sessionid=s; csrftoken=2")]
    until("the answer", lambda: answered(proxy.request("GET", location, mine)))
    assert proxy.request("GET", location, [("Cookie", "csrftoken=1; sessionid=t")]).status == 404


def test_without_credentials_whoever_knows_the_job_owns_it(scripted, siding):
    proxy = siding(scripted(Answer(200, b"anybody's")), settings=JOBS)
    location = accepted(proxy.request("POST", "/api/report", [ASYNC], b"x"))
    assert done(proxy, location).body == b"anybody's"
    assert location.rsplit("/")[-1] not in proxy.log, "it is a secret"


def test_a_client_that_leaves_never_touches_its_job(scripted, siding):
    release = threading.Event()
    receiver = scripted(Answer(204, b""))
    worker = scripted(Hang(release, Answer(200, b"kept")))
    proxy = siding(worker, settings=with_webhook(receiver), environment={"HOOK_SECRET": SECRET})
    with proxy.connect() as client:  # after its 202
        location = accepted(client.request("POST", "/api/report", [ASYNC, ME], b"x"))
    with proxy.connect() as client:  # before any
        client.start("POST", "/api/report", [("Prefer", "respond-async, wait=60"), ME], b"x")
        proxy.until_value(2, "siding_jobs")
    proxy.ended("client-gone", "jobs")
    assert proxy.value("siding_jobs") == 2
    release.set()
    assert done(proxy, location).body == b"kept"
    proxy.ended("answered", "background", times=2)
    # Where the second one is only its receiver was told.
    receiver.wait_for(2)
    told = {json.loads(request.body)["data"]["location"] for request in receiver.requests}
    assert len(told) == 2
    assert {ask(proxy, place).body for place in told} == {b"kept"}


def test_a_result_is_kept_for_its_time(scripted, siding):
    proxy = siding(scripted(Answer(200, b"x" * 1000)), settings=JOBS | {"background": {"retention": "300ms"}})
    location = begin(proxy)
    proxy.ended("answered", "background")
    proxy.until_value(1, "siding_job_results_dropped_total", reason="expired")
    assert_problem(ask(proxy, location), 404, "job-unknown")
    assert proxy.value("siding_job_result_bytes") == 0


def test_the_oldest_result_makes_room_and_what_never_fits_is_said(scripted, siding):
    sizes = {"a": 5000, "b": 5000, "c": 6000}
    worker = scripted(lambda received: Answer(200, b"x" * sizes[received.target[-1]]))
    settings = JOBS | {"background": {"capacity": "10KiB", "max_result": "5KiB"}}
    proxy = siding(worker, settings=settings)
    first = begin(proxy, target="/api/a")
    assert done(proxy, first).status == 200
    second = begin(proxy, target="/api/b")
    assert done(proxy, second).status == 200
    assert ask(proxy, first).status == 404
    problem = assert_problem(done(proxy, begin(proxy, target="/api/c")), 502, "result-too-large")
    assert "background.max_result" in problem["detail"]
    assert ask(proxy, second).status == 200
    assert proxy.value("siding_job_results_dropped_total", reason="evicted") == 1
    assert 5000 < proxy.value("siding_job_result_bytes") <= 10 * 1024
    proxy.ended("result-too-large", "background")


def test_too_many_jobs_are_refused_before_anything_ran(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release))
    proxy = siding(worker, settings=JOBS | {"background": {"max_jobs": 1}})
    location = begin(proxy)
    worker.wait_for(1)
    refused = proxy.request("POST", "/api/report", [ASYNC, ME], b"x")
    assert_problem(refused, 503, "too-many-jobs")
    assert refused.header("retry-after")
    assert len(worker.requests) == 1
    assert proxy.value("siding_jobs_rejected_total") == 1
    release.set()
    done(proxy, location)
    done(proxy, begin(proxy))


def test_a_refusal_is_found_where_the_answer_would_be(scripted, siding):
    worker = scripted(CloseMidBody(b"half"))
    proxy = siding(worker, settings=JOBS)
    location = begin(proxy)
    problem = assert_problem(done(proxy, location), 502, "backend-closed")
    assert problem["exchange"] == worker.requests[0].exchange, "by which the log has it"
    with EventStream(proxy.address, location, [ME]) as stream:
        assert stream.until("done").data == {"status": 502, "outcome": "backend-closed"}
    proxy.ended("backend-closed", "background")


def test_other_methods_are_said_to_be_none(scripted, siding):
    proxy = siding(scripted(Answer()), settings=JOBS)
    location = begin(proxy)
    done(proxy, location)
    with proxy.connect() as client:
        response = client.request("POST", location, [ME], b"x")
        assert_problem(response, 405, "job-method")
        assert response.header("allow") == "GET, HEAD, DELETE"
        assert client.request("GET", location, [ME]).status == 200, "the connection is kept"


def test_a_job_shares_what_others_fetch(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Answer(200, b"shared")))
    route = {**ROUTE, "methods": ["GET"], "cache": {"ttl": "1h", "scope": "public"}}
    proxy = siding(worker, settings={"routes": [route]})
    with proxy.connect() as plain:
        plain.start("GET", "/api/report")
        worker.wait_for(1)
        location = accepted(proxy.request("GET", "/api/report", [ASYNC, ME]))
        proxy.until_value(1, "siding_coalesced_waiting")
        release.set()
        assert plain.response().body == b"shared"
    assert done(proxy, location).body == b"shared"
    assert done(proxy, accepted(proxy.request("GET", "/api/report", [ASYNC, ME]))).body == b"shared"
    assert len(worker.requests) == 1


def test_a_job_that_leads_for_others_tells_how_it_stands(scripted, siding):
    asked = threading.Event()
    provider = scripted(Hang(asked, Answer(200, b'"late"')))
    worker = scripted(by_pass(HandOver([chat(provider.url, "x")]), Tell()))
    route = {**ROUTE, "methods": ["POST"], "cache": {"ttl": "1h"}}
    proxy = siding(worker, provider.url, {"routes": [route]})
    location = begin(proxy)
    provider.wait_for(1)
    said = standing(ask(proxy, location))
    assert (said["status"], said["passes"], said["calls"]) == ("calling", 1, 1)
    asked.set()
    assert entry(done(proxy, location))["status"] == 200


def test_the_place_of_jobs_and_their_owners_are_the_operators_choice(scripted, siding):
    worker = scripted(Tell())
    proxy = siding(worker, settings=JOBS | {"background": {"path": "/later", "owner": "id"}})
    location = proxy.request("POST", "/api/report", [ASYNC, ME], b"x").header("location")
    assert location.startswith("/later/")
    until("the answer", lambda: answered(proxy.request("GET", location, [("Authorization", "Bearer renewed")])))
    assert worker.requests[0].header("accept-encoding") == "identity"
    assert proxy.request("GET", "/.siding/jobs/0123").status == 200, "the app's own"


def test_the_operators_receiver_is_told_until_it_takes_it(scripted, siding):
    receiver = scripted(in_order(Answer(500), Answer(302, b"", [("Location", "/other")]), Answer(204, b"")))
    worker = scripted(Answer(201, b"answer"))
    proxy = siding(worker, settings=with_webhook(receiver), environment={"HOOK_SECRET": SECRET})
    location = begin(proxy)
    receiver.wait_for(3)
    proxy.until_value(1, "siding_webhooks_total", result="delivered")
    assert len({request.header("webhook-id") for request in receiver.requests}) == 1
    for request in receiver.requests:
        assert (request.method, request.target) == ("POST", "/hook?a=b")
        said = Webhook(SECRET).verify(request.body, {name.lower(): value for name, value in request.headers})
        assert said["type"] == "siding.job.finished"
        assert said["data"] == {"id": location.rsplit("/")[-1], "status": 201, "location": location}
    assert proxy.value("siding_webhook_attempts_total") == 3
    assert proxy.value("siding_webhooks_pending") == 0
    assert done(proxy, location).body == b"answer"
    assert SECRET not in proxy.log


def test_nobody_is_told_of_what_its_client_got_or_ended_itself(scripted, siding):
    release = threading.Event()
    receiver = scripted(Answer(204, b""))
    worker = scripted(by_path(api=in_order(Answer(200, b"quick"), Hang(release), Answer())))
    proxy = siding(worker, settings=with_webhook(receiver), environment={"HOOK_SECRET": SECRET})
    assert proxy.request("POST", "/api/x", [("Prefer", "respond-async, wait=60"), ME], b"x").body == b"quick"
    cancelled = begin(proxy)
    worker.wait_for(2)
    assert ask(proxy, cancelled, method="DELETE").status == 204
    release.set()
    last = begin(proxy)
    receiver.wait_for(1)
    done(proxy, last)
    proxy.until_value(0, "siding_webhooks_pending")
    assert [json.loads(request.body)["data"]["location"] for request in receiver.requests] == [last]


def test_a_receiver_over_tls_is_told_when_its_certificate_is_trusted(stack, scripted, siding, tmp_path):
    cert, key = tls.make(tmp_path)
    receiver = scripted(Answer(204, b""))
    secure = siding(receiver, settings={"server": {"tls": {"cert": str(cert), "key": str(key)}}})
    hook = {"webhook": f"https://{secure.address}/hook", "webhook_secret_env": "HOOK_SECRET"}
    settings = {"routes": [{**ROUTE, "background": hook}]}
    environment = {"HOOK_SECRET": SECRET, "SSL_CERT_FILE": str(cert)}
    proxy = siding(scripted(Answer()), settings=settings, environment=environment)
    begin(proxy)
    receiver.wait_for(1)
    proxy.until_value(1, "siding_webhooks_total", result="delivered")


def test_a_shutdown_waits_for_jobs_and_for_their_receivers(scripted, siding):
    release = threading.Event()
    receiver = scripted(Answer(204, b""))
    worker = scripted(Hang(release))
    proxy = siding(worker, settings=with_webhook(receiver), environment={"HOOK_SECRET": SECRET})
    begin(proxy)
    worker.wait_for(1)
    proxy.signal(signal.SIGTERM)
    until("the listener to close", lambda: not listens(proxy.address))
    assert proxy.is_running()
    release.set()
    receiver.wait_for(1)
    assert proxy.wait() == 0
    assert json.loads(receiver.requests[0].body)["data"]["status"] == 200


def test_a_shutdown_cuts_jobs_that_do_not_end_in_time(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, JOBS | {"server": {"drain": "400ms"}})
    location = begin(proxy)
    llm.until_stats({"in_flight": 1})
    with proxy.connect() as client:
        client.start("GET", location, [ME, ("Prefer", "wait=60")])
        proxy.until_value(2, "siding_exchanges_in_flight")
        proxy.signal(signal.SIGTERM)
        assert_problem(client.response(), 503, "draining")
    assert proxy.wait() == 0
    llm.until_stats({"cancelled": 1})
    assert len(worker.requests) == 1


def with_webhook(receiver: ScriptedWorker) -> dict[str, Any]:
    """Settings with a receiver, whose secret is in HOOK_SECRET."""
    hook = {"webhook": f"{receiver.url}/hook?a=b", "webhook_secret_env": "HOOK_SECRET"}
    return {"backend": {"workers": 2}, "routes": [{**ROUTE, "background": hook}]}


def normal(response: Response) -> tuple[int, list[str], dict[str, Any]]:
    """A problem without what differs between any two: its exchange, its trace and its length."""
    problem = assert_problem(response, 404, "job-unknown")
    return response.status, sorted(name for name, _ in response.headers), problem | {"exchange": "", "trace_id": ""}


def set_already() -> threading.Event:
    event = threading.Event()
    event.set()
    return event
