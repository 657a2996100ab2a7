"""Streaming views that were not written for relay."""

from __future__ import annotations

import io

import httpx
import pytest
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from project.app.models import Note

import django_siding.stream


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def streaming(generator, **options):
    def view(request):
        return StreamingHttpResponse(generator(), content_type="text/event-stream", **options)

    return view


def test_a_stream_with_calls_is_delivered_when_complete(siding, ask):
    def chunks():
        yield "start, "
        yield ask("a")
        yield ", "
        yield ask("b")

    answer = siding.post(streaming(chunks, status=201, headers={"X-Mine": "1"}))
    assert (answer.text, answer.passes) == ("start, echo: a, echo: b", 3)
    assert answer.status == 201
    assert (answer.headers["X-Mine"], answer.headers["Content-Type"]) == ("1", "text/event-stream")


def test_a_streamed_call_in_a_stream_is_passed_on(siding, provider):
    def chunks():
        body = {"prompt": "hello", "stream": True}
        with httpx.stream("POST", f"{provider.url}/s", json=body) as response:
            yield from response.iter_bytes()

    answer = siding.post(streaming(chunks))
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.passes == 2


def test_a_row_written_by_a_stream_is_written_once(siding, ask):
    def chunks():
        Note.objects.create(text="before")
        yield ask("a")
        Note.objects.create(text="after")

    siding.post(streaming(chunks))
    assert Note.objects.count() == 2


def test_a_row_written_before_a_stream_is_written_once(siding, ask):
    def view(request):
        Note.objects.create(text="before")
        return StreamingHttpResponse(ask(p) for p in "ab")

    assert siding.post(view).text == "echo: aecho: b"
    assert Note.objects.count() == 1


def test_a_stream_is_closed_in_each_pass(siding, ask):
    closed = []

    class Chunks:
        def __iter__(self):
            yield ask("a")

        def close(self):
            closed.append(1)

    siding.post(lambda request: StreamingHttpResponse(Chunks()))
    assert closed == [1, 1]


def test_a_stream_that_fails_is_a_500_and_not_half_an_answer(siding):
    def chunks():
        yield "half"
        raise ValueError

    assert siding.post(streaming(chunks)).status == 500


def test_a_stream_that_grows_large_is_let_go(siding, ask, monkeypatch):
    monkeypatch.setattr(django_siding.stream, "HELD_BYTES", 10)

    def chunks():
        for _ in range(5):
            yield "0123456789"
        yield ask("late")

    answer = siding.post(streaming(chunks))
    assert (answer.text, answer.passes) == ("0123456789" * 5 + "echo: late", 1)


def test_a_stream_that_runs_on_without_a_call_is_let_go(siding, monkeypatch):
    monkeypatch.setattr(django_siding.stream, "HELD_SECONDS", -1)
    pulled = []

    def chunks():
        for n in range(3):
            pulled.append(n)
            yield str(n)

    def counting(get_response):
        def middleware(request):
            response = get_response(request)
            assert pulled == [0]
            return response

        return middleware

    import test_stream

    test_stream.counting = counting
    from django.conf import settings

    monkeypatch.setattr(
        settings, "MIDDLEWARE", [settings.MIDDLEWARE[0], "test_stream.counting"], raising=False
    )
    assert siding.post(streaming(chunks)).text == "012"


def test_without_an_offer_a_stream_stays_lazy(siding, ask):
    siding.proxy.offering = False
    answer = siding.post(streaming(lambda: (ask(p) for p in "ab")))
    assert (answer.text, answer.passes) == ("echo: aecho: b", 1)


def test_a_file_is_never_read_ahead(siding, ask):
    class Large(io.BytesIO):
        reads = 0

        def read(self, *args):
            Large.reads += 1
            return super().read(*args)

    seen = []

    def view(request):
        ask("x")
        return FileResponse(Large(b"x" * 100_000), filename="a.bin")

    def looking(get_response):
        def middleware(request):
            response = get_response(request)
            seen.append((Large.reads, response.file_to_stream is not None))
            return response

        return middleware

    import test_stream
    from django.conf import settings

    test_stream.looking = looking
    previous = settings.MIDDLEWARE
    settings.MIDDLEWARE = [previous[0], "test_stream.looking"]
    try:
        answer = siding.get(view)
    finally:
        settings.MIDDLEWARE = previous
    assert seen == [(0, True)]
    assert len(answer.body) == 100_000
    assert answer.headers["Content-Length"] == "100000"


def test_a_call_while_the_answer_is_rendered_is_made_in_line(siding, ask):
    """The view's transaction is committed by then; to repeat it would repeat its writes."""
    from django.template import engines
    from django.template.response import SimpleTemplateResponse

    def view(request):
        Note.objects.create(text="once")
        template = engines["django"].from_string("{{ ask }}")
        return SimpleTemplateResponse(template, {"ask": lambda: ask("late")})

    answer = siding.get(view)
    assert (answer.text, answer.passes) == ("echo: late", 1)
    assert Note.objects.count() == 1


def test_a_stream_of_nothing_is_fine(siding):
    assert siding.get(lambda request: StreamingHttpResponse()).body == b""
    assert siding.get(lambda request: HttpResponse(iter(["a", "b"]))).body == b"ab"
