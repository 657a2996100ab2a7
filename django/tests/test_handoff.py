"""The whole way: a view suspends, the proxy calls, the view is run again."""

from __future__ import annotations

import gc
import re
import weakref

import httpx
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from project.app.models import Note


def ask(provider, prompt: str) -> str:
    return httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def test_a_view_gets_the_answer_that_the_proxy_fetched(siding, provider):
    answer = siding.post(lambda request: HttpResponse(ask(provider, "hello")))
    assert (answer.status, answer.text) == (200, "echo: hello")
    assert answer.passes == 2
    assert provider.prompts == ["hello"]


def test_three_calls_in_a_row_take_four_passes(siding, provider):
    def view(request):
        first = ask(provider, "1")
        second = ask(provider, first)
        return HttpResponse(ask(provider, second))

    answer = siding.post(view)
    assert answer.text == "echo: echo: echo: 1"
    assert answer.passes == 4
    assert len(provider.prompts) == 3


def test_a_suspended_pass_leaves_nothing_for_the_garbage_collector(siding, provider):
    """Its frames hold all that the view and the SDK had in their hands."""
    held = []

    class Held:
        pass

    def view(request):
        here = Held()
        held.append(weakref.ref(here))
        return HttpResponse(ask(provider, "hello"))

    gc.disable()
    try:
        assert siding.post(view).passes == 2
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()


def test_calls_in_a_loop_are_told_apart(siding, provider):
    def view(request):
        return JsonResponse(
            [ask(provider, "same"), *(ask(provider, "same") for _ in "ab")], safe=False
        )

    answer = siding.post(view)
    assert answer.json() == ["echo: same"] * 3
    assert len(provider.prompts) == 3


def test_without_an_offer_the_view_calls_itself(siding, provider):
    siding.proxy.offering = False
    answer = siding.post(lambda request: HttpResponse(ask(provider, "hello")))
    assert (answer.text, answer.passes) == ("echo: hello", 1)


def test_calls_to_other_origins_are_made_in_line(siding, provider):
    siding.proxy.origin = "http://127.0.0.1:1"
    answer = siding.post(lambda request: HttpResponse(ask(provider, "hello")))
    assert (answer.text, answer.passes) == ("echo: hello", 1)


def test_a_row_created_before_the_call_is_written_once(siding, provider):
    def view(request):
        Note.objects.create(text="before")
        Note.objects.using("other").create(text="before")
        ask(provider, "hello")
        Note.objects.create(text="after")
        return HttpResponse()

    assert siding.post(view).passes == 2
    assert list(Note.objects.values_list("text", flat=True)) == ["before", "after"]
    assert Note.objects.using("other").count() == 1


def test_on_commit_hooks_run_once(siding, provider):
    hooks = []

    def view(request):
        transaction.on_commit(lambda: hooks.append("ran"))
        ask(provider, "hello")
        return HttpResponse()

    siding.post(view)
    assert hooks == ["ran"]


def test_a_handled_failure_inside_the_view_commits(siding, provider):
    def view(request):
        ask(provider, "hello")
        Note.objects.create(text="kept")
        return HttpResponse(status=400)

    assert siding.post(view).status == 400
    assert Note.objects.count() == 1


def test_a_drf_error_response_commits_as_it_does_without_siding(siding, provider):
    from rest_framework.exceptions import ValidationError
    from rest_framework.views import APIView

    class View(APIView):
        def post(self, request):
            ask(provider, "hello")
            Note.objects.create(text="kept")
            raise ValidationError("no")

    assert siding.post(View.as_view()).status == 400
    assert Note.objects.count() == 1


def test_with_atomic_requests_a_drf_error_rolls_back_as_it_does_without_siding(
    siding, provider, monkeypatch
):
    from django.db import connections
    from rest_framework.exceptions import ValidationError
    from rest_framework.views import APIView

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    depths = []

    class View(APIView):
        def post(self, request):
            depths.append(len(connections["default"].atomic_blocks))
            Note.objects.create(text="gone")
            ask(provider, "hello")
            raise ValidationError("no")

    assert siding.post(View.as_view()).status == 400
    assert Note.objects.count() == 0
    assert depths == [1, 1]


def test_a_non_atomic_view_writes_in_each_pass(siding, provider):
    @transaction.non_atomic_requests
    def view(request):
        Note.objects.create(text="before")
        ask(provider, "hello")
        return HttpResponse()

    siding.post(view)
    assert Note.objects.count() == 2


def test_a_view_can_be_non_atomic_for_one_database(siding, provider):
    @transaction.non_atomic_requests(using="other")
    def view(request):
        Note.objects.create(text="before")
        Note.objects.using("other").create(text="before")
        ask(provider, "hello")
        return HttpResponse()

    siding.post(view)
    assert Note.objects.count() == 1
    assert Note.objects.using("other").count() == 2


def test_with_atomic_off_a_view_writes_in_each_pass(siding, provider, settings):
    settings.SIDING = {**settings.SIDING, "ATOMIC": False}

    def view(request):
        Note.objects.create(text="before")
        ask(provider, "hello")
        return HttpResponse()

    siding.post(view)
    assert Note.objects.count() == 2


def test_atomic_may_name_the_databases(siding, provider, settings):
    settings.SIDING = {**settings.SIDING, "ATOMIC": ["other"]}

    def view(request):
        Note.objects.create(text="before")
        Note.objects.using("other").create(text="before")
        ask(provider, "hello")
        return HttpResponse()

    siding.post(view)
    assert Note.objects.count() == 2
    assert Note.objects.using("other").count() == 1


def test_without_an_offer_a_view_runs_outside_of_transactions(siding, provider):
    siding.proxy.offering = False

    def view(request):
        return HttpResponse(str(transaction.get_connection().in_atomic_block))

    assert siding.post(view).text == "False"


def test_the_first_except_exception_around_a_call_does_not_catch_the_suspension(siding, provider):
    def view(request):
        try:
            try:
                return HttpResponse(ask(provider, "hello"))
            except ValueError:
                return HttpResponse("caught inside")
        except Exception:
            return HttpResponse("caught outside")

    assert siding.post(view).text == "echo: hello"


def test_credentials_are_passed_on_and_the_connections_headers_are_not(siding, provider):
    def view(request):
        httpx.post(
            f"{provider.url}/ask",
            json={"prompt": "hello"},
            headers={
                "Authorization": "Bearer key",
                "X-Mine": "1",
                "Connection": "x-hop",
                "X-Hop": "1",
            },
            timeout=httpx.Timeout(7.5, connect=1),
        )
        return HttpResponse()

    [call] = siding.post(view).calls
    names = {name for name, _ in call["headers"]}
    assert ["authorization", "Bearer key"] in call["headers"]
    assert "x-mine" in names
    assert not names & {"host", "connection", "x-hop", "content-length", "accept-encoding"}
    assert call["timeout_ms"] == 7500
    assert call["url"] == f"{provider.url}/ask"
    assert call["method"] == "POST"
    assert call["body"].replace(" ", "") == '{"prompt":"hello"}'
    assert len(call["digest"]) == 64


def test_the_name_is_file_function_line_and_occurrence(siding, provider):
    def view(request):
        return HttpResponse(httpx.post(f"{provider.url}/ask", json={}).text)

    [call] = siding.post(view).calls
    line = view.__code__.co_firstlineno + 1
    assert call["name"] == f"test_handoff.py:view:{line}#0"


def test_the_name_of_a_call_through_a_function_says_how_it_was_reached(siding, provider):
    def view(request):
        ask(provider, "one")
        ask(provider, "two")
        return HttpResponse()

    names = [call["name"] for call in siding.post(view).calls]
    line = ask.__code__.co_firstlineno + 1
    assert all(re.fullmatch(rf"test_handoff.py:ask:{line}~[0-9a-f]{{8}}#0", name) for name in names)
    assert len(set(names)) == 2
