"""Code that catches what it should not, and threads."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.http import HttpResponse
from rest_framework.response import Response
from rest_framework.views import APIView

from django_siding import Suspended, current


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def test_a_bare_except_is_noticed_and_the_view_named(siding, ask, provider, caplog):
    def view(request):
        try:
            text = ask("first")
        except:
            text = "swallowed"
        return HttpResponse(f"{text}, {ask('second')}")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("swallowed, echo: second", 1)
    assert provider.prompts == ["second"]
    assert "test_swallow.test_a_bare_except_is_noticed_and_the_view_named" in caplog.text
    assert "swallowed a suspension" in caplog.text


def test_a_drf_view_is_named_by_its_class(siding, ask, caplog):
    class Chat(APIView):
        def post(self, request):
            try:
                return Response(ask("x"))
            except BaseException:
                return Response("swallowed")

    assert siding.post(Chat.as_view()).json() == "swallowed"
    assert "Chat swallowed a suspension" in caplog.text


def test_a_recorded_answer_is_still_delivered_after_a_swallowed_suspension(siding, ask, provider):
    def view(request):
        text = ask("first")
        try:
            ask("second")
        except:
            pass
        return HttpResponse(f"{text}, {ask('third')}")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: first, echo: third", 2)


def test_another_exception_in_place_of_the_suspension_is_the_views_business(siding, ask, caplog):
    def view(request):
        try:
            ask("x")
        except BaseException as error:
            raise ValueError("instead") from error

    assert siding.post(view).status == 500
    assert "swallowed a suspension" in caplog.text


def test_finally_and_context_managers_do_not_swallow(siding, ask):
    closed = []

    def view(request):
        try:
            with httpx.Client():
                return HttpResponse(ask("x"))
        finally:
            closed.append(1)

    assert siding.post(view).text == "echo: x"
    assert closed == [1, 1]


def test_nested_handlers_of_exception_do_not_swallow(siding, ask):
    def view(request):
        try:
            try:
                raise KeyError
            except KeyError:
                return HttpResponse(ask("x"))
        except Exception:
            return HttpResponse("caught")

    assert siding.post(view).text == "echo: x"


def test_a_suspension_of_nobodys_exchange_is_not_taken_for_ones_own(siding):
    def view(request):
        raise Suspended(None, [])

    with pytest.raises(Suspended):
        siding.post(view)


def in_thread(fn):
    result = []
    thread = threading.Thread(target=lambda: result.append(fn()))
    thread.start()
    thread.join()
    return result[0]


def in_thread_with_context(fn):
    context = contextvars.copy_context()
    return in_thread(lambda: context.run(fn))


def in_pool(fn):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, fn).result()


@pytest.mark.parametrize("run", [in_thread, in_thread_with_context, in_pool])
def test_threads_call_in_line(siding, ask, run):
    def view(request):
        assert run(current) is None
        return HttpResponse(run(lambda: ask("in a thread")) + ", " + ask("in the view"))

    answer = siding.post(view)
    assert answer.text == "echo: in a thread, echo: in the view"
    assert len(answer.calls) == 1


def test_after_the_request_nothing_is_left_of_it(siding, ask):
    contexts = []

    def view(request):
        contexts.append(contextvars.copy_context())
        return HttpResponse(ask("x"))

    siding.post(view)
    assert current() is None
    assert contexts[-1].run(current) is None
    assert contexts[-1].run(ask, "later") == "echo: later"
