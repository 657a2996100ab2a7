"""A transport that is made in an offered pass builds what it connects with when it needs it."""

from __future__ import annotations

import asyncio
import ssl
import threading

import anthropic
import httpx
import httpx2
import openai
import pytest
from django.http import HttpResponse

LIBRARIES = [httpx, httpx2]
PROMPT = {"prompt": "hello"}


@pytest.fixture
def contexts(monkeypatch):
    """The TLS contexts that were filled with certificates."""
    made: list[ssl.SSLContext] = []
    load, defaults = ssl.SSLContext.load_verify_locations, ssl.SSLContext.load_default_certs

    def counting_load(self, *args, **options):
        made.append(self)
        return load(self, *args, **options)

    def counting_defaults(self, *args, **options):
        made.append(self)
        return defaults(self, *args, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counting_load)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", counting_defaults)
    return made


@pytest.fixture
def in_a_pass(siding):
    """Runs a function in an offered pass, and returns what it returned."""

    def run(fn):
        results = []

        def view(request):
            results.append(fn())
            return HttpResponse()

        answer = siding.post(view)
        assert (answer.status, answer.passes) == (200, 1)
        return results[0]

    return run


def is_built(transport) -> bool:
    return "_pool" in vars(transport)


def ask(client, url: str) -> str:
    return client.post(f"{url}/ask", json=PROMPT).json()["text"]


MESSAGES = [{"role": "user", "content": "hello"}]


def by_openai(url: str) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key") as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
    return answer.choices[0].message.content


def by_anthropic(url: str) -> str:
    with anthropic.Anthropic(base_url=url, api_key="key") as client:
        answer = client.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    return answer.content[0].text


def by_client(library, url: str) -> str:
    with library.Client() as client:
        return ask(client, url)


SDKS = {
    "openai": by_openai,
    "anthropic": by_anthropic,
    "httpx": lambda url: by_client(httpx, url),
    "httpx2": lambda url: by_client(httpx2, url),
    "httpx.post": lambda url: ask(httpx, url),
    "httpx2.post": lambda url: ask(httpx2, url),
}


