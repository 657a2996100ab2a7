from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.urls import re_path
from provider import Provider
from proxy import Answer, Opened, Proxy

import django_siding.exchange


def pytest_collection_modifyitems(items):
    """Whoever uses the client gets both databases, with real transactions."""
    for item in items:
        if "siding" in item.fixturenames:
            item.add_marker(pytest.mark.django_db(transaction=True, databases=["default", "other"]))


@pytest.fixture(scope="session")
def provider_server():
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(provider_server):
    provider_server.reset()
    return provider_server


class Siding:
    """A client behind the proxy, for one view."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def get(self, view, target: str = "/", **headers: str) -> Answer:
        return self.request(view, "GET", target, headers=headers)

    def post(self, view, document=None, target: str = "/") -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        return self.request(view, "POST", target, body, {"Content-Type": "application/json"})

    def request(self, view, method, target="/", body=b"", headers=None) -> Answer:
        with routed(view):
            return self.proxy.request(method, target, body, headers)

    @contextmanager
    def opened(self, view) -> Iterator[Opened]:
        with routed(view):
            opened = self.proxy.opened("POST", "/", b"", {})
        try:
            yield opened
        finally:
            opened.content.close()


@contextmanager
def routed(view) -> Iterator[None]:
    urls = ModuleType("urls")
    urls.urlpatterns = [re_path("", view)]
    previous = django_settings.ROOT_URLCONF
    django_settings.ROOT_URLCONF = urls
    try:
        yield
    finally:
        django_settings.ROOT_URLCONF = previous


@pytest.fixture
def siding(provider, settings):
    settings.ROOT_URLCONF = "project.urls"
    django_siding.exchange._drifted_sites.clear()
    cache.clear()
    return Siding(Proxy(provider.url))


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    """SDKs sleep between attempts; here it is only counted."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept
