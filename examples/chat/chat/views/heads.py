"""Views about statuses and headers."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.views.decorators.csrf import csrf_exempt

ETAG = '"example-1"'
BODILESS = {204, 205, 304}


@csrf_exempt
def status(request: HttpRequest, code: int) -> HttpResponse:
    """An answer with this status. 304 is an answer to If-None-Match only; without it, it is a 200 with the tag."""
    if code == 304:
        return conditional(request)
    if "raise" in request.GET:
        raise RuntimeError("this view was asked to fail")
    if code in BODILESS:
        return HttpResponse(status=code)
    return JsonResponse({"status": code}, status=code)


def conditional(request: HttpRequest) -> HttpResponse:
    """One resource that never changes."""
    known = request.headers.get("If-None-Match") == ETAG
    response = HttpResponseNotModified() if known else HttpResponse("a resource\n", content_type="text/plain")
    response["ETag"] = ETAG
    response["Cache-Control"] = "max-age=60"
    return response


class RepeatedHeaders(HttpResponse):
    """Django keeps one value for each name; WSGI allows more."""

    def items(self) -> Iterator[tuple[str, str]]:
        yield from super().items()
        yield from [("X-Repeated", "one"), ("X-Repeated", "two"), ("X-Empty", "")]


def headers(request: HttpRequest) -> HttpResponse:
    """Repeated and empty headers, and two cookies."""
    response = RepeatedHeaders("see the headers\n", content_type="text/plain; charset=utf-8")
    response.set_cookie("first", "1")
    response.set_cookie("second", "2", httponly=True)
    return response
