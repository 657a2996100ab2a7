"""The same request to the app directly and through Siding, buffered and streamed: the same status, headers and
bytes, and a connection that can be used again afterwards wherever the app's own can."""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import SimpleNamespace

import apps
import pytest
from comparing import comparable, exchange
from harness.backend import Backend
from harness.calls import assert_problem
from harness.raw_http import Connection, Incomplete, request_bytes
from harness.siding import Siding

MIB = 1 << 20


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """One app, and two proxies before it."""
    directory = tmp_path_factory.mktemp("differential")
    with ExitStack() as stack:
        app = stack.enter_context(
            Backend(directory, "apps:mirror", apps.FOLDER, "--keep-alive", "5", server="gunicorn-gthread", threads=8)
        )
        backend = {"backend": {"threads": 8}}
        buffered = stack.enter_context(Siding(directory, app.address, None, backend))
        streamed = stack.enter_context(Siding(directory, app.address, None, {**backend, "handoff": {"enabled": False}}))
        yield SimpleNamespace(direct=app.address, buffered=buffered, streamed=streamed)


BOTH = pytest.mark.parametrize("via", ["buffered", "streamed"])
TWO = [("X-Two", "1"), ("X-Two", "2")]
ODD = [("X-Empty", ""), ("X-Odd", 'a\tb  "c"; d=e, f'), ("X-Latin", "\xe9")]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
REQUESTS = {
    "a page": ("GET", "/", [], None),
    "HEAD of a page": ("HEAD", "/", [], None),
    "HEAD of a chunked page": ("HEAD", "/chunked", [], None),
    "HEAD of a large page": ("HEAD", "/large/50", [], None),
    "OPTIONS": ("OPTIONS", "/", [], None),
    "OPTIONS of everything": ("OPTIONS", "*", [], None),
    "DELETE without a body": ("DELETE", "/", [], None),
    "DELETE with a body": ("DELETE", "/", [], b"body"),
    "GET with a body": ("GET", "/", [], b"body"),
    "an unknown method": ("PURGE", "/", [], None),
    "204": ("GET", "/status/204", [], None),
    "304 by tag": ("GET", "/fresh", [("If-None-Match", '"v1"')], None),
    "304 by time": ("GET", "/fresh", [("If-Modified-Since", "Sat, 01 Jan 2022 00:00:00 GMT")], None),
    "200 in spite of a tag": ("GET", "/fresh", [("If-None-Match", '"v2"')], None),
    "HEAD that is 304": ("HEAD", "/fresh", [("If-None-Match", '"v1"')], None),
    "a redirect": ("GET", "/status/302", [], None),
    "a client error": ("GET", "/status/418", [], None),
    "a server error": ("POST", "/status/500", [], b"x"),
    "a status of its own": ("GET", "/status/599", [], None),
    "a chunked answer": ("GET", "/chunked", [], None),
    "an empty answer": ("GET", "/empty", [], None),
    "duplicate, empty and odd headers": ("GET", "/headers", [], None),
    "duplicate request headers": ("GET", "/", TWO, None),
    "empty and odd request headers": ("GET", "/", ODD, None),
    "many headers": ("GET", "/", [(f"X-{n}", "v" * 50) for n in range(80)], None),
    "a host with a port": ("GET", "/", [("Host", "other.example:8443")], None),
    "a range": ("GET", "/", [("Range", "bytes=0-3"), ("If-Range", '"x"')], None),
    "compression": ("GET", "/", [("Accept-Encoding", "gzip, br"), ("TE", "gzip;q=0.5")], None),
    "an address chain": ("GET", "/", [("Forwarded", "for=10.0.0.1"), ("X-Real-IP", "10.0.0.1")], None),
    "upload of nothing": ("POST", "/", [FORM], b""),
    "upload of 1 KiB": ("POST", "/", [FORM], b"x" * 1024),
    "upload of 64 KiB and a byte": ("PUT", "/", [], bytes(range(256)) * 256 + b"!"),
    "upload of 1 MiB": ("PATCH", "/", [("Content-Type", "application/octet-stream")], bytes(range(256)) * 4096),
    "upload beyond max_body": ("POST", "/", [], b"0123456789abcdef" * (9 * MIB // 16)),
    "100-continue that nobody waits for": ("POST", "/", [("Expect", "100-continue")], b"x" * 1000),
    "a large download": ("GET", "/large/50", [], None),
    "a small answer to an unread upload": ("POST", "/unread", [], b"x" * 1000),
}
TARGETS = [
    "/a%2Fb/%2e%2e/c",
    "/%E4%BD%A0%E5%A5%BD/%ff",
    "/a%20b+c",
    "/%41",
    "/a//b///c",
    "/./a/../b",
    "/;p=1/a;q",
    "/a%00b",
    "/?",
    "/?a=1&a=2&b",
    "/?q=%20+%2B&x=[]{}|^`\\'",
    "/?u=%E4%BD&e=%",
    "/?a=?&b=/",
    "/" + "p" * 3000,
    "/?" + "q" * 3000,
    "/*",
    "//host/path",
    "/:80/x",
    "/a:b@c",
    "/~!$&'()*+,;=:@-._",
]


@BOTH
@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_is_the_same(name, via, three):
    method, target, headers, body = REQUESTS[name]
    request = request_bytes(method, target, headers, body)
    direct, direct_again = exchange(three.direct, request, method)
    proxied, again = exchange(getattr(three, via).address, request, method)
    assert comparable(proxied) == comparable(direct)
    assert again or not direct_again, "the connection can be used again"


@BOTH
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_arrives_as_it_was_sent(target, via, three):
    request = request_bytes("GET", target)
    direct, _ = exchange(three.direct, request, "GET")
    proxied, _ = exchange(getattr(three, via).address, request, "GET")
    assert comparable(proxied) == comparable(direct)


@BOTH
def test_an_expected_100_continue_comes_before_the_body(via, three):
    body = b"x" * 100_000
    head = request_bytes("POST", "/", [("Expect", "100-continue"), ("Content-Length", str(len(body)))])
    answers = []
    for address in (three.direct, getattr(three, via).address):
        with Connection(address, 5) as connection:
            connection.send(head)
            assert connection.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.send(body)
            answers.append(comparable(connection.response("POST")))
            assert connection.request("GET", "/again").status == 200
    assert answers[0] == answers[1]


@BOTH
@pytest.mark.parametrize("sizes", [[], [5], [1, 65_537, 3], [3 * MIB]])
def test_a_chunked_upload_arrives_whole(sizes, via, three):
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (size, b"c" * size) for size in sizes)
    request = request_bytes("POST", "/", [("Transfer-Encoding", "chunked")]) + chunks + b"0\r\n\r\n"
    direct, _ = exchange(three.direct, request, "POST")
    proxied, again = exchange(getattr(three, via).address, request, "POST")
    told, expected = json.loads(proxied.body), json.loads(direct.body)
    if via == "buffered":  # it is sent on with its length
        assert (told.pop("length"), expected.pop("length")) == (str(sum(sizes)) if sizes else None, None)
    assert (proxied.status, told) == (direct.status, expected)
    assert again


@BOTH
def test_pipelined_requests_are_answered_in_order(via, three):
    requests = [("POST", "/1", b"one"), ("GET", "/chunked", None), ("HEAD", "/2", None), ("POST", "/3", b"3" * 70_000)]
    pipeline = b"".join(request_bytes(method, target, [], body) for method, target, body in requests)
    answers = []
    for address in (three.direct, getattr(three, via).address):
        with Connection(address, 5) as connection:
            connection.send(pipeline)
            answers.append([comparable(connection.response(method)) for method, _, _ in requests])
    assert answers[0] == answers[1]


@BOTH
@pytest.mark.parametrize("page", ["/", "/chunked", "/large/2", "/fresh", "/empty"])
@pytest.mark.parametrize("host", [b"Host: app.example\r\n", b""])
def test_an_http_1_0_client_is_served_the_same(page, host, via, three):
    request = b"GET %s HTTP/1.0\r\n%sX-Mine: 1\r\n\r\n" % (page.encode(), host)
    answers = []
    for address in (three.direct, getattr(three, via).address):
        with Connection(address, 2) as connection:
            connection.send(request)
            response = connection.response()
            assert response.framing in ("close", "length"), "an old client knows no chunks"
            assert (response.header("connection") or "close").lower() == "close", "it did not ask to keep it"
            assert connection.at_end()
            answers.append(comparable(response))
    assert answers[0] == answers[1]


@BOTH
def test_an_http_1_0_client_may_ask_to_keep_its_connection(via, three):
    request = b"GET / HTTP/1.0\r\nHost: app.example\r\nConnection: keep-alive\r\n\r\n"
    for address in (three.direct, getattr(three, via).address):
        with Connection(address, 2) as connection:
            for _ in range(2):
                connection.send(request)
                assert connection.response().header("connection") == "keep-alive"


@BOTH
def test_a_client_that_asks_for_the_end_of_its_connection_gets_it(via, three):
    for address in (three.direct, getattr(three, via).address):
        with Connection(address, 2) as connection:
            assert connection.request("GET", "/", [("Connection", "close")]).header("connection") == "close"
            assert connection.at_end()


@BOTH
def test_a_connection_serves_many_requests(via, three):
    with Connection(getattr(three, via).address, 5) as connection:
        for _ in range(3):
            for method, target, headers, body in REQUESTS.values():
                if len(body or b"") < MIB and not target.startswith("/large") and target not in ("/unread", "*"):
                    response = connection.request(method, target, headers, body)
                    assert response.complete, target
                    assert (response.header("connection") or "").lower() != "close", target


BAD = {
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "an unknown coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: squeeze\r\n\r\nx",
    "a broken chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n0\r\n\r\n",
    "a zero byte in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "another protocol": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "TLS to a plain listener": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@BOTH
@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_is_refused_and_ends_the_connection(name, via, three):
    proxy = getattr(three, via)
    with Connection(proxy.address, 5) as connection:
        connection.send(BAD[name])
        try:
            response = connection.response()
        except (Incomplete, ConnectionError, ValueError):
            return
        assert 400 <= response.status < 500, response
        assert connection.at_end()
    assert proxy.request("GET", "/").status == 200


@BOTH
def test_a_request_must_name_its_host(via, three):
    with Connection(getattr(three, via).address) as connection:
        connection.send(b"GET / HTTP/1.1\r\nX: 1\r\n\r\n")
        assert_problem(connection.response(), 400, "bad-request")


@BOTH
def test_a_split_cookie_reaches_the_app_as_one_that_it_can_read(via, three):
    """gunicorn joins them with a comma, which makes one wrong cookie of two; HTTP/2 clients do split theirs."""
    request = request_bytes("GET", "/", [("Cookie", "a=1"), ("Cookie", "b=2")])
    proxied, _ = exchange(getattr(three, via).address, request, "GET")
    assert b'"a=1; b=2"' in proxied.body
