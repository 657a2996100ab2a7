"""Requests that two readers may take for two different things: what each is, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


@dataclass(frozen=True)
class Vector:
    """Bytes of a client. If anything reaches the app, it is one request with this body to this target."""

    data: bytes
    body: bytes = b""
    target: str = "/"


def get(
    headers: bytes = b"", target: bytes = b"/", host: bytes = b"Host: app.example\r\n", arrives: str | None = None
) -> Vector:
    """A request without a body. `arrives` is its target at the app, where it is another."""
    data = b"GET " + target + b" HTTP/1.1\r\n" + host + headers + b"\r\n"
    return Vector(data, target=target.decode("latin-1") if arrives is None else arrives)


def post(headers: bytes, content: bytes, body: bytes = b"") -> Vector:
    """A request with a body."""
    return Vector(b"POST / HTTP/1.1\r\nHost: app.example\r\n" + headers + b"\r\n" + content, body)


def sized(value: bytes, content: bytes = b"hello") -> Vector:
    """A body of this length."""
    return post(b"Content-Length: " + value + b"\r\n", content, b"hello")


def chunks(content: bytes, body: bytes = b"hello") -> Vector:
    """A body in chunks."""
    return post(CHUNKED, content, body)


def coded(line: bytes) -> Vector:
    """A body in chunks, if this line says so, or one that hides a request."""
    both = line + b"Content-Length: %d\r\n" % len(LAST + SMUGGLED)
    return post(both, LAST + SMUGGLED)


# In the order of the page.
HTTP1: dict[str, Vector] = {
    # Where the body ends.
    "a length and chunks (CL.TE)": coded(CHUNKED),
    "chunks and a length (TE.CL)": post(
        CHUNKED + b"Content-Length: 4\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), SMUGGLED
    ),
    "`Transfer-Encoding` twice, chunked last": coded(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    "`Transfer-Encoding` twice, chunked first": coded(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    "`Transfer-Encoding: gzip, chunked`": coded(b"Transfer-Encoding: gzip, chunked\r\n"),
    "`Transfer-Encoding: chunked, chunked`": coded(b"Transfer-Encoding: chunked, chunked\r\n"),
    "`Transfer-Encoding: chunked, identity`": coded(b"Transfer-Encoding: chunked, identity\r\n"),
    "`Transfer-Encoding: xchunked`": coded(b"Transfer-Encoding: xchunked\r\n"),
    "`Transfer-Encoding: chunked;q=1`": coded(b"Transfer-Encoding: chunked;q=1\r\n"),
    "`Transfer-Encoding: CHUNKED`": coded(b"Transfer-Encoding: CHUNKED\r\n"),
    '`Transfer-Encoding: "chunked"`': coded(b'Transfer-Encoding: "chunked"\r\n'),
    "`Transfer-Encoding` after a vertical tab": coded(b"Transfer-Encoding:\x0bchunked\r\n"),
    "`Transfer-Encoding` before its colon a space": coded(b"Transfer-Encoding : chunked\r\n"),
    "`Transfer-Encoding` with a zero byte": coded(b"Transfer-Encoding\0: chunked\r\n"),
    "`Transfer-Encoding` folded": coded(b"Transfer-Encoding:\r\n chunked\r\n"),
    "`Transfer-Encoding` in a folded line": coded(b"X-A: 1\r\n Transfer-Encoding: chunked\r\n"),
    "`Transfer-Encoding` after a bare LF": coded(b"X-A: 1\nTransfer-Encoding: chunked\r\n"),
    "`Transfer-Encoding` after a bare CR": coded(b"X-A: 1\rTransfer-Encoding: chunked\r\n"),
    "`Transfer-Encoding` nominated by `Connection`": coded(b"Connection: Transfer-Encoding\r\n" + CHUNKED),
    "`Transfer_Encoding`, with an underscore": Vector(
        b"POST / HTTP/1.1\r\nHost: app.example\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        LAST,
    ),
    "chunks in HTTP/1.0": Vector(b"POST / HTTP/1.0\r\nHost: app.example\r\n" + CHUNKED + b"\r\n" + LAST + SMUGGLED),
    "two lengths": post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!", b"hello"),
    "the same length twice": post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello", b"hello"),
    "`Content-Length: 5, 5`": sized(b"5, 5"),
    "`Content-Length: 5, 6`": sized(b"5, 6"),
    "`Content-Length: +5`": sized(b"+5"),
    "`Content-Length: -5`": sized(b"-5"),
    "`Content-Length: 0x5`": sized(b"0x5"),
    "`Content-Length: 5 5`": sized(b"5 5"),
    "`Content-Length:` and nothing": sized(b""),
    "a length of 25 digits": sized(b"1" * 25),
    "a length after a zero byte": sized(b"\x005"),
    "`Content-Length` nominated by `Connection`": post(
        b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello", b"hello"
    ),
    "`Content_Length`, with an underscore": Vector(
        b"POST / HTTP/1.1\r\nHost: app.example\r\nContent_Length: 500\r\nContent-Length: 5\r\n\r\nhello", b"hello"
    ),
    "a GET with a request as its body": Vector(
        b"GET / HTTP/1.1\r\nHost: app.example\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, SMUGGLED
    ),
    # Chunks.
    "a chunk with an extension": chunks(b'5;a="b"\r\nhello\r\n0;c\r\n\r\n'),
    "a chunk's extension with a bare LF": chunks(b"5;a\nb\r\nhello\r\n" + LAST),
    "a chunk's size of 17 digits": chunks(b"f" * 17 + b"\r\nhello\r\n" + LAST),
    "a chunk's size of 16 digits, the largest": chunks(b"f" * 16 + b"\r\nhello\r\n" + LAST),
    "a chunk's size with a sign": chunks(b"+5\r\nhello\r\n" + LAST),
    "a chunk's size with 0x": chunks(b"0x5\r\nhello\r\n" + LAST),
    "a chunk's size after a space": chunks(b" 5\r\nhello\r\n" + LAST),
    "a chunk's size with an underscore": chunks(b"0_5\r\nhello\r\n" + LAST),
    "no chunk's size at all": chunks(b"\r\nhello\r\n" + LAST, b""),
    "a chunk's size before a bare LF": chunks(b"5\nhello\r\n" + LAST),
    "a chunk without its CRLF": chunks(b"5\r\nhelloXX0\r\n\r\n"),
    "a chunk that ends in a bare LF": chunks(b"5\r\nhello\n" + LAST),
    "a trailer that says how long the body is": chunks(b"5\r\nhello\r\n0\r\nContent-Length: 500\r\n\r\n"),
    "a trailer that says how the body is framed": chunks(b"5\r\nhello\r\n0\r\nTransfer-Encoding: identity\r\n\r\n"),
    "a trailer that names a host": chunks(b"5\r\nhello\r\n0\r\nHost: evil.example\r\nSiding-Id: 1\r\n\r\n"),
    # Lines and names.
    "bare LF throughout": Vector(b"GET / HTTP/1.1\nHost: app.example\n\n"),
    "a bare CR for a line's end": get(b"X-A: 1\rX-B: 2\r\n"),
    "a folded header": get(b"X-A: 1\r\n 2\r\n"),
    "a first header that is folded": get(host=b" Host: app.example\r\n"),
    "a space before a colon": get(b"X-A : 1\r\n"),
    "a header without a name": get(b": 1\r\n"),
    "a header without a colon": get(b"X-A\r\n"),
    "a zero byte in a header": get(b"X-A: \0\r\n"),
    "a zero byte in a target": get(target=b"/\0", arrives="/%00"),
    "an empty line before the request": Vector(b"\r\n\r\nGET / HTTP/1.1\r\nHost: app.example\r\n\r\n"),
    # Whom it is for.
    "two hosts": get(b"Host: evil.example\r\n"),
    "the same host twice": get(b"Host: app.example\r\n"),
    "a host with user information": get(host=b"Host: app.example@evil.example\r\n"),
    "`Host` nominated by `Connection`": get(b"Connection: Host\r\n"),
    "no host": get(host=b""),
    "an absolute target and its host": get(target=b"http://app.example/here", arrives="/here"),
    "an absolute target and another host": get(target=b"http://evil.example/here"),
    "an absolute target with user information": get(target=b"http://app.example@evil.example/"),
    "an absolute target with backslashes": get(target=b"http:\\\\evil.example/"),
    "a target with two slashes": get(target=b"//evil.example/"),
    "a target with a fragment": get(target=b"/#/../admin", arrives="/"),
    "a target with a space": get(target=b"/a b", arrives="/a%20b"),
    "a target without a slash": get(target=b"evil"),
    "`CONNECT` to another host": Vector(b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n"),
    "`CONNECT` to a path": Vector(b"CONNECT /here HTTP/1.1\r\nHost: app.example\r\n\r\n"),
    # Other protocols.
    "`Upgrade: h2c`": get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"),
    "`Upgrade: h2c, websocket`": get(b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
    "`Upgrade: TLS/1.0`": get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
    "HTTP/2 to a listener of HTTP/1.1": Vector(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": Vector(b"GET /\r\n\r\n"),
    "`http/1.1`, in small letters": Vector(b"GET / http/1.1\r\nHost: app.example\r\n\r\n"),
    "HTTP/1.2": Vector(b"GET / HTTP/1.2\r\nHost: app.example\r\n\r\n"),
}

Pairs = list[tuple[str, str]]
BASE: Pairs = [(":method", "GET"), (":scheme", "http"), (":authority", "app.example"), (":path", "/")]


@dataclass(frozen=True)
class Stream:
    """An HTTP/2 request. If it reaches the app, it is one request with this body to this target."""

    headers: Pairs
    body: bytes = b""
    target: str = "/"


def without(name: str) -> Pairs:
    """The usual ones but for one."""
    return [(key, value) for key, value in BASE if key != name]


def having(name: str, value: str) -> Pairs:
    """The usual ones, one of which is another."""
    return [(key, value if key == name else usual) for key, usual in BASE]


INJECTED = " HTTP/1.1\r\nHost: app.example\r\n\r\nGET /smuggled"
HTTP2: dict[str, Stream] = {
    "two paths": Stream([*BASE, (":path", "/smuggled")]),
    "two methods": Stream([*BASE, (":method", "POST")]),
    "two authorities": Stream([*BASE, (":authority", "evil.example")]),
    "no method": Stream(without(":method")),
    "no path": Stream(without(":path")),
    "no scheme": Stream(without(":scheme")),
    "an empty path": Stream(having(":path", "")),
    "a path without a slash": Stream(having(":path", "evil")),
    "an absolute path": Stream(having(":path", "http://evil.example/")),
    "a path that holds a request": Stream(having(":path", "/" + INJECTED)),
    "a method that holds a request": Stream(having(":method", "GET /smuggled HTTP/1.1\r\nX-A: ")),
    "an authority that holds a request": Stream(having(":authority", "app.example\r\n\r\nGET /smuggled")),
    "an authority with user information": Stream(having(":authority", "app.example@evil.example")),
    "an authority and another host": Stream([*BASE, ("host", "evil.example")]),
    "a pseudo-header after a header": Stream([*without(":path"), ("x-a", "1"), (":path", "/")]),
    "an unknown pseudo-header": Stream([*BASE, (":evil", "1")]),
    "a pseudo-header of answers": Stream([*BASE, (":status", "200")]),
    "a name in capitals": Stream([*BASE, ("X-A", "1")]),
    "a name with a line break": Stream([*BASE, ("x-a: 1\r\nx-b", "1")]),
    "a name with a colon": Stream([*BASE, ("x:a", "1")]),
    "a value with a line break": Stream([*BASE, ("x-a", "1\r\nTransfer-Encoding: chunked")]),
    "a value with a zero byte": Stream([*BASE, ("x-a", "\0")]),
    "`transfer-encoding`": Stream([*BASE, ("transfer-encoding", "chunked")], LAST + SMUGGLED),
    "`connection`": Stream([*BASE, ("connection", "upgrade"), ("upgrade", "websocket")]),
    "`te: gzip`": Stream([*BASE, ("te", "gzip")]),
    "a length that is less than the body": Stream([*BASE, ("content-length", "1")], b"hello"),
    "a length that is more than the body": Stream([*BASE, ("content-length", "50")], b"hello"),
    "two different lengths": Stream([*BASE, ("content-length", "5"), ("content-length", "6")], b"hello"),
    "a length that is no number": Stream([*BASE, ("content-length", "+5")], b"hello"),
    "`content_length`, with an underscore": Stream([*BASE, ("content_length", "500")], b"hello"),
    "`CONNECT`": Stream([(":method", "CONNECT"), (":authority", "evil.example:80")]),
    "`CONNECT` with a protocol": Stream([*having(":method", "CONNECT"), (":protocol", "websocket")]),
}
