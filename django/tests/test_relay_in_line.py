"""Without Siding the worker streams itself, in the same formats and with the same `on_complete`."""

from __future__ import annotations

import logging
import threading
from types import ModuleType

import httpx
import httpx2
import openai
import pytest
import streams
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path
from project.app.models import Note

import django_siding.tape
from django_siding import Answer, relay

FORMATS = ["provider", "text", "ui-message-stream"]
FAILED = b"broke off"


@pytest.fixture
def siding(siding):
    siding.proxy.offering = False
    return siding


@pytest.fixture
def saved():
    return []


def relaying(url: str, saved: list[Answer], call=streams.openai_create, **options):
    def view(request):
        return relay(lambda: call(url), on_complete=saved.append, **options)

    return view


@pytest.mark.parametrize("call", streams.ALL)
def test_the_client_gets_the_providers_bytes_and_the_view_its_answer(siding, provider, saved, call):
    provider.gate = threading.Event()
    provider.gate.set()
    texts = []

    def save(answer: Answer) -> None:
        saved.append(answer)
        texts.append(streams.read(call, answer.stream))

    answer = siding.post(lambda _: relay(lambda: call(provider.url), on_complete=save))
    expected = httpx.post(f"{provider.url}{path_of(call)}", json=streams.BODY | CONTENTS).content
    assert (answer.status, answer.body) == (200, expected)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    [whole] = saved
    assert (whole.text, whole.is_complete, whole.raw) == ("echo: hello", True, expected)
    assert len(list(whole.events)) >= 2
    assert texts == ["echo: hello"]


CONTENTS = {"contents": [{"parts": [{"text": "hello"}]}]}


def path_of(call) -> str:
    name = call.__name__
    if name.startswith("anthropic"):
        return "/v1/messages"
    return "/m:streamGenerateContent" if name.startswith("gemini") else streams.PATH


@pytest.mark.parametrize("call", streams.ALL)
def test_bytes_are_passed_on_as_they_arrive(siding, provider, saved, call):
    provider.gate = threading.Event()
    with siding.opened(relaying(provider.url, saved, call)) as opened:
        content = iter(opened.content)
        first = next(content)
        # The provider has sent its first event only.
        assert first.count(b"\n\n") == 1
        provider.gate.set()
        rest = b"".join(content)
    assert rest.count(b"\n\n") >= 1
    assert [whole.text for whole in saved] == ["echo: hello"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_that_breaks_off_says_so_in_its_format(siding, provider, saved, format):
    provider.breaks_after = 2
    with siding.opened(relaying(provider.url, saved, format=format)) as opened:
        received = []
        content = iter(opened.content)
        if format == "text":
            with pytest.raises(httpx2.RemoteProtocolError):
                received.extend(content)
        else:
            received.extend(content)
    assert b"echo: " in b"".join(received)
    assert (FAILED in b"".join(received)) == (format != "text")
    assert b"[DONE]" not in b"".join(received)
    [part] = saved
    assert (part.text, part.is_complete, part.error) == ("echo: hello", False, "interrupted")


@pytest.mark.parametrize(
    "call", [streams.openai_create, streams.by_httpx, streams.by_requests, streams.by_urllib3]
)
def test_the_sdks_own_stream_fails_where_the_answer_broke_off(siding, provider, saved, call):
    provider.breaks_after = 2
    siding.post(relaying(provider.url, saved, call))
    [part] = saved
    with pytest.raises(Exception, match=r"(?i)connection|closed|incomplete|ended"):
        streams.read(call, part.stream)


def test_an_answer_without_bound_breaks_off(siding, provider, saved, monkeypatch):
    monkeypatch.setattr(django_siding.tape, "MAXIMUM_BYTES", 10)
    assert FAILED in siding.post(relaying(provider.url, saved)).body
    assert [part.error for part in saved] == ["too_large"]


@pytest.mark.parametrize(("on_disconnect", "texts"), [("cancel", []), ("finish", ["echo: hello"])])
def test_a_client_that_leaves_cancels_or_not(siding, provider, saved, on_disconnect, texts):
    provider.gate = threading.Event()
    view = relaying(provider.url, saved, on_disconnect=on_disconnect)
    with siding.opened(view) as opened:
        next(iter(opened.content))
        provider.gate.set()
    assert [whole.text for whole in saved] == texts


def test_a_client_that_left_before_the_first_byte_may_still_have_its_answer_saved(
    siding, provider, saved
):
    with siding.opened(relaying(provider.url, saved, on_disconnect="finish")):
        pass
    assert [whole.text for whole in saved] == ["echo: hello"]


def test_an_sdk_that_tries_again_is_relayed_when_it_succeeds(siding, provider, saved):
    provider.statuses = [500, 503]
    assert "echo: " in siding.post(relaying(provider.url, saved)).text
    assert (len(provider.prompts), [whole.text for whole in saved]) == (3, ["echo: hello"])


def test_a_refusal_is_raised_before_the_view_returns(siding, provider, saved):
    provider.status = 401

    def view(request):
        try:
            return relaying(provider.url, saved)(request)
        except openai.AuthenticationError:
            return HttpResponse("refused", status=502)

    answer = siding.post(view)
    assert (answer.status, answer.text, saved) == (502, "refused", [])


def test_a_provider_that_is_not_there_is_raised_before_the_view_returns(siding, saved):
    def view(request):
        try:
            return relaying("http://127.0.0.1:1", saved, streams.by_requests)(request)
        except OSError:
            return HttpResponse("unreachable", status=502)

    assert siding.post(view).text == "unreachable"


def test_rows_of_on_complete_are_written_once(siding, provider):
    def save(answer: Answer) -> None:
        Note.objects.create(text=answer.text)

    siding.post(lambda _: relay(lambda: streams.openai_create(provider.url), on_complete=save))
    assert [note.text for note in Note.objects.all()] == ["echo: hello"]


def test_a_failing_on_complete_is_logged_and_the_client_has_its_answer(siding, provider, caplog):
    def save(answer: Answer) -> None:
        raise ValueError("no room")

    with caplog.at_level(logging.ERROR):
        answer = siding.post(
            lambda _: relay(lambda: streams.openai_create(provider.url), on_complete=save)
        )
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "no room" in caplog.text


def test_an_offered_request_streams_what_the_proxy_cannot_call(siding, provider, saved):
    """Its stream makes no more calls, so that it need not be held either."""
    siding.proxy.offering = True
    siding.proxy.modes = "replay relay"
    siding.proxy.origin = "http://127.0.0.1:1"
    provider.gate = threading.Event()
    with siding.opened(relaying(provider.url, saved)) as opened:
        content = iter(opened.content)
        assert b"echo" in next(content)
        provider.gate.set()
        assert b"[DONE]" in b"".join(content)
    assert len(saved) == 1


@pytest.mark.parametrize("call", [streams.openai_create, streams.by_requests, streams.by_urllib3])
def test_providers_are_asked_for_uncompressed_streams(siding, provider, saved, call):
    siding.post(relaying(provider.url, saved, call))
    [headers] = provider.headers
    assert headers["accept-encoding"] == "identity"


def test_a_compressed_stream_is_refused_before_the_first_byte(siding, provider, saved):
    provider.extra_headers = {"Content-Encoding": "gzip"}

    def view(request):
        with pytest.raises(RuntimeError, match="compressed"):
            relaying(provider.url, saved)(request)
        return HttpResponse("refused")

    assert siding.post(view).text == "refused"


def test_other_calls_meanwhile_are_left_alone(siding, provider, saved):
    def view(request):
        def call():
            httpx.post(f"{provider.url}/ask", json={"prompt": "a token"})
            return streams.openai_create(provider.url)

        response = relay(call, on_complete=saved.append)
        httpx.post(f"{provider.url}/s", json={"prompt": "another", "stream": True})
        return response

    siding.post(view)
    assert provider.prompts == ["a token", "hello", "another"]
    assert [whole.text for whole in saved] == ["echo: hello"]


def test_a_sync_view_under_asgi_delivers_what_it_would_stream(provider, saved, settings):
    urls = ModuleType("asgi_urls")
    urls.urlpatterns = [path("", relaying(provider.url, saved))]
    settings.ROOT_URLCONF = urls

    async def posted() -> bytes:
        response = await AsyncClient().post("/")
        return b"".join([piece async for piece in response])

    with pytest.warns(Warning, match="synchronous iterators"):
        content = async_to_sync(posted)()
    assert content.endswith(b"[DONE]\n\n")
    assert [whole.text for whole in saved] == ["echo: hello"]
