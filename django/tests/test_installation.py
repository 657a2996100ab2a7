"""Settings, system checks, and the patching of libraries."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpResponse
from django.urls import path

import django_siding.transports
from django_siding.middleware import SidingMiddleware

SECRET = "0123456789abcdef"


def ids(deploy=False) -> set[str]:
    messages = run_checks(include_deployment_checks=deploy)
    return {message.id for message in messages if message.id.startswith("siding.")}


def test_the_installation_of_the_readme_passes_the_checks():
    assert ids() == set()


def test_the_deployment_check_explains_the_transactions():
    assert ids(deploy=True) == {"siding.I001"}


@pytest.mark.parametrize(
    ("siding", "expected"),
    [
        ({}, "siding.W002"),
        ({"SECRET": ""}, "siding.W002"),
        ({"SECRET": SECRET, "ATOMIC": False}, "siding.W003"),
        ({"SECRET": "short"}, "siding.E001"),
        ({"SECRET": [SECRET, "short"]}, "siding.E001"),
        ({"SECRET": [SECRET] * 3}, "siding.E001"),
        ({"SECRET": []}, "siding.E001"),
        ({"SECRET": [1]}, "siding.E001"),
        ({"SECRET": 1}, "siding.E001"),
        ({"SECRET": SECRET, "SECRETS": SECRET}, "siding.E001"),
        ({"SECRET": SECRET, "STRICT": "yes"}, "siding.E001"),
        ({"SECRET": SECRET, "ENABLED": 1}, "siding.E001"),
        ({"SECRET": SECRET, "ATOMIC": "default"}, "siding.E001"),
        ({"SECRET": SECRET, "ATOMIC": ["nowhere"]}, "siding.E001"),
        ("secret", "siding.E001"),
    ],
)
def test_a_check_finds_what_is_wrong_with_the_setting(settings, monkeypatch, siding, expected):
    monkeypatch.delenv("SIDING_SECRET", raising=False)
    settings.SIDING = siding
    assert ids() == {expected}
    if expected == "siding.E001":
        with pytest.raises(ImproperlyConfigured, match="SIDING"):
            SidingMiddleware(lambda request: None)


def test_all_mistakes_are_named_at_once(settings):
    settings.SIDING = {"SECRET": "short", "STRIKT": True, "ATOMIC": 1}
    with pytest.raises(ImproperlyConfigured, match=r"STRIKT.*16 bytes.*ATOMIC"):
        SidingMiddleware(lambda request: None)


@pytest.mark.parametrize("secret", [SECRET, [SECRET, SECRET], (SECRET,), "\u00e4" * 8])
def test_a_long_enough_secret_is_accepted(settings, secret):
    settings.SIDING = {"SECRET": secret}
    assert ids() == set()


def test_a_check_finds_a_middleware_that_is_not_first_or_not_there(settings):
    own, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [*others, own]
    assert ids() == {"siding.W001"}
    settings.MIDDLEWARE = others
    assert ids() == {"siding.W004"}


def test_disabled_nothing_is_checked_and_the_middleware_is_left_out(settings):
    settings.SIDING = {"ENABLED": False}
    settings.MIDDLEWARE = []
    assert ids() == set()
    with pytest.raises(MiddlewareNotUsed):
        SidingMiddleware(lambda request: None)


def test_under_asgi_it_passes_requests_on(rf):
    async def get_response(request):
        return HttpResponse("async")

    middleware = SidingMiddleware(get_response)
    assert asyncio.iscoroutinefunction(middleware.__call__) or middleware.is_async
    request = rf.get("/", HTTP_SIDING_ACCEPT="v=1")
    assert asyncio.run(middleware(request)).content == b"async"


def test_an_async_stack_answers_an_offered_request(settings, async_client):
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]

    async def view(request):
        return HttpResponse("async")

    def sync_view(request):
        return HttpResponse("sync")

    settings.ROOT_URLCONF = urls = ModuleType("urls")
    urls.urlpatterns = [path("async", view), path("sync", sync_view)]

    async def texts():
        return [
            (await async_client.get(f"/{name}", headers={"Siding-Accept": "v=1"})).content
            for name in ("async", "sync")
        ]

    assert asyncio.run(texts()) == [b"async", b"sync"]


def test_installing_twice_patches_once():
    import httpx

    before = httpx.HTTPTransport.handle_request
    django_siding.transports.install()
    assert httpx.HTTPTransport.handle_request is before


def run(script: str) -> str:
    """A fresh interpreter: here everything has been imported already."""
    setup = (
        "import os, sys; sys.path[:0] = os.environ['SIDING_TEST_PATH'].split(os.pathsep)\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'\n"
        "import django; django.setup()\n"
    )
    environment = {"SIDING_TEST_PATH": ":".join(filter(None, sys.path))}
    result = subprocess.run(
        [sys.executable, "-c", setup + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_start_up_imports_no_http_library():
    heavy = "{'httpx', 'httpx2', 'requests', 'urllib3', 'rest_framework'}"
    assert run(f"print({heavy} & set(sys.modules))") == "set()\n"


def test_a_library_that_is_imported_later_is_patched_then():
    printed = run(
        """
        import httpx, httpx2, requests.adapters, urllib3.connectionpool
        from rest_framework.views import APIView
        print([getattr(method, "_siding", False) for method in (
            httpx.HTTPTransport.handle_request,
            httpx2.HTTPTransport.handle_request,
            requests.adapters.HTTPAdapter.send,
            urllib3.connectionpool.HTTPConnectionPool.urlopen,
            APIView.check_throttles,
        )])
        """
    )
    assert printed == "[True, True, True, True, True]\n"


def test_a_library_that_is_missing_or_broken_fails_as_ever():
    printed = run(
        """
        import pathlib, tempfile
        from django_siding.transports.importing import when_imported
        when_imported("no_such_library", lambda module: print("patched"))
        when_imported("broken_once", lambda module: print("patched"))
        directory = pathlib.Path(tempfile.mkdtemp())
        sys.path.append(str(directory))
        (directory / "broken_once.py").write_text("1 / 0")
        for name in ("no_such_library", "broken_once"):
            try:
                __import__(name)
            except Exception as error:
                print(type(error).__name__)
        (directory / "broken_once.py").write_text("#" * 20)
        import importlib; importlib.invalidate_caches()
        import broken_once
        """
    )
    assert printed.split() == ["ModuleNotFoundError", "ZeroDivisionError", "patched"]
