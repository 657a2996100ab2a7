"""Views that need no model, no user and mostly no database: what a request is compared and measured with."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

CHUNK = 64 * 1024


def fast(request: HttpRequest) -> HttpResponse:
    """As little work as a view can do."""
    return JsonResponse({"ok": True})


def worker(request: HttpRequest) -> HttpResponse:
    """Who serves; `seconds` keeps the worker busy."""
    time.sleep(float(request.GET.get("seconds", "0")))
    return JsonResponse({"pid": os.getpid()})


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """A multipart file: its size and digest."""
    file = request.FILES.get("file")
    if file is None:
        return HttpResponseBadRequest("send a multipart form with a file named file\n")
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest()})


def download(request: HttpRequest) -> HttpResponse:
    """`size` bytes that are a function of their position, with a length unless `chunked` is set."""
    size = int(request.GET.get("size", "0"))
    response = StreamingHttpResponse(pattern(size), content_type="application/octet-stream")
    if "chunked" not in request.GET:
        response["Content-Length"] = str(size)
    return response


def pattern(size: int) -> Iterator[bytes]:
    """Numbered lines of 16 bytes, cut at `size`."""
    lines_in_chunk = CHUNK // 16
    for start in range(0, size, CHUNK):
        first = start // 16
        chunk = b"".join(b"%015d\n" % n for n in range(first, first + lines_in_chunk))
        yield chunk[: size - start]


@csrf_exempt
def echo(request: HttpRequest, rest: str = "") -> HttpResponse:
    """What arrived, as the app sees it."""
    body = content(request)
    return JsonResponse(
        {
            "method": request.method,
            "target": request.META.get("RAW_URI") or request.META.get("REQUEST_URI"),
            "path": request.path,
            "query": request.META.get("QUERY_STRING", ""),
            "scheme": request.scheme,
            "headers": dict(sorted(request.headers.items())),
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
    )


def content(request: HttpRequest) -> bytes:
    """The whole body. Django itself takes a body without a length for empty, even where the server knows its end."""
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        return request.META["wsgi.input"].read()
    return request.read()


@csrf_exempt
def early(request: HttpRequest) -> HttpResponse:
    """Answers without reading the body, and asks to close."""
    response = JsonResponse({"error": "too large"}, status=413)
    response["Connection"] = "close"
    return response
