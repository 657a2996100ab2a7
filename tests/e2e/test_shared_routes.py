"""Whole answers of routes that are shared: in flight by all who ask the same, stored for those who ask later, and
never with anybody whom they are not for."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from harness import raw_http
from harness.addresses import free_address
from harness.calls import assert_problem, chat
from harness.h2_client import Streams
from harness.raw_http import Incomplete
from harness.steps import Answer, Close, CloseMidBody, HandOver, Hang, Pieces, Tell, by_pass, in_order
from harness.waiting import until

REQUESTS = "siding_cache_requests_total"
STORED = "siding_cache_stored_total"
NOT_STORED = "siding_cache_not_stored_total"
FLIGHTS = "siding_flights_total"
FOLLOWED = "siding_coalesced_requests_total"
WAITING = "siding_coalesced_waiting"
RESULTS = ("hit", "stale", "miss", "collapsed", "bypass")
JSON = [("Content-Type", "application/json")]
GERMAN, ENGLISH = [("Accept-Language", "de")], [("Accept-Language", "en")]
STALE = re.compile(r"siding; hit; ttl=-\d+")
# What an answer that is soon stale is good for.
LONG, SOON = "1h", "100ms"
BOTH = pytest.mark.parametrize("handoff", [True, False])


def sharing(*, methods=(), handoff=True, more=None, **cache):
    """Every path is shared, for an hour where nothing else is said."""
    route = {"path": "/**", "methods": list(methods), "handoff": handoff, "cache": {"ttl": LONG, **cache}}
    return {"backend": {"workers": 8}, "routes": [route], **(more or {})}


def numbered(*headers, status=200):
    """Every answer is the number of the request that it was made for."""
    return lambda received: Answer(status, b"%d" % received.index, [("Content-Type", "text/plain"), *headers])


def held(release, *headers):
    """The same, once released."""
    return lambda received: Hang(release, numbered(*headers)(received))


def made_for(worker, response):
    """The request for which the app made an answer."""
    assert response.status == 200, (response.status, response.body)
    return worker.requests[int(response.body)]


def settled(proxy, target="/", headers=(), body=None, method="GET"):
    """A request's answer, once everything that it causes has happened."""
    response = proxy.request(method, target, headers, body)
    proxy.until_value(0, "siding_flights_in_flight")
    return response


def served(proxy):
    """Requests by how they were served."""
    counts = {result: int(proxy.value(REQUESTS, place="route", result=result)) for result in RESULTS}
    return {result: count for result, count in counts.items() if count}


def stored(proxy):
    """Answers that were stored, and those that were not."""
    return int(proxy.value(STORED, place="route")), int(proxy.value(NOT_STORED))


def way(response):
    """How an answer was come by, without numbers."""
    return re.sub(r"\d+", "N", response.header("cache-status") or "")


def crowd(proxy, worker, release, count, target="/", headers=(), body=None, method="GET"):
    """So many answers to the same request, asked for while the first was being made."""
    with ThreadPoolExecutor(count) as clients:
        responses = [clients.submit(proxy.request, method, target, headers, body)]
        worker.wait_for(1)
        responses += [clients.submit(proxy.request, method, target, headers, body) for _ in range(count - 1)]
        proxy.until_value(count - 1, WAITING)
        release.set()
        return [response.result() for response in responses]


@contextmanager
def waiting_clients(proxy, worker, count, target="/"):
    """Connections of clients that wait for the same answer; the first of them led to it."""
    with ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(count)]
        clients[0].start("GET", target)
        worker.wait_for(1)
        for client in clients[1:]:
            client.start("GET", target)
        proxy.until_value(count - 1, WAITING)
        yield clients


def purge(proxy, query, method="POST"):
    """The admin listener's word on a purge."""
    return raw_http.request(proxy.admin, method, f"/-/purge?{query}")


def read_to(client, mark):
    """Reads until what came ends with these bytes."""
    came = b""
    while not came.endswith(mark):
        came += client.read(1)
    return came


# One answer, stored.


@BOTH
def test_a_second_get_is_answered_from_what_is_stored(handoff, scripted, siding):
    worker = scripted(numbered(("X-Own", "kept")))
    proxy = siding(worker, settings=sharing(handoff=handoff))
    first, second = settled(proxy, "/a?x=1"), settled(proxy, "/a?x=1")
    assert first.header("cache-status") == "siding; fwd=miss"
    assert first.header("age") is None
    ttl = re.fullmatch(r"siding; hit; ttl=(\d+)", second.header("cache-status"))
    assert 3200 < int(ttl[1]) <= 3600, (
        "at most a tenth of the lifetime is taken off, so that answers do not expire at once"
    )
    assert second.header("age") == "0"
    assert (second.status, second.body, second.framing) == (200, first.body, "length")
    assert second.header("x-own") == "kept"
    assert second.header("content-type") == "text/plain"
    assert [request.target for request in worker.requests] == ["/a?x=1"]
    assert served(proxy) == {"miss": 1, "hit": 1}
    assert stored(proxy) == (1, 0)
    assert proxy.value(FLIGHTS, outcome="complete") == 1
    proxy.ended("answered", "shared", 2)


def test_without_a_lifetime_answers_are_shared_in_flight_only(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing(ttl="0s"))
    assert {response.body for response in crowd(proxy, worker, release, 10)} == {b"0"}
    proxy.until_value(0, "siding_flights_in_flight")
    assert settled(proxy).body == b"1"
    assert len(worker.requests) == 2
    assert served(proxy) == {"miss": 2, "collapsed": 9}
    assert stored(proxy) == (0, 2)
    assert proxy.value(NOT_STORED, reason="forbidden") == 2


def test_requests_that_share_no_route_are_left_alone(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings={"routes": [{"path": "/shared/**", "cache": {"ttl": LONG}}]})
    assert [proxy.request("GET", "/other").body for _ in range(2)] == [b"0", b"1"]
    assert served(proxy) == {}
    assert proxy.request("GET", "/other").header("cache-status") is None


@pytest.mark.parametrize("status", [404, 410, 500, 503])
def test_trap_6_errors_are_never_stored(status, scripted, siding):
    worker = scripted(numbered(("Cache-Control", "max-age=3600"), status=status))
    proxy = siding(worker, settings=sharing())
    assert [(r.status, r.body) for r in (settled(proxy), settled(proxy))] == [(status, b"0"), (status, b"1")]
    assert served(proxy) == {"miss": 2}
    assert stored(proxy) == (0, 2)
    assert proxy.value(NOT_STORED, reason="status") == 2


