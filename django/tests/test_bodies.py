"""A view reads its request in every pass as it would without Siding."""

from __future__ import annotations

import httpx
import pytest
from django.http import HttpResponse, JsonResponse
from rest_framework.response import Response
from rest_framework.views import APIView

BOUNDARY = "a-boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def multipart(data: bytes) -> bytes:
    return (
        b"--%(b)s\r\nContent-Disposition: form-data; name=title\r\n\r\nmine\r\n"
        b'--%(b)s\r\nContent-Disposition: form-data; name=file; filename="f"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%(d)s\r\n--%(b)s--\r\n"
    ) % {b"b": BOUNDARY.encode(), b"d": data}


@pytest.fixture
def passes(siding, provider):
    """Run a view that reads with `read`, and return what it read in each of two passes."""

    def run(read, method="POST", body=b"", headers=None):
        seen = []

        def view(request):
            seen.append(read(request))
            httpx.get(f"{provider.url}/ask")
            return HttpResponse()

        answer = siding.request(view, method, "/", body, headers or {})
        assert (answer.status, answer.passes) == (200, 2), answer.text
        return seen

    return run


READERS = {
    "body": lambda request: request.body,
    "read": lambda request: request.read(),
    "read in parts": lambda request: request.read(2) + request.read(1) + request.read(),
    "lines": lambda request: b"".join(request),
    "readline": lambda request: request.readline() + request.readline(),
    "wsgi.input": lambda request: request.environ["wsgi.input"].read(),
    "GET does not read": lambda request: (request.GET, request.body)[1],
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_a_body_is_read_as_it_was_sent(passes, read):
    assert passes(read, body=b"one\ntwo") == [b"one\ntwo"] * 2


def test_body_after_post_is_still_there(passes):
    def read(request):
        return request.POST["a"], request.body

    assert passes(read, body=b"a=1&b=2", headers=FORM) == [("1", b"a=1&b=2")] * 2


def test_a_large_upload_arrives_whole(passes):
    data = bytes(range(256)) * 20_000  # 5 MB: more than Django or Siding keeps in memory

    def read(request):
        file = request.FILES["file"]
        return request.POST["title"], file.size, file.read() == data, type(file).__name__

    seen = passes(read, body=multipart(data), headers=MULTIPART)
    assert seen == [("mine", len(data), True, "TemporaryUploadedFile")] * 2


def test_the_content_length_is_the_bodys_own(passes):
    def read(request):
        return request.META.get("CONTENT_LENGTH"), request.headers.get("Content-Length")

    assert passes(read, body=b"12345") == [("5", "5")] * 2


def test_an_absent_content_length_stays_absent(passes):
    assert passes(lambda request: request.META.get("CONTENT_LENGTH"), "GET") == [None, None]


def test_a_content_length_of_0_stays_0(passes):
    assert passes(lambda request: request.META.get("CONTENT_LENGTH"), "POST") == ["0", "0"]


def test_an_empty_body_is_empty(passes):
    assert passes(lambda request: request.body, "GET") == [b"", b""]
    assert passes(lambda request: request.body, "POST") == [b"", b""]


@pytest.mark.parametrize("offering", [True, False])
def test_a_body_above_djangos_limit_is_refused_as_ever(siding, settings, offering):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    siding.proxy.offering = offering
    answer = siding.request(lambda request: HttpResponse(request.body), "POST", "/", b"x" * 11)
    assert answer.status == 400


def test_the_journal_does_not_count_towards_djangos_limit(passes, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert passes(lambda request: request.body, body=b"x" * 10) == [b"x" * 10] * 2


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b'{"a": 1}', {"Content-Type": "application/json"}, {"a": 1}),
        (b"a=1", FORM, {"a": "1"}),
        (b"", {"Content-Type": "application/json"}, {}),
    ],
)
def test_drf_parses_the_data(siding, provider, body, headers, expected):
    class View(APIView):
        def post(self, request):
            httpx.get(f"{provider.url}/ask")
            data = request.data
            return Response(
                data if isinstance(data, dict) and not hasattr(data, "dict") else data.dict()
            )

    answer = siding.request(View.as_view(), "POST", "/", body, headers)
    assert (answer.json(), answer.passes) == (expected, 2)


def test_drf_parses_an_upload(siding, provider):
    class View(APIView):
        def post(self, request):
            httpx.get(f"{provider.url}/ask")
            return Response({"title": request.data["title"], "size": request.data["file"].size})

    answer = siding.request(View.as_view(), "POST", "/", multipart(b"x" * 3_000_000), MULTIPART)
    assert answer.json() == {"title": "mine", "size": 3_000_000}


def test_a_connection_that_breaks_while_the_body_arrives_fails_when_the_view_reads(siding):
    class Broken:
        def read(self, *_):
            raise OSError("gone")

        readline = read

    siding.proxy.meddle = lambda environ: environ.update({"wsgi.input": Broken()})

    def view(request):
        try:
            return HttpResponse(request.body)
        except OSError as error:
            return JsonResponse([type(error).__name__, str(error)], safe=False)

    answer = siding.request(view, "POST", "/", b"body")
    assert answer.json() == ["UnreadablePostError", "gone"]


def test_a_view_that_never_reads_is_fine(siding):
    assert siding.request(lambda request: HttpResponse("ok"), "POST", "/", b"x").text == "ok"


def test_a_middleware_that_read_the_body_first_gets_no_hand_off(siding, provider, settings):
    settings.MIDDLEWARE = ["test_bodies.reader", *settings.MIDDLEWARE]

    def view(request):
        httpx.get(f"{provider.url}/ask")
        return HttpResponse(request.body)

    answer = siding.request(view, "POST", "/", b"body")
    assert (answer.text, answer.passes) == ("body", 1)


def reader(get_response):
    def middleware(request):
        assert request.body is not None
        return get_response(request)

    return middleware
