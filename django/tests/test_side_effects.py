"""What a pass leaves behind in sessions, messages, cookies and throttles."""

from __future__ import annotations

import httpx
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def test_a_session_is_saved_once_by_the_last_pass(siding, ask):
    def view(request):
        request.session["count"] = request.session.get("count", 0) + 1
        ask("x")
        return HttpResponse(str(request.session["count"]))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("1", 2)
    [session] = Session.objects.all()
    assert session.get_decoded() == {"count": 1}
    assert session.session_key in answer.headers["Set-Cookie"]


def test_an_explicit_save_of_a_session_rolls_back_with_its_pass(siding, ask):
    def view(request):
        request.session["count"] = request.session.get("count", 0) + 1
        request.session.save()
        ask("x")
        return HttpResponse()

    siding.post(view)
    assert [session.get_decoded() for session in Session.objects.all()] == [{"count": 1}]


def test_a_login_before_the_call_happens_once(siding, ask):
    from django.contrib.auth import login

    user = User.objects.create_user("ada")

    def view(request):
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        ask("x")
        return HttpResponse()

    siding.post(view)
    assert Session.objects.count() == 1


def test_messages_and_csrf_of_a_suspended_pass_are_not_kept(siding, ask, settings):
    from django.contrib import messages
    from django.middleware.csrf import rotate_token

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.messages"]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]

    def view(request):
        messages.info(request, "noted")
        rotate_token(request)
        ask("x")
        return HttpResponse(str(len(request._messages._queued_messages)))

    answer = siding.get(view)
    assert (answer.text, answer.passes) == ("1", 2)


class OncePerMinute(SimpleRateThrottle):
    rate = "1/min"

    def get_cache_key(self, request, view):
        return "everybody"


@pytest.fixture
def throttled(ask):
    class View(APIView):
        throttle_classes = [OncePerMinute]

        def post(self, request):
            return Response(ask("a") + ask("b"))

    return View.as_view()


def test_a_throttle_is_charged_once_for_all_passes(siding, throttled):
    answer = siding.post(throttled)
    assert (answer.status, answer.passes) == (200, 3)


def test_a_throttle_still_refuses_the_next_request(siding, throttled):
    assert siding.post(throttled).status == 200
    assert siding.post(throttled).status == 429


def test_without_an_offer_a_throttle_is_charged_as_ever(siding, throttled):
    siding.proxy.offering = False
    assert siding.post(throttled).status == 200
    assert siding.post(throttled).status == 429
