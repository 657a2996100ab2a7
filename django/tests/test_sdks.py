"""The official SDKs parse what the proxy recorded, plain and streamed."""

from __future__ import annotations

import anthropic
import openai
import pytest
from django.http import HttpResponse
from google import genai

MESSAGES = [{"role": "user", "content": "hello"}]


def openai_client(url: str, **options):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="key", **options)


def openai_plain(url: str) -> str:
    answer = openai_client(url).chat.completions.create(model="m", messages=MESSAGES)
    return answer.choices[0].message.content


def openai_stream(url: str) -> str:
    stream = openai_client(url).chat.completions.create(model="m", messages=MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def anthropic_plain(url: str) -> str:
    client = anthropic.Anthropic(base_url=url, api_key="key")
    answer = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    return answer.content[0].text


def anthropic_stream(url: str) -> str:
    client = anthropic.Anthropic(base_url=url, api_key="key")
    with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        return "".join(stream.text_stream)


def gemini(url: str):
    options = genai.types.HttpOptions(base_url=url)
    return genai.Client(api_key="key", http_options=options)


def gemini_plain(url: str) -> str:
    client = gemini(url)
    return client.models.generate_content(model="m", contents="hello").text


def gemini_stream(url: str) -> str:
    client = gemini(url)
    return "".join(
        chunk.text for chunk in client.models.generate_content_stream(model="m", contents="hello")
    )


ALL = [
    openai_plain,
    openai_stream,
    anthropic_plain,
    anthropic_stream,
    gemini_plain,
    gemini_stream,
]


@pytest.mark.parametrize("ask", ALL)
def test_an_sdk_gets_its_answer_from_the_journal(siding, provider, ask):
    answer = siding.post(lambda request: HttpResponse(ask(provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 2)
    assert provider.prompts == ["hello"]


@pytest.mark.parametrize("ask", ALL)
def test_an_sdk_calls_itself_without_siding(siding, provider, ask):
    siding.proxy.offering = False
    answer = siding.post(lambda request: HttpResponse(ask(provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 1)


@pytest.mark.parametrize("ask", ALL)
def test_an_sdk_sends_the_proxy_its_credentials(siding, provider, ask):
    siding.post(lambda request: HttpResponse(ask(provider.url)))
    [headers] = provider.headers
    keys = ("authorization", "x-api-key", "x-goog-api-key")
    assert any(headers.get(name, "").endswith("key") for name in keys)


def test_three_sdks_in_one_view_take_four_passes(siding, provider):
    def view(request):
        return HttpResponse(
            openai_plain(provider.url) + anthropic_stream(provider.url) + gemini_plain(provider.url)
        )

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: hello" * 3, 4)


@pytest.mark.parametrize(
    ("ask", "error"),
    [(openai_plain, openai.InternalServerError), (anthropic_plain, anthropic.InternalServerError)],
)
def test_a_providers_error_is_raised_without_a_retry(siding, provider, no_sleep, ask, error):
    provider.status = 500

    def view(request):
        try:
            return HttpResponse(ask(provider.url))
        except error as failure:
            return HttpResponse(str(failure.status_code))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("500", 2)
    assert len(provider.prompts) == 1
    assert no_sleep == []


@pytest.mark.parametrize(
    ("ask", "timeout", "connection"),
    [
        (openai_plain, openai.APITimeoutError, openai.APIConnectionError),
        (anthropic_plain, anthropic.APITimeoutError, anthropic.APIConnectionError),
    ],
)
@pytest.mark.parametrize("kind", ["first_byte_timeout", "connect", "interrupted"])
def test_the_retries_of_an_sdk_get_the_same_failure(
    siding, provider, ask, timeout, connection, kind
):
    siding.proxy.outcome = lambda call: {"kind": "error", "error": kind, "message": "no"}

    def view(request):
        try:
            return HttpResponse(ask(provider.url))
        except timeout:
            return HttpResponse("timed out")
        except connection:
            return HttpResponse("not connected")

    answer = siding.post(view)
    assert answer.text == ("timed out" if "timeout" in kind else "not connected")
    assert answer.passes == 2
    assert len(answer.calls) == 1


def test_max_retries_of_0_does_not_sleep_after_a_failure(siding, provider, no_sleep):
    siding.proxy.outcome = lambda call: {"kind": "error", "error": "connect", "message": "no"}

    def view(request):
        client = openai_client(provider.url, max_retries=0)
        try:
            client.chat.completions.create(model="m", messages=MESSAGES)
        except openai.APIConnectionError:
            return HttpResponse("failed")

    assert siding.post(view).text == "failed"
    assert no_sleep == []


def test_an_upload_by_an_sdk_has_the_same_digest_in_each_pass(siding, provider):
    """Its multipart boundary is drawn anew each time."""

    def view(request):
        client = openai_client(provider.url)
        client.files.create(file=("a.txt", b"\xff\xfe"), purpose="assistants")
        return HttpResponse("done")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("done", 2)
    assert "body_b64" in answer.calls[0]
    assert "Siding-Drift" not in answer.headers


def test_the_call_site_is_the_apps_and_not_the_sdks(siding, provider):
    for ask in ALL:
        [call] = siding.post(lambda request, ask=ask: HttpResponse(ask(provider.url))).calls
        assert call["name"].startswith("test_sdks.py:"), call["name"]
