"""once(), gather() and current()."""

from __future__ import annotations

import datetime
import itertools
import uuid

import httpx
import pytest
from django.http import HttpResponse, JsonResponse
from project.app.models import Note

from django_siding import current, gather, once


@pytest.fixture
def ask(provider):
    return lambda prompt: httpx.post(f"{provider.url}/ask", json={"prompt": prompt}).json()["text"]


def test_once_runs_once_in_an_exchange(siding, ask):
    sent = []

    def view(request):
        once("mail", lambda: sent.append("a mail"))
        identity = once("id", lambda: str(uuid.uuid4()))
        return HttpResponse(ask(identity) + ask(identity))

    answer = siding.post(view)
    assert answer.passes == 3
    assert sent == ["a mail"]
    assert "Siding-Drift" not in answer.headers


def test_once_again_in_a_later_pass_is_recorded_too(siding, ask):
    ran = []

    def view(request):
        ask("a")
        once("between", lambda: ran.append(1))
        ask("b")
        return HttpResponse()

    assert siding.post(view).passes == 3
    assert ran == [1]


def test_once_of_one_name_in_a_loop_keeps_its_values_apart(siding, ask):
    counter = itertools.count()

    def view(request):
        values = [once("n", lambda: next(counter)) for _ in range(3)]
        ask("x")
        return JsonResponse(values, safe=False)

    assert siding.post(view).json() == [0, 1, 2]


def test_once_returns_in_the_first_pass_what_it_returns_in_the_next(siding, ask):
    seen = []

    def view(request):
        seen.append(once("pair", lambda: (1, {"a": None})))
        ask("x")
        return HttpResponse()

    siding.post(view)
    assert seen == [[1, {"a": None}]] * 2


@pytest.mark.parametrize("value", [datetime.datetime(2026, 1, 1), object(), b"", float("nan")])
def test_once_says_what_it_cannot_record(siding, value):
    def view(request):
        try:
            once("mine", lambda: value)
        except TypeError as error:
            return HttpResponse(str(error))

    answer = siding.post(view)
    assert "once('mine') must return what JSON can hold" in answer.text
    assert type(value).__name__ in answer.text


def test_once_around_a_call_records_its_result(siding, ask):
    def view(request):
        text = once("answer", lambda: ask("a"))
        return HttpResponse(text + ask("b"))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: aecho: b", 3)


def test_once_without_an_exchange_just_runs():
    value = object()
    assert once("x", lambda: value) is value


def test_gather_hands_all_calls_over_at_once(siding, ask, provider):
    def view(request):
        return JsonResponse(gather(*[lambda p=p: ask(p) for p in "abc"]), safe=False)

    answer = siding.post(view)
    assert (answer.json(), answer.passes) == (["echo: a", "echo: b", "echo: c"], 2)
    assert [call["seq"] for call in answer.calls] == [0, 1, 2]


def test_gather_of_identical_calls_makes_each(siding, ask, provider):
    def view(request):
        return JsonResponse(gather(lambda: ask("x"), lambda: ask("x")), safe=False)

    assert siding.post(view).json() == ["echo: x", "echo: x"]
    assert len(provider.prompts) == 2


def test_gather_of_chains_takes_as_many_passes_as_the_longest(siding, ask):
    def chain(prompt):
        return ask(ask(prompt))

    def view(request):
        return JsonResponse(gather(lambda: chain("a"), lambda: ask("b"), lambda: 3), safe=False)

    answer = siding.post(view)
    assert (answer.json(), answer.passes) == (["echo: echo: a", "echo: b", 3], 3)


def test_gather_in_another_order_gives_each_its_own_answer(siding, ask):
    """A set has another order in another process."""
    passes = itertools.count()

    def view(request):
        prompts = "abc" if next(passes) == 0 else "cab"
        answers = gather(*[lambda p=p: ask(p) for p in prompts])
        return JsonResponse(dict(zip(prompts, answers, strict=True)))

    answer = siding.post(view)
    assert answer.json() == {p: f"echo: {p}" for p in "abc"}
    assert "Siding-Drift" not in answer.headers


def test_gather_of_more_than_the_proxy_takes_goes_in_parts(siding, ask):
    siding.proxy.max_calls = 2

    def view(request):
        return JsonResponse(gather(*[lambda p=p: ask(p) for p in "abcde"]), safe=False)

    answer = siding.post(view)
    assert answer.json() == [f"echo: {p}" for p in "abcde"]
    assert answer.passes == 4


def test_gather_in_gather(siding, ask):
    def view(request):
        inner = lambda: gather(lambda: ask("a"), lambda: ask("b"))  # noqa: E731
        return JsonResponse(gather(inner, lambda: ask("c")), safe=False)

    answer = siding.post(view)
    assert (answer.json(), answer.passes) == ([["echo: a", "echo: b"], "echo: c"], 2)


def test_gather_raises_the_first_failure_in_order_after_the_calls_before_it(siding, ask, provider):
    ran = []

    def fail():
        raise ValueError("second")

    def view(request):
        try:
            gather(lambda: ask("first"), fail, lambda: ran.append("third"))
        except ValueError as error:
            return HttpResponse(str(error))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("second", 2)
    assert provider.prompts == ["first"]
    assert ran == []


def test_gather_does_not_keep_rows_of_a_suspended_pass(siding, ask):
    def save(text):
        Note.objects.create(text=text)
        return ask(text)

    def view(request):
        return JsonResponse(gather(lambda: save("a"), lambda: save("b")), safe=False)

    siding.post(view)
    assert Note.objects.count() == 2


def test_gather_does_not_hide_a_swallowed_suspension(siding, ask, caplog):
    def careless():
        try:
            return ask("lost")
        except:
            return "lost"

    def view(request):
        return JsonResponse(gather(careless, lambda: ask("b")), safe=False)

    answer = siding.post(view)
    assert (answer.json(), answer.passes) == (["lost", "echo: b"], 1)
    assert "swallowed a suspension" in caplog.text


def test_gather_without_an_exchange_runs_one_after_the_other(siding, ask):
    siding.proxy.offering = False

    def view(request):
        return JsonResponse(gather(lambda: ask("a"), lambda: ask("b")), safe=False)

    assert siding.post(view).json() == ["echo: a", "echo: b"]
    assert gather() == []
    assert current() is None