def test_an_error_goes_to_all_who_wait_for_it(scripted, siding):
    release = threading.Event()
    worker = scripted(lambda received: Hang(release, Answer(500, b"failed")))
    proxy = siding(worker, settings=sharing())
    responses = crowd(proxy, worker, release, 10)
    assert {(response.status, response.body) for response in responses} == {(500, b"failed")}
    assert len(worker.requests) == 1
    assert served(proxy) == {"miss": 1, "collapsed": 9}


def test_an_answer_without_content_is_stored_without_a_length(scripted, siding):
    worker = scripted(lambda received: Answer(204, b"", [("X-Number", str(received.index))]))
    proxy = siding(worker, settings=sharing())
    settled(proxy)
    again = settled(proxy)
    assert (again.status, again.header("x-number"), way(again)) == (204, "0", "siding; hit; ttl=N")
    assert again.header("content-length") is None, "RFC 9110, section 8.6: none in an answer with 204"
    assert len(worker.requests) == 1


def test_trap_16_headers_of_the_moment_are_not_replayed(scripted, siding):
    momentary = [
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("X-Request-Id", "one"),
        ("Age", "77"),
        ("X-RateLimit-Remaining", "5"),
        ("RateLimit-Remaining", "5"),
        ("Siding-Drift", "1"),
    ]
    worker = scripted(numbered(*momentary))
    proxy = siding(worker, settings=sharing())
    assert settled(proxy).header("x-request-id") == "one"
    again = settled(proxy)
    assert way(again) == "siding; hit; ttl=N"
    replayed = {name for name, value in momentary if value in (again.header(name) or "").split(", ")}
    assert replayed == set()


# What means the same.


def test_whatever_an_app_could_notice_separates_requests(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(scope="public"))
    targets = ["/", "/a", "/a/", "/A", "/a?", "/a?x=1", "/a?x=2", "/a?x=1&y=2", "/a?y=2&x=1", "/%61"]
    for _ in range(2):
        assert [made_for(worker, settled(proxy, target)).target for target in targets] == targets
    hosts = ["a.example", "b.example", "a.example:8080"]
    for _ in range(2):
        responses = [settled(proxy, "/host", [("Host", host)]) for host in hosts]
        assert [made_for(worker, response).header("host") for response in responses] == hosts
    count = len(targets) + len(hosts)
    assert len(worker.requests) == count
    assert served(proxy) == {"miss": count, "hit": count}