@pytest.mark.parametrize("name", SDKS)
def test_a_client_made_in_the_view_loads_no_certificates(siding, provider, contexts, name):
    answer = siding.post(lambda request: HttpResponse(SDKS[name](provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 2)
    assert contexts == []


@pytest.mark.parametrize("name", SDKS)
def test_nor_do_the_transports_of_proxies_in_the_environment(
    siding, provider, contexts, monkeypatch, name
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    answer = siding.post(lambda request: HttpResponse(SDKS[name](provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 2)
    assert contexts == []


@pytest.mark.parametrize("name", SDKS)
def test_without_an_offer_a_client_is_built_at_once(siding, provider, contexts, name):
    siding.proxy.offering = False
    assert siding.post(lambda request: HttpResponse(SDKS[name](provider.url))).passes == 1
    assert contexts


@pytest.mark.parametrize("name", SDKS)
def test_a_call_to_another_origin_is_made(siding, provider, name):
    siding.proxy.origin = "http://127.0.0.1:9"
    answer = siding.post(lambda request: HttpResponse(SDKS[name](provider.url)))
    assert (answer.text, answer.passes) == ("echo: hello", 1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_swallowed_suspension_is_followed_by_a_call(siding, provider, library):
    def view(request):
        with library.Client() as client:
            try:
                ask(client, provider.url)
            except BaseException:
                pass
            return HttpResponse(ask(client, provider.url))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: hello", 1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_outlives_its_pass(in_a_pass, provider, library):
    with in_a_pass(library.Client) as client:
        assert not is_built(client._transport)
        assert ask(client, provider.url) == "echo: hello"
        assert is_built(client._transport)
        assert ask(client, provider.url) == "echo: hello"
        pool = client._transport._pool
        assert len(pool.connections) == 1
    assert pool.connections == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_threads_that_share_a_client_build_one_pool(in_a_pass, provider, library):
    client = in_a_pass(library.Client)
    barrier = threading.Barrier(8)
    seen = []

    def use():
        barrier.wait()
        seen.append((ask(client, provider.url), client._transport._pool))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert [text for text, _ in seen] == ["echo: hello"] * 8
    assert len({id(pool) for _, pool in seen}) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_thread_of_the_view_makes_its_call(siding, provider, library):
    def view(request):
        texts = []
        with library.Client() as client:
            thread = threading.Thread(target=lambda: texts.append(ask(client, provider.url)))
            thread.start()
            thread.join()
        return HttpResponse(texts[0])

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: hello", 1)


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_that_was_never_used_is_entered_and_closed_without_being_built(in_a_pass, library):
    def use():
        transport = library.HTTPTransport()
        with transport as entered:
            assert entered is transport
        transport.close()
        client = library.Client()
        client.close()
        with pytest.raises(RuntimeError):
            client.get("http://127.0.0.1:9")
        return [transport, client._transport]

    assert [is_built(transport) for transport in in_a_pass(use)] == [False, False]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_transport_can_be_used_after_it_was_closed(in_a_pass, provider, library):
    """As one that was built at once."""
    transport = in_a_pass(library.HTTPTransport)
    transport.close()
    response = transport.handle_request(library.Request("GET", f"{provider.url}/x"))
    response.read()
    assert response.status_code == 200
    transport.close()
    assert transport._pool.connections == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_whoever_looks_at_the_pool_sees_it(in_a_pass, library):
    limits = library.Limits(max_connections=7)
    transport = in_a_pass(lambda: library.HTTPTransport(limits=limits, http2=True, retries=3))
    assert hasattr(transport, "_pool")
    assert transport._pool._max_connections == 7
    assert (transport._pool._retries, transport._pool._http2) == (3, True)
    assert transport._pool is transport._pool


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_transport_does_not_have_is_missing_as_ever(in_a_pass, library):
    for transport in (in_a_pass(library.HTTPTransport), library.HTTPTransport()):
        with pytest.raises(
            AttributeError, match="'HTTPTransport' object has no attribute 'nonsense'"
        ):
            transport.nonsense  # noqa: B018
        transport.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pool_that_somebody_put_there_stays(in_a_pass, library):
    class Pool:
        closed = False

        def close(self):
            self.closed = True

    def use():
        transport = library.HTTPTransport()
        transport._pool = Pool()
        with pytest.raises(AttributeError):
            transport.nonsense  # noqa: B018
        transport.close()
        return transport

    assert in_a_pass(use)._pool.closed


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_subclass_is_built_when_it_needs_it(siding, provider, contexts, library):
    class Logging(library.HTTPTransport):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.seen = []

        def handle_request(self, request):
            self.seen.append(str(request.url))
            return super().handle_request(request)

    def view(request):
        transport = Logging(retries=1)
        with library.Client(transport=transport) as client:
            text = ask(client, provider.url)
        return HttpResponse(f"{text} {len(transport.seen)} {is_built(transport)}")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: hello 1 False", 2)
    assert contexts == []
    siding.proxy.offering = False
    assert siding.post(view).text == "echo: hello 1 True"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_subclass_that_looks_for_attributes_itself_is_built_at_once(in_a_pass, library):
    class Answering(library.HTTPTransport):
        def __getattr__(self, name):
            raise AttributeError(name)

    class Counting(library.HTTPTransport):
        _pool = None

    assert is_built(in_a_pass(Answering))
    assert is_built(in_a_pass(Counting))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"verify": "/nowhere/ca.pem"}, OSError),
        ({"cert": "/nowhere/client.pem"}, OSError),
        ({"limits": 7}, AttributeError),
        ({"proxy": "nonsense://host"}, ValueError),
        ({"proxy": 7}, Exception),
        ({"nonsense": 1}, TypeError),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_wrong_argument_fails_where_it_is_given(in_a_pass, library, options, error):
    def use():
        with pytest.raises(error) as ours:
            library.HTTPTransport(**options)
        return ours

    ours = in_a_pass(use)
    with pytest.raises(error) as theirs:
        library.HTTPTransport(**options)
    assert (ours.type, str(ours.value)) == (theirs.type, str(theirs.value))


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_fails_while_building_fails_at_each_use(in_a_pass, provider, monkeypatch, library):
    """The certificates may be missing where the proxy has them: only a call in line needs them."""
    transport = in_a_pass(library.HTTPTransport)
    request = library.Request("GET", f"{provider.url}/x")
    with monkeypatch.context() as broken:

        def fail(*_, **__):
            raise OSError("no certificates")

        broken.setattr(ssl.SSLContext, "load_verify_locations", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="no certificates"):
                transport.handle_request(request)
        transport.close()
    response = transport.handle_request(request)
    response.read()
    assert response.status_code == 200
    transport.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_context_of_the_callers_own_is_used(in_a_pass, library):
    context = ssl.create_default_context()
    transport = in_a_pass(lambda: library.HTTPTransport(verify=context))
    assert not is_built(transport)
    assert transport._pool._ssl_context is context


@pytest.mark.parametrize("library", LIBRARIES)
def test_verification_that_is_off_stays_off(in_a_pass, library):
    transport = in_a_pass(lambda: library.HTTPTransport(verify=False))
    assert transport._pool._ssl_context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_is_used(in_a_pass, provider, library):
    client = in_a_pass(lambda: library.Client(proxy=provider.url))
    with client:
        assert client.post("http://elsewhere.invalid/ask", json=PROMPT).json()["text"]
    assert len(provider.prompts) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_async_client_is_built_when_it_needs_it(in_a_pass, provider, contexts, library):
    client = in_a_pass(library.AsyncClient)
    assert not is_built(client._transport)
    assert contexts == []

    async def use():
        async with client:
            return (await client.post(f"{provider.url}/ask", json=PROMPT)).json()["text"]

    assert asyncio.run(use()) == "echo: hello"
    assert is_built(client._transport)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_async_client_that_was_never_used_is_closed_without_being_built(in_a_pass, library):
    async def use(first, second):
        async with first as entered:
            assert entered is first
        await first.aclose()
        async with library.AsyncClient(transport=second):
            pass

    # Made in the view's own thread, which a coroutine is not run in.
    transports = in_a_pass(lambda: [library.AsyncHTTPTransport(), library.AsyncHTTPTransport()])
    asyncio.run(use(*transports))
    assert [is_built(transport) for transport in transports] == [False, False]
