"""Each HTTP library gets a real response of its own, or its own exception."""

from __future__ import annotations

import httpx
import httpx2
import pytest
import requests
import urllib3
from django.http import HttpResponse

PROMPT = {"prompt": "hello"}


def ask_httpx(url):
    return httpx.post(f"{url}/ask", json=PROMPT).json()["text"]


def ask_httpx2(url):
    return httpx2.post(f"{url}/ask", json=PROMPT).json()["text"]


def ask_requests(url):
    return requests.post(f"{url}/ask", json=PROMPT, timeout=(1, 9)).json()["text"]


def ask_urllib3(url):
    with urllib3.PoolManager() as pool:
        return pool.request("POST", f"{url}/ask", json=PROMPT, timeout=9).json()["text"]


def ask_botocore(url):
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    request = AWSRequest("POST", f"{url}/ask", data=b'{"prompt": "hello"}')
    request.headers["Content-Type"] = "application/json"
    response = URLLib3Session(timeout=9).send(request.prepare())
    assert response.status_code == 200
    return requests.compat.json.loads(response.content)["text"]


ALL = [ask_httpx, ask_httpx2, ask_requests, ask_urllib3, ask_botocore]


@pytest.mark.parametrize("ask", ALL)
def test_a_library_gets_its_answer_from_the_journal(siding, provider, ask):
    answer = siding.post(lambda request: HttpResponse(ask(provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 2)
    assert len(provider.prompts) == 1
    [call] = answer.calls
    assert call["name"].startswith("test_transports.py:ask_")


@pytest.mark.parametrize("ask", ALL)
def test_the_digest_does_not_depend_on_the_library(siding, provider, ask):
    first = siding.post(lambda request: HttpResponse(ask_httpx(provider.url)))
    second = siding.post(lambda request: HttpResponse(ask(provider.url)))
    assert first.calls[0]["digest"] == second.calls[0]["digest"]


@pytest.mark.parametrize("ask", ALL[2:])
def test_the_read_timeout_is_passed_on(siding, provider, ask):
    [call] = siding.post(lambda request: HttpResponse(ask(provider.url))).calls
    assert call["timeout_ms"] == 9000


@pytest.mark.parametrize("ask", ALL)
def test_a_call_in_line_is_made_once_although_two_libraries_see_it(siding, provider, ask):
    siding.proxy.max_call_bytes = 3
    answer = siding.post(lambda request: HttpResponse(ask(provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 1)
    assert len(provider.prompts) == 1


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_httpx_streams_lines(siding, provider, library):
    def view(request):
        body = {"prompt": "hello", "stream": True}
        with library.Client() as client, client.stream("POST", f"{provider.url}/s", json=body) as r:
            lines = [line for line in r.iter_lines() if line]
            assert r.http_version == "HTTP/1.1"
            assert r.reason_phrase == "OK"
        assert r.elapsed.total_seconds() >= 0
        assert r.request.method == "POST"
        assert client.cookies["seen"] == "1"
        return HttpResponse(lines[-1])

    assert siding.post(view).text == "data: [DONE]"


def test_requests_streams_lines(siding, provider):
    def view(request):
        body = {"prompt": "hello", "stream": True}
        with (
            requests.Session() as session,
            session.post(f"{provider.url}/s", json=body, stream=True) as r,
        ):
            lines = [line for line in r.iter_lines() if line]
            assert r.elapsed.total_seconds() >= 0
            assert (r.reason, r.url) == ("OK", f"{provider.url}/s")
            assert session.cookies["seen"] == "1"
        return HttpResponse(lines[-1])

    assert siding.post(view).text == "data: [DONE]"


def test_urllib3_streams_chunks(siding, provider):
    def view(request):
        body = {"prompt": "hello", "stream": True}
        with urllib3.PoolManager() as pool:
            r = pool.request("POST", f"{provider.url}/s", json=body, preload_content=False)
            chunks = list(r.stream(16))
            r.release_conn()
        assert len(chunks) > 2
        return HttpResponse(b"".join(chunks)[-14:])

    assert siding.post(view).text == "data: [DONE]\n\n"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_generated_body_is_read_and_sent_whole(siding, provider, library):
    def view(request):
        parts = iter([b'{"prompt": ', b'"hello"}'])
        headers = {"Content-Type": "application/json"}
        r = library.post(f"{provider.url}/ask", content=parts, headers=headers)
        return HttpResponse(r.json()["text"])

    assert siding.post(view).text == "echo: hello"


def test_a_generated_body_of_requests_is_read_and_sent_whole(siding, provider):
    def view(request):
        parts = iter([b'{"prompt": ', b'"hello"}'])
        r = requests.post(f"{provider.url}/ask", data=parts)
        return HttpResponse(r.json()["text"])

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: hello", 2)


def test_a_compressed_result_is_decompressed_by_each_library(siding, provider):
    import base64
    import gzip

    packed = base64.b64encode(gzip.compress(b'{"text": "unpacked"}')).decode()
    headers = [["content-encoding", "gzip"], ["content-type", "application/json"]]
    siding.proxy.outcome = lambda call: {
        "kind": "result",
        "status": 200,
        "headers": headers,
        "body_b64": packed,
    }
    for ask in [ask_httpx, ask_httpx2, ask_requests, ask_urllib3]:
        answer = siding.post(lambda request, ask=ask: HttpResponse(ask(provider.url)))
        assert answer.text == "unpacked"


def test_a_result_without_a_body_is_empty(siding, provider):
    siding.proxy.outcome = lambda call: {"kind": "result", "status": 204, "headers": []}

    def view(request):
        r = httpx.delete(f"{provider.url}/x")
        assert requests.delete(f"{provider.url}/x").content == b""
        return HttpResponse(f"{r.status_code}{r.text}")

    answer = siding.get(view)
    assert answer.text == "204"
    assert "body" not in answer.calls[0]
    assert "body_b64" not in answer.calls[0]


NOT_CONNECTED = ["connect", "unavailable"]
READ_TIMEOUTS = ["first_byte_timeout", "idle_timeout", "total_timeout", "deadline"]
BROKEN = ["interrupted", "too_large"]
HTTPX = (
    [(kind, "ConnectError") for kind in NOT_CONNECTED]
    + [("connect_timeout", "ConnectTimeout")]
    + [(kind, "ReadTimeout") for kind in READ_TIMEOUTS]
    + [(kind, "RemoteProtocolError") for kind in [*BROKEN, "protocol"]]
)
REQUESTS = (
    [(kind, "ConnectionError") for kind in NOT_CONNECTED]
    + [("connect_timeout", "ConnectTimeout")]
    + [(kind, "ReadTimeout") for kind in READ_TIMEOUTS]
    + [(kind, "ChunkedEncodingError") for kind in BROKEN]
    + [("protocol", "ConnectionError")]
)
URLLIB3 = (
    [(kind, "NewConnectionError") for kind in NOT_CONNECTED]
    + [("connect_timeout", "ConnectTimeoutError")]
    + [(kind, "ReadTimeoutError") for kind in READ_TIMEOUTS]
    + [(kind, "ProtocolError") for kind in [*BROKEN, "protocol"]]
)


def failing(siding, provider, kind, ask) -> str:
    siding.proxy.outcome = lambda call: {"kind": "error", "error": kind, "message": "the reason"}

    def view(request):
        try:
            return HttpResponse(ask(f"{provider.url}/ask"))
        except Exception as error:
            return HttpResponse(f"{type(error).__name__}: {error}")

    name, _, message = siding.post(view).text.partition(": ")
    assert "the reason" in message
    return name


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize(("kind", "expected"), HTTPX)
def test_httpx_raises_its_own_error(siding, provider, library, kind, expected):
    assert failing(siding, provider, kind, library.get) == expected


@pytest.mark.parametrize(("kind", "expected"), REQUESTS)
def test_requests_raises_its_own_error(siding, provider, kind, expected):
    assert failing(siding, provider, kind, requests.get) == expected


@pytest.mark.parametrize(("kind", "expected"), URLLIB3)
def test_urllib3_raises_its_own_error(siding, provider, kind, expected):
    def ask(url):
        with urllib3.PoolManager() as pool:
            return pool.request("POST", url, retries=False).data

    assert failing(siding, provider, kind, ask) == expected


def test_urllib3_with_retries_raises_that_they_are_exhausted(siding, provider):
    def ask(url):
        with urllib3.PoolManager() as pool:
            return pool.request("GET", url).data

    assert failing(siding, provider, "connect", ask) == "MaxRetryError"


def test_a_loop_that_never_gives_up_gets_a_new_call_in_the_end(siding, provider):
    outcomes = iter([{"kind": "error", "error": "connect", "message": ""}])
    siding.proxy.outcome = lambda call: next(outcomes, None)

    def view(request):
        while True:
            try:
                return HttpResponse(ask_httpx(provider.url))
            except httpx.ConnectError:
                continue

    answer = siding.post(view)
    assert answer.text == "echo: hello"
    assert len(answer.calls) == 2


def test_an_async_client_calls_in_line(siding, provider):
    from asgiref.sync import async_to_sync

    async def ask():
        async with httpx.AsyncClient() as client:
            return (await client.post(f"{provider.url}/ask", json=PROMPT)).json()["text"]

    answer = siding.post(lambda request: HttpResponse(async_to_sync(ask)()))
    assert (answer.text, answer.passes) == ("echo: hello", 1)


def test_a_url_with_credentials_loses_them_but_not_its_query(siding, provider):
    url = provider.url.replace("//", "//user:word@")

    def view(request):
        httpx.get(f"{url}/a%20b?q=%20c#d")
        requests.get(f"{url}/a%20b?q=%20c#d")
        return HttpResponse()

    calls = siding.get(view).calls
    assert [call["url"] for call in calls] == [f"{provider.url}/a%20b?q=%20c"] * 2
    assert all(["authorization", "Basic dXNlcjp3b3Jk"] in call["headers"] for call in calls)