def test_trap_1_whoever_claims_another_host_or_scheme_speaks_for_nobody_else(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(scope="public"))
    claims = [[], [("X-Forwarded-Host", "evil.example")], [("X-Forwarded-Proto", "https")], [("Forwarded", "host=b")]]
    bodies = [settled(proxy, "/", headers).body for headers in claims for _ in range(3)]
    assert bodies == [b"%d" % (number // 3) for number in range(12)]


@pytest.mark.parametrize("name", ["If-Match", "If-Unmodified-Since", "Range"])
def test_a_precondition_is_the_apps_to_check(name, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    assert settled(proxy).body == b"0"
    assert settled(proxy, "/", [(name, "x")]).body == b"1"
    assert worker.requests[1].header(name) == "x"
    assert settled(proxy).body == b"0"


def test_a_repeated_request_is_answered_like_the_first(scripted, siding):
    worker = scripted(numbered(("Content-Language", "en")))
    proxy = siding(worker, settings=sharing(methods=["GET", "POST"]))
    with proxy.connect() as client:
        answers = [client.request("POST", "/", JSON, b'{"a": 1}') for _ in range(5)]
        assert client.request("GET", "/other").body == b"1"
        assert client.request("POST", "/", JSON, b'{"a": 1}').body == b"0"
    assert [answer.body for answer in answers] == [b"0"] * 5
    assert [way(answer) for answer in answers] == ["siding; fwd=miss"] + ["siding; hit; ttl=N"] * 4
    told = [{name.lower() for name, _ in answer.headers} for answer in answers]
    assert told[1] == told[2] == told[4]
    proxy.ended("answered", "shared", 7)
    assert len(worker.requests) == 2


def test_trap_1_hosts_are_separate_over_http2_too(scripted, siding):
    worker = scripted(numbered())
    h2c = free_address()
    proxy = siding(worker, settings=sharing(scope="public", more={"server": {"h2c": h2c}}))
    hosts = ["a.example", "b.example"]
    with Streams(h2c) as client:
        bodies = []
        for host in hosts * 2:
            bodies.append(bytes(client.finish(client.start("GET", "/", authority=host)).body))
            proxy.until_value(0, "siding_flights_in_flight")
    assert [worker.requests[int(body)].header("host") for body in bodies] == hosts * 2
    assert len(worker.requests) == 2


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Remote-User"])
def test_trap_1_clients_with_other_credentials_never_share(name, scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing())
    who = [[(name, "one")], [(name, "two")], [], [(name, "")]]
    with ThreadPoolExecutor(8) as clients:
        responses = [clients.submit(proxy.request, "GET", "/", headers) for headers in who * 2]
        proxy.until_value(4, WAITING)
        worker.wait_for(4)
        release.set()
        responses = [response.result() for response in responses]
    proxy.until_value(0, "siding_flights_in_flight")
    responses += [settled(proxy, "/", headers) for headers in who]
    for headers, response in zip(who * 3, responses, strict=True):
        assert made_for(worker, response).header(name) == (headers[0][1] if headers else None)
    assert len(worker.requests) == 4
    assert served(proxy) == {"miss": 4, "collapsed": 4, "hit": 4}


def test_a_public_route_is_shared_whatever_the_credentials(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(scope="public"))
    who = [[("Authorization", "one")], [("Cookie", "two")], []]
    assert [settled(proxy, "/", headers).body for headers in who] == [b"0"] * 3
    assert served(proxy) == {"miss": 1, "hit": 2}


def test_a_header_that_the_app_does_not_see_speaks_for_nobody(scripted, siding):
    """A client can name any header as its connection's own. The app does not get it, so the answer is another."""
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST"], scope="public"))
    hidden = settled(proxy, "/", [*JSON, ("Connection", "content-type")], b"{}", "POST")
    assert made_for(worker, hidden).header("content-type") is None
    assert made_for(worker, settled(proxy, "/", JSON, b"{}", "POST")).header("content-type") == "application/json"


def test_posts_are_shared_only_where_the_route_names_them(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    assert [settled(proxy, "/", JSON, b"{}", "POST").body for _ in range(2)] == [b"0", b"1"]
    assert served(proxy) == {}


@pytest.mark.parametrize("method", ["POST", "QUERY"])
def test_trap_3_json_bodies_of_equal_meaning_share(method, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST", "QUERY"]))
    equal = ['{"a": 1, "b": ["é", null]}', '{"b":["\\u00e9",null],\n "a":1}']
    assert [settled(proxy, "/", JSON, body.encode(), method).body for body in equal] == [b"0", b"0"]
    assert served(proxy) == {"miss": 1, "hit": 1}


@pytest.mark.parametrize("method", ["POST", "QUERY"])
def test_trap_4_json_bodies_of_different_meaning_do_not_share(method, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST", "QUERY"]))
    texts = [
        '{"a":1}',
        '{"a":1.0}',
        '{"a":"1"}',
        '{"a":"x"}',
        '{"a":"X"}',
        '{"a":[1,2]}',
        '{"a":[2,1]}',
        "{}",
        "[]",
        "",
    ]
    bodies = [text.encode() for text in texts]
    for _ in range(2):
        responses = [settled(proxy, "/", JSON, body, method) for body in bodies]
        assert [made_for(worker, response).content for response in responses] == bodies
    assert len(worker.requests) == len(bodies)


def test_bodies_that_are_not_json_share_by_their_bytes(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST"]))
    text = [("Content-Type", "text/plain")]
    asked = [
        (text, b'{"a":1,"b":2}'),
        (text, b'{"b":2,"a":1}'),
        (JSON, b'{"a":1,"b":2}'),
        (JSON, b'{"a":1,'),
        (JSON, b'{"a":1, '),
        ([*JSON, ("Content-Encoding", "x-other")], b'{"a":1,"b":2}'),
        ([*text, ("Content-Encoding", "x-other")], b'{"a":1,"b":2}'),
    ]
    for _ in range(2):
        for headers, body in asked:
            made = made_for(worker, settled(proxy, "/", headers, body, "POST"))
            assert (made.content, made.header("content-type")) == (body, headers[0][1])
            assert made.header("content-encoding") == dict(headers).get("Content-Encoding")
    assert len(worker.requests) == len(asked)


def test_methods_do_not_share_with_each_other(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["GET", "POST", "QUERY"]))
    for _ in range(2):
        for method in ("GET", "POST", "QUERY"):
            assert made_for(worker, settled(proxy, "/", JSON, b"{}", method)).method == method
    assert len(worker.requests) == 3


# What the answer says of its use.


@pytest.mark.parametrize(
    "said",
    [("Set-Cookie", "sessionid=secret"), ("Cache-Control", "no-store"), ("Cache-Control", "private"), ("Vary", "*")],
    ids=["set-cookie", "no-store", "private", "vary-all"],
)
def test_traps_17_and_23_an_answer_for_one_client_is_neither_shared_nor_waited_for(said, scripted, siding):
    first, others = threading.Event(), threading.Event()
    worker = scripted(lambda received: held(others if received.index else first, said)(received))
    proxy = siding(worker, settings=sharing(scope="public"))
    with ThreadPoolExecutor(7) as clients:
        responses = [clients.submit(proxy.request, "GET", "/")]
        worker.wait_for(1)
        responses += [clients.submit(proxy.request, "GET", "/") for _ in range(4)]
        proxy.until_value(4, WAITING)
        first.set()
        worker.wait_for(5)
        responses += [clients.submit(proxy.request, "GET", "/") for _ in range(2)]
        worker.wait_for(7)
        assert worker.in_progress == 6, "nobody waits for another's answer any more"
        assert proxy.value(WAITING) == 0
        others.set()
        responses = [response.result() for response in responses]
    assert sorted(int(response.body) for response in responses) == list(range(7))
    assert {response.header(said[0]) for response in responses} == {said[1]}
    assert Counter(map(way, responses)) == {"siding; fwd=miss": 1, "siding; fwd=bypass": 6}
    proxy.until_value(0, "siding_flights_in_flight")
    assert served(proxy) == {"miss": 1, "bypass": 6}
    assert stored(proxy) == (0, 7)
    assert proxy.value(FLIGHTS, outcome="complete") == 7


def test_a_private_answer_is_stored_for_its_own_credentials(scripted, siding):
    worker = scripted(numbered(("Cache-Control", "private")))
    proxy = siding(worker, settings=sharing())
    who = [[("Cookie", "one")], [("Cookie", "two")]]
    for _ in range(2):
        assert [made_for(worker, settled(proxy, "/", h)).header("cookie") for h in who] == ["one", "two"]
    assert served(proxy) == {"miss": 2, "hit": 2}


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("max-age=600", 530, 600),
        ("s-maxage=900, max-age=5", 800, 900),
        ("max-age=5, s-maxage=900, public", 800, 900),
        ("max-age=7200", 6400, 7200),
        ("max-age=soon", 3200, 3600),
    ],
)
def test_an_answer_says_how_long_it_is_fresh(said, least, most, scripted, siding):
    worker = scripted(numbered(("Cache-Control", said)))
    proxy = siding(worker, settings=sharing())
    settled(proxy)
    again = settled(proxy)
    assert again.body == b"0"
    assert again.header("cache-control") == said
    assert least <= int(again.header("cache-status").rpartition("=")[2]) <= most


@pytest.mark.parametrize("said", ["no-cache", "max-age=0", "s-maxage=0, max-age=60", "no-store"])
def test_an_answer_that_forbids_it_is_not_stored(said, scripted, siding):
    worker = scripted(numbered(("Cache-Control", said)))
    proxy = siding(worker, settings=sharing())
    assert [settled(proxy).body for _ in range(2)] == [b"0", b"1"]
    assert stored(proxy) == (0, 2)
    assert proxy.value(NOT_STORED, reason="private" if said == "no-store" else "forbidden") == 2


def test_an_answer_that_must_be_revalidated_is_never_served_stale(scripted, siding):
    fine = numbered(("Cache-Control", "must-revalidate"))
    worker = scripted(lambda received: Answer(500, b"failed") if received.index else fine(received))
    proxy = siding(worker, settings=sharing(ttl=SOON, stale_while_revalidate=LONG, stale_if_error=LONG))
    assert settled(proxy).body == b"0"
    other = until("the answer to expire", lambda: (r := proxy.request("GET", "/")).body != b"0" and r)
    assert (other.status, other.body, way(other)) == (500, b"failed", "siding; fwd=miss")
    assert proxy.value(REQUESTS, result="stale") == 0


def test_what_an_answer_says_of_stale_use_goes_before_the_configuration(scripted, siding):
    said = numbered(("Cache-Control", "stale-if-error=3600"))
    worker = scripted(lambda received: Answer(500, b"failed") if received.index else said(received))
    proxy = siding(worker, settings=sharing(ttl=SOON))
    assert settled(proxy).body == b"0"
    stale = until(
        "the answer to be stale", lambda: STALE.fullmatch((r := proxy.request("GET", "/")).header("cache-status")) and r
    )
    assert (stale.status, stale.body) == (200, b"0")


# What it depends on.

VARY = ("Vary", "Accept-Language")


def test_an_answer_that_varies_is_stored_for_each_language(scripted, siding):
    worker = scripted(numbered(VARY))
    proxy = siding(worker, settings=sharing())
    for language, headers in [("de", GERMAN), ("en", ENGLISH), (None, [])] * 2:
        assert made_for(worker, settled(proxy, "/", headers)).header("accept-language") == language
    assert len(worker.requests) == 3
    assert served(proxy) == {"miss": 3, "hit": 3}
    assert stored(proxy) == (3, 0)


def test_fifty_first_requests_of_one_language_make_one_request(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release, VARY))
    proxy = siding(worker, settings=sharing())
    assert {response.body for response in crowd(proxy, worker, release, 50, "/", GERMAN)} == {b"0"}
    proxy.until_value(0, "siding_flights_in_flight")
    assert settled(proxy, "/", GERMAN).body == b"0"
    assert len(worker.requests) == 1
    assert served(proxy) == {"miss": 1, "collapsed": 49, "hit": 1}


def test_trap_17_first_requests_of_two_languages_at_once_get_their_own(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release, VARY))
    proxy = siding(worker, settings=sharing())
    with ThreadPoolExecutor(50) as clients:
        responses = [clients.submit(proxy.request, "GET", "/", GERMAN if n % 2 else ENGLISH) for n in range(50)]
        proxy.until_value(49, WAITING)
        release.set()
        responses = [response.result() for response in responses]
    for number, response in enumerate(responses):
        assert made_for(worker, response).header("accept-language") == ("de" if number % 2 else "en")
    assert len(worker.requests) == 2
    assert proxy.value(REQUESTS, place="route", result="bypass") == 0
    assert proxy.value(REQUESTS, place="route", result="miss") == 2


def test_a_first_answer_that_varies_is_joined_while_its_body_is_under_way(scripted, siding):
    begun, rest = threading.Event(), threading.Event()
    worker = scripted(in_order(Pieces([(begun, b"first"), (rest, b"rest")], [VARY]), Answer(200, b"another")))
    proxy = siding(worker, settings=sharing())
    with proxy.connect() as first, proxy.connect() as late:
        begun.set()
        first.start("GET", "/", GERMAN)
        read_to(first, b"first\r\n")
        late.start("GET", "/", GERMAN)
        proxy.until_value(2, REQUESTS, place="route")
        rest.set()
        assert late.response().body == b"firstrest"
    assert len(worker.requests) == 1


def test_trap_17_a_client_that_claims_anothers_address_does_not_get_anothers_answer(scripted, siding):
    """The app sees the addresses of the way to it, not those that a client claims: an answer depends on the former."""
    worker = scripted(numbered(("Vary", "X-Forwarded-For")))
    proxy = siding(worker, settings=sharing(scope="public"))
    assert made_for(worker, settled(proxy)).header("x-forwarded-for") == "127.0.0.1"
    claiming = settled(proxy, "/", [("X-Forwarded-For", "127.0.0.1")])
    assert made_for(worker, claiming).header("x-forwarded-for") == "127.0.0.1, 127.0.0.1"


# What the request says.


def test_a_client_that_has_the_answer_is_told_so(scripted, siding):
    worker = scripted(numbered(("ETag", '"one"'), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")))
    proxy = siding(worker, settings=sharing())
    first = settled(proxy, "/", [("If-None-Match", '"one"'), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")])
    assert (first.status, first.body) == (200, b"0")
    assert worker.requests[0].header("if-none-match") is None, "the answer is for others too"
    assert worker.requests[0].header("if-modified-since") is None
    for name, value, has_it in [
        ("If-None-Match", '"one"', True),
        ("If-None-Match", '"other", W/"one"', True),
        ("If-None-Match", '"other"', False),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", True),
        ("If-Modified-Since", "Sat, 05 Nov 1994 08:49:37 GMT", False),
    ]:
        again = settled(proxy, "/", [(name, value)])
        assert (again.status, again.body) == ((304, b"") if has_it else (200, b"0")), (name, value)
        assert again.header("etag") == '"one"'
        assert (way(again), again.header("age")) == ("siding; hit; ttl=N", "0")
    assert len(worker.requests) == 1
    assert served(proxy) == {"miss": 1, "hit": 5}


def test_a_part_is_asked_of_the_app(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    settled(proxy)
    for number in (1, 2):
        part = settled(proxy, "/", [("Range", "bytes=0-1"), ("If-Range", '"one"')])
        assert (part.body, way(part)) == (b"%d" % number, "siding; fwd=bypass")
        assert worker.requests[number].header("range") == "bytes=0-1"
        assert worker.requests[number].header("if-range") == '"one"'
    assert settled(proxy).body == b"0"
    assert served(proxy) == {"miss": 1, "bypass": 2, "hit": 1}
    assert stored(proxy)[0] == 1


@pytest.mark.parametrize("said", ["no-cache", "no-store", "max-age=0", "min-fresh=999999"])
def test_what_clients_say_of_caching_is_ignored(said, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    assert [settled(proxy, "/", [("Cache-Control", said)]).body for _ in range(2)] == [b"0", b"0"]
    assert served(proxy) == {"miss": 1, "hit": 1}
    assert settled(proxy, "/other", [("Cache-Control", "only-if-cached")]).body == b"1"


@pytest.mark.parametrize(
    ("header", "result", "kept"),
    [
        (("Cache-Control", "no-cache"), "miss", True),
        (("Pragma", "no-cache"), "miss", True),
        (("Cache-Control", "max-age=0"), "miss", True),
        (("Cache-Control", "min-fresh=999999"), "miss", True),
        (("Cache-Control", "no-store"), "bypass", False),
        (("Cache-Control", "max-age=60"), "hit", False),
    ],
)
def test_what_clients_say_of_caching_is_obeyed_where_the_route_says_so(header, result, kept, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(client_directives=True))
    assert settled(proxy).body == b"0"
    assert settled(proxy, "/", [header]).body == (b"0" if result == "hit" else b"1")
    assert settled(proxy).body == (b"1" if kept else b"0"), "the newer answer takes the older one's place"
    assert Counter(served(proxy)) == Counter({"miss": 1, "hit": 1}) + Counter({result: 1})


def test_a_client_that_wants_a_stored_answer_or_none_gets_a_504(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(client_directives=True))
    only = [("Cache-Control", "only-if-cached")]
    assert_problem(proxy.request("GET", "/", only), 504, "not-cached")
    assert worker.requests == []
    settled(proxy)
    assert settled(proxy, "/", only).body == b"0"
    assert len(worker.requests) == 1
    proxy.ended("not-cached", "shared")


# Stale answers.


def test_a_stale_answer_is_given_at_once_and_fetched_anew_once(scripted, siding):
    release = threading.Event()
    anew = held(release, ("Cache-Control", "max-age=3600"))
    worker = scripted(lambda received: (anew if received.index else numbered())(received))
    proxy = siding(worker, settings=sharing(ttl=SOON, stale_while_revalidate=LONG))
    assert settled(proxy).body == b"0"
    until("the answer to be stale", lambda: STALE.fullmatch(proxy.request("GET", "/").header("cache-status")))
    worker.wait_for(2)
    with ThreadPoolExecutor(10) as clients:
        responses = list(clients.map(lambda _: proxy.request("GET", "/"), range(10)))
    assert {response.body for response in responses} == {b"0"}
    assert all(STALE.fullmatch(response.header("cache-status")) for response in responses)
    assert len(worker.requests) == 2
    release.set()
    proxy.until_value(2, STORED, place="route")
    assert settled(proxy).body == b"1"
    assert len(worker.requests) == 2
    assert proxy.value(REQUESTS, place="route", result="stale") == 11
    assert proxy.value(REQUESTS, place="route", result="miss") == 1


def test_a_refresh_that_fails_leaves_the_stale_answer(scripted, siding):
    worker = scripted(lambda received: Answer(500, b"failed") if received.index else numbered()(received))
    proxy = siding(worker, settings=sharing(ttl=SOON, stale_while_revalidate=LONG))
    assert settled(proxy).body == b"0"
    until("the answer to be stale", lambda: STALE.fullmatch(proxy.request("GET", "/").header("cache-status")))
    proxy.until_value(1, NOT_STORED, reason="status")
    assert proxy.request("GET", "/").body == b"0"


@pytest.mark.parametrize("failing", ["with a 500", "with a closed connection", "unreachable"])
def test_a_stale_answer_is_given_in_place_of_an_error(failing, scripted, siding, tmp_path):
    path = str(tmp_path / "app.sock")
    fails = {"with a 500": Answer(500, b"failed"), "with a closed connection": Close()}
    worker = scripted(lambda r: fails.get(failing, Answer()) if r.index else numbered()(r), path=path)
    proxy = siding(worker, settings=sharing(ttl=SOON, stale_if_error=LONG, more={"backend": {"keepalive": "0s"}}))
    assert settled(proxy).body == b"0"
    if failing == "unreachable":
        os.unlink(path)
    hits = until("the answer to expire", lambda: not _is_fresh(settled(proxy)) and served(proxy)["stale"])
    assert hits == 1
    again = settled(proxy)
    assert (again.status, again.body) == (200, b"0")
    assert STALE.fullmatch(again.header("cache-status"))
    assert proxy.request("GET", "/other").status in (500, 502), "where nothing is stored there is nothing to give"


def _is_fresh(response):
    assert (response.status, response.body) == (200, b"0")
    return not STALE.fullmatch(response.header("cache-status"))


def test_a_request_that_is_served_stale_counts_once(scripted, siding):
    worker = scripted(lambda received: Answer(500, b"failed") if received.index else numbered()(received))
    proxy = siding(worker, settings=sharing(ttl=SOON, stale_if_error=LONG))
    settled(proxy)
    until("the answer to be stale", lambda: STALE.fullmatch(settled(proxy).header("cache-status")))
    assert proxy.value(REQUESTS, place="route", result="stale") == 1
    assert proxy.value(REQUESTS, place="route") == proxy.value("siding_exchanges_total", mode="shared")


# Many at once.


@BOTH
def test_a_hundred_identical_requests_make_one(handoff, scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing(handoff=handoff))
    responses = crowd(proxy, worker, release, 100, "/report?day=1")
    assert {response.body for response in responses} == {b"0"}
    assert Counter(map(way, responses)) == {"siding; fwd=miss": 1, "siding; fwd=miss; collapsed": 99}
    assert [request.target for request in worker.requests] == ["/report?day=1"]
    proxy.ended("answered", "shared", 100)
    proxy.until_value(1, FLIGHTS, outcome="complete")
    assert served(proxy) == {"miss": 1, "collapsed": 99}
    assert proxy.value(FOLLOWED) == 99
    assert proxy.value(WAITING) == 0
    assert stored(proxy) == (1, 0)
    proxy.until_value(0, "siding_buffered_bytes")


def test_a_hundred_identical_requests_whose_app_suspends_make_one_exchange(llm, scripted, siding):
    release = threading.Event()
    worker = scripted(by_pass(Hang(release, HandOver([chat(llm.url, "once")])), Tell()))
    proxy = siding(worker, llm.url, sharing(methods=["POST"]))
    responses = crowd(proxy, worker, release, 100, "/chat", JSON, b'{"q":1}', "POST")
    assert {response.status for response in responses} == {200}
    told = {response.body for response in responses}
    assert len(told) == 1
    assert json.loads(told.pop())["body"] == '{"q":1}'
    proxy.until_value(0, "siding_flights_in_flight")
    assert [request.number for request in worker.requests] == [0, 1]
    assert llm.stats("once")["total"] == 1
    stored_ = settled(proxy, "/chat", JSON, b'{"q": 1}', "POST")
    assert (stored_.body, way(stored_)) == (responses[0].body, "siding; hit; ttl=N")
    assert len(worker.requests) == 2, "a stored answer needs no pass"
    assert llm.stats()["total"] == 1
    assert served(proxy) == {"miss": 1, "collapsed": 99, "hit": 1}
    proxy.until_value(0, "siding_exchanges_suspended")
    proxy.until_value(0, "siding_buffered_bytes")


def test_trap_17_many_different_requests_at_once_each_get_their_own(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing())
    asked = [(f"/{n % 5}", [("Cookie", f"c{n % 3}")]) for n in range(150)]
    with ThreadPoolExecutor(150) as clients:
        responses = [clients.submit(proxy.request, "GET", target, headers) for target, headers in asked]
        proxy.until_value(135, WAITING)
        release.set()
        responses = [response.result() for response in responses]
    for (target, headers), response in zip(asked, responses, strict=True):
        made = made_for(worker, response)
        assert (made.target, made.header("cookie")) == (target, headers[0][1])
    assert len(worker.requests) == 15
    proxy.until_value(15, FLIGHTS, outcome="complete")
    assert served(proxy) == {"miss": 15, "collapsed": 135}


def test_requests_past_the_bound_of_followers_go_alone(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing(more={"cache": {"max_followers": 3}}))
    with ThreadPoolExecutor(4) as clients:
        responses = [clients.submit(proxy.request, "GET", "/")]
        worker.wait_for(1)
        responses += [clients.submit(proxy.request, "GET", "/") for _ in range(2)]
        proxy.until_value(2, WAITING)
        responses.append(clients.submit(proxy.request, "GET", "/"))
        worker.wait_for(2)
        release.set()
        assert [response.result().body for response in responses] == [b"0", b"0", b"0", b"1"]
    assert served(proxy) == {"miss": 1, "collapsed": 2, "bypass": 1}


# Those who leave.


def test_trap_19_the_first_client_leaves_and_the_others_get_their_answer(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing())
    with waiting_clients(proxy, worker, 21) as clients:
        clients[0].close()
        proxy.ended("client-gone", "shared")
        release.set()
        assert [client.response().body for client in clients[1:]] == [b"0"] * 20
    proxy.until_value(1, FLIGHTS, outcome="complete")
    assert len(worker.requests) == 1
    assert settled(proxy).body == b"0"
    assert served(proxy) == {"miss": 1, "collapsed": 20, "hit": 1}


def test_trap_19_every_tenth_client_leaves_and_the_others_get_their_answer(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=sharing())
    with waiting_clients(proxy, worker, 100) as clients:
        for client in clients[::10]:
            client.close()
        proxy.ended("client-gone", "shared", 10)
        proxy.until_value(90, WAITING)
        release.set()
        staying = [client for number, client in enumerate(clients) if number % 10]
        assert [client.response().body for client in staying] == [b"0"] * 90
    proxy.until_value(1, FLIGHTS, outcome="complete")
    proxy.ended("answered", "shared", 90)
    assert len(worker.requests) == 1
    assert proxy.value(FOLLOWED) == 99
    assert stored(proxy) == (1, 0)


def test_trap_27_all_clients_leave_and_the_next_one_starts_anew(scripted, siding):
    release = threading.Event()
    worker = scripted(lambda received: numbered()(received) if received.index else held(release)(received))
    proxy = siding(worker, settings=sharing())
    with waiting_clients(proxy, worker, 10) as clients:
        for client in clients:
            client.close()
        proxy.until_value(1, FLIGHTS, outcome="unwanted")
    proxy.until_value(0, WAITING)
    proxy.until_value(0, "siding_flights_in_flight")
    assert settled(proxy).body == b"1"
    release.set()
    proxy.until_value(0, "siding_workers_busy")
    assert len(worker.requests) == 2
    assert settled(proxy).body == b"1", "what nobody wanted any more is not stored"
    assert proxy.value(FLIGHTS, outcome="complete") == 1
    proxy.until_value(0, "siding_buffered_bytes")


def test_trap_28_calls_that_nobody_waits_for_any_more_are_cancelled(llm, scripted, siding):
    worker = scripted(by_pass(HandOver([chat(llm.url, "[hang]")]), Tell()))
    proxy = siding(worker, llm.url, sharing())
    with waiting_clients(proxy, worker, 5) as clients:
        llm.until_stats({"in_flight": 1})
        for client in clients[1:]:
            client.close()
        proxy.ended("client-gone", "shared", 4)
        assert llm.stats()["in_flight"] == 1, "one client still wants it"
        clients[0].close()
        llm.until_stats({"total": 1, "cancelled": 1, "in_flight": 0})
    proxy.until_value(2, FLIGHTS, outcome="unwanted")  # the answer, and the call for it
    assert len(worker.requests) == 1


# Answers in pieces, slow clients, large answers.


def test_trap_35_pieces_reach_everybody_as_they_come(scripted, siding):
    events = [threading.Event() for _ in range(3)]
    worker = scripted(Pieces(list(zip(events, [b"one.", b"two.", b"three."], strict=True))))
    proxy = siding(worker, settings=sharing())
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as late:
        first.start("GET", "/")
        worker.wait_for(1)
        second.start("GET", "/")
        for client in (first, second):
            read_to(client, b"\r\n\r\n")
        events[0].set()
        for client in (first, second):
            read_to(client, b"one.\r\n")
        late.start("GET", "/")
        read_to(late, b"\r\n\r\n")
        read_to(late, b"one.\r\n")
        events[1].set()
        for client in (first, second, late):
            read_to(client, b"two.\r\n")
        events[2].set()
        for client in (first, second, late):
            read_to(client, b"three.\r\n0\r\n\r\n")
    proxy.until_value(0, "siding_flights_in_flight")
    again = settled(proxy)
    assert (again.body, again.framing, way(again)) == (b"one.two.three.", "length", "siding; hit; ttl=N")
    assert len(worker.requests) == 1
    assert served(proxy) == {"miss": 1, "collapsed": 2, "hit": 1}


@pytest.mark.parametrize("chunked", [True, False])
def test_traps_8_and_24_an_answer_that_breaks_off_is_never_stored_and_looks_complete_to_nobody(
    chunked, scripted, siding
):
    release = threading.Event()
    broken = Hang(release, CloseMidBody(b"half", chunked))
    worker = scripted(lambda received: numbered()(received) if received.index else broken)
    proxy = siding(worker, settings=sharing())
    with waiting_clients(proxy, worker, 10) as clients:
        release.set()
        for client in clients:
            with pytest.raises(Incomplete) as ended:
                client.response()
            assert ended.value.received.startswith(b"HTTP/1.1 200")
            assert not ended.value.received.endswith(b"0\r\n\r\n")
    proxy.until_value(1, FLIGHTS, outcome="failed")
    proxy.ended("interrupted", "shared", 10)
    assert stored(proxy) == (0, 0)
    assert settled(proxy).body == b"1"
    assert len(worker.requests) == 2


def test_trap_21_a_worker_that_closes_has_one_successor_for_all_who_wait(scripted, siding):
    release = threading.Event()
    closing = Hang(release, Close())
    worker = scripted(lambda received: closing if received.index < 2 else numbered()(received))
    proxy = siding(worker, settings=sharing())
    responses = crowd(proxy, worker, release, 10)
    assert {response.body for response in responses} == {b"2"}
    assert len(worker.requests) == 3, "a GET is repeated once for its leader, then once more for those who wait"
    proxy.until_value(1, FLIGHTS, outcome="complete")
    assert proxy.value("siding_flight_elections_total") == 1
    assert served(proxy) == {"miss": 1, "collapsed": 9}


def test_trap_21_a_worker_that_always_closes_is_an_error_for_all_after_two_successors(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Close()))
    proxy = siding(worker, settings=sharing())
    for response in crowd(proxy, worker, release, 10):
        assert_problem(response, 502, "backend-closed")
    assert len(worker.requests) == 6
    proxy.until_value(1, FLIGHTS, outcome="failed")
    assert proxy.value("siding_flight_elections_total") == 2
    proxy.ended("backend-closed", "shared", 10)


def test_a_post_whose_worker_closes_is_not_repeated_for_those_who_wait(scripted, siding):
    release = threading.Event()
    worker = scripted(Hang(release, Close()))
    proxy = siding(worker, settings=sharing(methods=["POST"]))
    for response in crowd(proxy, worker, release, 10, "/", JSON, b"{}", "POST"):
        assert_problem(response, 502, "backend-closed")
    assert len(worker.requests) == 1
    proxy.until_value(1, FLIGHTS, outcome="failed")
    assert stored(proxy) == (0, 0)


def test_trap_20_a_client_that_reads_slowly_does_not_slow_the_others(scripted, siding):
    release = threading.Event()
    body = os.urandom(7 << 20)
    worker = scripted(Hang(release, Answer(200, body)))
    proxy = siding(worker, settings=sharing(more={"cache": {"max_entry": "8MiB"}}))
    with waiting_clients(proxy, worker, 6) as clients:
        release.set()
        for client in clients[1:]:
            assert client.response().body == body
        proxy.until_value(1, STORED, place="route")
        assert proxy.request("GET", "/").body == body
        assert clients[0].response().body == body
    assert len(worker.requests) == 1


def test_trap_20_a_client_that_takes_nothing_is_given_up_and_the_others_get_all(scripted, siding):
    release = threading.Event()
    body = os.urandom(32 << 20)
    worker = scripted(Hang(release, Answer(200, body)))
    more = {"server": {"write_timeout": "500ms"}, "handoff": {"max_result": "64KiB"}, "cache": {"max_entry": "64KiB"}}
    proxy = siding(worker, settings=sharing(more=more))
    with proxy.connect() as stuck, ThreadPoolExecutor(3) as clients:
        stuck.start("GET", "/")
        worker.wait_for(1)
        others = [clients.submit(proxy.request, "GET", "/") for _ in range(3)]
        proxy.until_value(3, WAITING)
        release.set()
        assert all(other.result().body == body for other in others)
        with pytest.raises((Incomplete, ConnectionError)):
            stuck.response()
    assert len(worker.requests) == 1
    proxy.ended("client-gone", "shared")


@pytest.mark.parametrize("size", [600 << 10, 8 << 20])
def test_an_answer_that_is_too_large_to_be_stored_goes_through_to_all(size, scripted, siding):
    """Larger than an entry; larger than what is kept for those who join late."""
    release = threading.Event()
    body = os.urandom(size)
    worker = scripted(Hang(release, Answer(200, body)))
    more = {"cache": {"max_entry": "512KiB"}, "handoff": {"max_result": "1MiB"}}
    proxy = siding(worker, settings=sharing(more=more))
    responses = crowd(proxy, worker, release, 2)
    assert all(response.body == body for response in responses)
    proxy.until_value(1, FLIGHTS, outcome="complete")
    assert len(worker.requests) == 1
    assert stored(proxy) == (0, 1)
    assert proxy.value(NOT_STORED, reason="too-large") == 1
    assert settled(proxy).body == body
    assert len(worker.requests) == 2
    proxy.until_value(0, "siding_buffered_bytes")


@pytest.mark.parametrize("headers", [[], [("Range", "bytes=0-")]], ids=["shared", "alone"])
def test_trap_32_an_answer_larger_than_all_memory_for_bodies_goes_through(headers, scripted, siding):
    """What everybody has read occupies no memory any more."""
    body = os.urandom(8 << 20)
    worker = scripted(Answer(200, body))
    more = {
        "server": {"max_body": "64KiB", "buffered": "1MiB"},
        "handoff": {"max_result": "64KiB", "max_journal": "64KiB"},
        "cache": {"max_entry": "64KiB"},
    }
    proxy = siding(worker, settings=sharing(more=more))
    assert settled(proxy, "/", headers).body == body
    proxy.until_value(0, "siding_buffered_bytes")


def test_trap_32_what_is_stored_stays_within_its_bound(scripted, siding):
    filler = os.urandom(40_000)
    worker = scripted(lambda received: Answer(200, b"%d " % received.index + filler))
    proxy = siding(worker, settings=sharing(more={"cache": {"capacity": "1MiB", "max_entry": "64KiB"}}))
    for number in range(100):
        response = settled(proxy, f"/{number}")
        assert worker.requests[int(response.body.split()[0])].target == f"/{number}"
    assert proxy.value("siding_cache_size_limit_bytes") == 1 << 20
    assert 0 < proxy.value("siding_cache_size_bytes") <= 1 << 20
    assert 5 < proxy.value("siding_cache_entries") <= 26
    assert stored(proxy) == (100, 0)
    for number in range(100):
        response = settled(proxy, f"/{number}")
        assert worker.requests[int(response.body.split(b" ", 1)[0])].target == f"/{number}"


# Purging.


def two_routes(**cache):
    """Routes with tags of their own."""
    routes = [
        {"path": f"/{name}/**", "cache": {"ttl": LONG, "tags": ["all-of-them", name], **cache}} for name in ("a", "b")
    ]
    return {"backend": {"workers": 4}, "routes": routes}


@pytest.mark.parametrize(
    ("query", "gone"),
    [
        ("all", {"/a/1", "/a/2", "/b/1"}),
        ("tag=a", {"/a/1", "/a/2"}),
        ("tag=b", {"/b/1"}),
        ("tag=all-of-them", {"/a/1", "/a/2", "/b/1"}),
        ("tag=c", set()),
        ("origin=/b/**", {"/b/1"}),
        ("origin=%2Fa%2F**", {"/a/1", "/a/2"}),
        ("origin=/a", set()),
        ("key=" + "0" * 64, set()),
    ],
)
def test_a_purge_removes_what_it_names_and_nothing_else(query, gone, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=two_routes())
    targets = ["/a/1", "/a/2", "/b/1"]
    for target in targets:
        settled(proxy, target)
    purged = purge(proxy, query)
    assert (purged.status, purged.body.decode()) == (200, f"{len(gone)} entries\n")
    assert proxy.value("siding_cache_purged_total") == len(gone)
    assert {target for target in targets if way(settled(proxy, target)) == "siding; fwd=miss"} == gone
    assert len(worker.requests) == 3 + len(gone)


@pytest.mark.parametrize("query", ["", "everything", "key=short", "all=now", "tag=a&tag=b", "tag=a&all", "tags=a"])
def test_a_purge_that_says_nothing_clear_is_refused(query, scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=two_routes())
    settled(proxy, "/a/1")
    assert purge(proxy, query).status == 400
    assert settled(proxy, "/a/1").body == b"0"


def test_a_purge_must_be_a_post_to_the_admin_listener(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=two_routes())
    settled(proxy, "/a/1")
    for method in ("GET", "HEAD", "DELETE"):
        assert purge(proxy, "all", method).status == 405
    assert proxy.request("POST", "/-/purge?all").body == b"1", "to clients it is the app's"
    assert settled(proxy, "/a/1").body == b"0"
    assert proxy.value("siding_cache_purged_total") == 0


def test_an_answer_that_was_under_way_during_a_purge_is_delivered_and_not_stored(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=two_routes())
    with ThreadPoolExecutor(1) as clients:
        before = clients.submit(proxy.request, "GET", "/a/1")
        worker.wait_for(1)
        assert purge(proxy, "tag=a").body == b"0 entries\n"
        release.set()
        assert before.result().body == b"0"
    proxy.until_value(0, "siding_flights_in_flight")
    assert proxy.value("siding_cache_entries") == 0
    assert settled(proxy, "/a/1").body == b"1", "it may be older than what the purge was about"
    assert settled(proxy, "/a/1").body == b"1"


def test_an_answer_that_a_purge_kept_from_being_stored_does_not_count_as_stored(scripted, siding):
    release = threading.Event()
    worker = scripted(held(release))
    proxy = siding(worker, settings=two_routes())
    with ThreadPoolExecutor(1) as clients:
        before = clients.submit(proxy.request, "GET", "/a/1")
        worker.wait_for(1)
        purge(proxy, "all")
        release.set()
        before.result()
    proxy.until_value(0, "siding_flights_in_flight")
    assert stored(proxy) == (0, 1)


def test_a_request_after_a_purge_does_not_join_what_was_under_way_before_it(scripted, siding):
    """The purge says that the app's answer is another now; who asks after it must not get the one from before."""
    release = threading.Event()
    worker = scripted(lambda received: numbered()(received) if received.index else held(release)(received))
    proxy = siding(worker, settings=two_routes())
    with ThreadPoolExecutor(2) as clients:
        before = clients.submit(proxy.request, "GET", "/a/1")
        worker.wait_for(1)
        purge(proxy, "tag=a")
        after = clients.submit(proxy.request, "GET", "/a/1")
        until(
            "the second request to join or to make one of its own",
            lambda: proxy.value(WAITING) == 1 or len(worker.requests) == 2,
        )
        release.set()
        assert before.result().body == b"0"
        assert after.result().body == b"1"


def test_a_purge_counts_answers_in_several_languages_once_each(scripted, siding):
    worker = scripted(numbered(VARY))
    proxy = siding(worker, settings=two_routes())
    for headers in (GERMAN, ENGLISH):
        settled(proxy, "/a/1", headers)
    assert purge(proxy, "all").body == b"2 entries\n"
    assert [settled(proxy, "/a/1", headers).body for headers in (GERMAN, ENGLISH)] == [b"2", b"3"]


# What is not shared.


def test_head_is_not_shared(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    for _ in range(2):
        assert proxy.request("HEAD", "/").status == 200
    assert [request.method for request in worker.requests] == ["HEAD", "HEAD"]
    assert settled(proxy).body == b"2"
    assert proxy.request("HEAD", "/").header("content-length") == "1"
    assert served(proxy) == {"miss": 1}


def test_uploads_that_are_streamed_are_not_shared(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST"], more={"server": {"max_body": "1KiB"}}))
    for number in range(2):
        response = proxy.request("POST", "/", JSON, b"x" * 2000)
        assert (response.body, response.header("cache-status")) == (b"%d" % number, None)
    assert [len(request.content) for request in worker.requests] == [2000, 2000]
    assert served(proxy) == {}


def test_upgrades_are_not_shared(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing())
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert [proxy.request("GET", "/", upgrade).body for _ in range(2)] == [b"0", b"1"]
    assert settled(proxy).body == b"2"
    assert served(proxy) == {"miss": 1}


def test_bodies_that_come_in_chunks_share_like_others(scripted, siding):
    worker = scripted(numbered())
    proxy = siding(worker, settings=sharing(methods=["POST"]))
    assert settled(proxy, "/", JSON, b'{"a":1}', "POST").body == b"0"
    chunked = [*JSON, ("Transfer-Encoding", "chunked")]
    with proxy.connect() as client:
        client.start("POST", "/", chunked)
        client.send(b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n')
        assert client.response("POST").body == b"0"
    assert len(worker.requests) == 1


def test_a_connection_goes_on_after_shared_answers_of_every_kind(scripted, siding):
    worker = scripted(numbered(("ETag", '"one"')))
    proxy = siding(worker, settings=sharing())
    with proxy.connect() as client:
        assert client.request("GET", "/").body == b"0"
        proxy.until_value(1, STORED, place="route")
        assert client.request("GET", "/").body == b"0"
        assert client.request("GET", "/", [("If-None-Match", '"one"')]).status == 304
        assert client.request("GET", "/other").body == b"1"
    assert len(worker.requests) == 2
