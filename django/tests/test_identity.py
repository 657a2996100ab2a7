"""Which recorded result belongs to which call."""

from __future__ import annotations

import itertools
import logging

import httpx
import pytest
from django.http import HttpResponse

import django_siding.callsite
from django_siding.callsite import APP, BOUNDARY, CLIENT, LIBRARY, _classify
from django_siding.digest import digest


@pytest.fixture
def ask(provider):
    def ask(prompt, **more):
        return httpx.post(f"{provider.url}/ask", json={"prompt": prompt, **more}).json()["text"]

    return ask


def test_a_prompt_that_varies_is_answered_and_counted_as_drift(siding, ask, caplog):
    clock = itertools.count()

    def view(request):
        return HttpResponse(ask(f"it is {next(clock)}"))

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: it is 0", 2)
    assert answer.headers["Siding-Drift"] == "1"
    assert "Siding-Unconsumed" not in answer.headers
    assert siding.post(view).headers["Siding-Drift"] == "1"
    assert caplog.text.count("the request differs between passes") == 1


def test_where_strict_is_set_drift_is_a_500(siding, ask, settings, caplog):
    settings.SIDING = {**settings.SIDING, "STRICT": True}
    clock = itertools.count()

    def view(request):
        try:
            return HttpResponse(ask(f"it is {next(clock)}"))
        except Exception:
            return HttpResponse("handled")

    answer = siding.post(view)
    assert (answer.status, answer.passes) == (500, 2)
    assert "asked for something else in this pass" in caplog.text


def test_where_strict_is_set_a_bare_except_does_not_hide_drift(siding, ask, settings):
    settings.SIDING = {**settings.SIDING, "STRICT": True}
    passes = itertools.count()

    def view(request):
        number = next(passes)
        try:
            return HttpResponse(ask(f"this is pass {number}"))
        except:
            if number == 0:
                raise
            return HttpResponse("hidden")

    assert siding.post(view).status == 500


def test_where_strict_is_set_a_steady_view_is_answered(siding, ask, settings):
    settings.SIDING = {**settings.SIDING, "STRICT": True}
    assert siding.post(lambda request: HttpResponse(ask("steady"))).text == "echo: steady"


def test_the_order_of_keys_does_not_matter(siding, ask):
    orders = iter([{"a": 1, "b": 2}, {"b": 2, "a": 1}])
    answer = siding.post(lambda request: HttpResponse(ask("x", **next(orders))))
    assert "Siding-Drift" not in answer.headers


def test_calls_of_one_place_are_matched_by_what_they_ask(siding, ask):
    """The order changes, the answers do not."""
    passes = itertools.count()

    def view(request):
        prompts = ["a", "b"] if next(passes) < 2 else ["b", "a"]
        answers = {prompt: ask(prompt) for prompt in prompts}
        return HttpResponse(f"{answers['a']}, {answers['b']}")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: a, echo: b", 3)
    assert "Siding-Drift" not in answer.headers


def test_a_view_that_takes_another_path_costs_a_call_and_never_gets_a_wrong_answer(
    siding, provider
):
    passes = itertools.count()

    def view(request):
        if next(passes) == 0:
            r = httpx.post(f"{provider.url}/ask", json={"prompt": "first path"})
        else:
            r = httpx.post(f"{provider.url}/ask", json={"prompt": "other path"})
        return HttpResponse(r.json()["text"])

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("echo: other path", 3)
    assert answer.headers["Siding-Unconsumed"] == "1"
    assert provider.prompts == ["first path", "other path"]


def test_a_step_that_is_skipped_later_does_not_give_its_answer_to_the_next(siding, ask):
    """Both go through one function, as in most apps."""
    passes = itertools.count()

    def view(request):
        summary = "cached" if next(passes) else ask("summarise")
        title = ask("find a title")
        return HttpResponse(f"{summary}, {title}")

    answer = siding.post(view)
    assert (answer.text, answer.passes) == ("cached, echo: find a title", 3)
    assert answer.headers["Siding-Unconsumed"] == "1"


def test_an_answer_that_used_everything_reports_nothing_but_its_route(siding, ask):
    headers = siding.post(lambda request: HttpResponse(ask("x"))).headers
    assert [name for name in headers if name.lower().startswith("siding-")] == ["Siding-Route"]
    assert headers["Siding-Route"].startswith("/")


def test_a_failed_call_in_a_loop_does_not_stop_the_next_item(siding, ask):
    """The SDK's own attempts between them do not shift the order."""
    siding.proxy.outcome = lambda call: (
        {"kind": "error", "error": "connect", "message": ""} if '"bad"' in call["body"] else None
    )

    def view(request):
        answers = []
        for prompt in ["good", "bad", "better"]:
            for _attempt in range(3):
                try:
                    answers.append(ask(prompt))
                    break
                except httpx.ConnectError:
                    pass
        return HttpResponse(", ".join(answers))

    answer = siding.post(view)
    assert answer.text == "echo: good, echo: better"
    assert len(answer.calls) == 3


def test_a_call_from_a_comprehension_or_lambda_has_a_place_too(siding, ask, caplog):
    with caplog.at_level(logging.WARNING):
        answer = siding.post(lambda request: HttpResponse(",".join(ask(p) for p in "ab")))
    assert answer.text == "echo: a,echo: b"
    assert len({call["name"] for call in answer.calls}) == 2


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("/srv/app/views.py", APP),
        ("/srv/app/my-packages/views.py", APP),
        ("/srv/app/.venv/lib/python3.13/site-packages/langchain/llm.py", LIBRARY),
        ("/srv/app/.venv/lib/python3.13/site-packages/httpx/_client.py", CLIENT),
        ("/usr/lib/python3/dist-packages/google/genai/models.py", CLIENT),
        ("/usr/lib/python3/dist-packages/six.py", LIBRARY),
        ("/v/lib/python3.13/site-packages/django/core/handlers/base.py", BOUNDARY),
        (logging.__file__, CLIENT),
        (django_siding.callsite.__file__, CLIENT),
        ("<frozen importlib._bootstrap>", LIBRARY),
        ("<string>", LIBRARY),
    ],
)
def test_files_are_told_apart(filename, kind):
    assert _classify(filename) == kind


def installed_app(source: str) -> dict:
    """An app whose file is among the installed packages."""
    namespace: dict = {"__name__": "shop.views"}
    exec(compile(source, "/v/lib/python3/site-packages/shop/views.py", "exec"), namespace)
    return namespace


def test_an_app_that_is_itself_installed_has_call_sites(siding, provider):
    app = installed_app(
        "import httpx\n"
        "from django.http import HttpResponse\n"
        "def view(request):\n"
        f"    return HttpResponse(httpx.post('{provider.url}/ask', json={{}}).text)\n"
    )
    [call] = siding.post(app["view"]).calls
    assert call["name"] == "shop.views:view:4#0"


def test_a_digest_covers_method_url_and_body_each_for_itself():
    digests = {
        digest("GET", "http://a/", "", b""),
        digest("POST", "http://a/", "", b""),
        digest("GET", "http://a/b", "", b""),
        digest("GET", "http://a/", "", b"b"),
        digest("GE", "Thttp://a/", "", b""),
    }
    assert len(digests) == 5


def test_a_digest_sorts_json_and_leaves_other_text():
    def json(body):
        return digest("POST", "u", "application/json; charset=utf-8", body)

    assert json(b'{"a": [1, {"c": 2, "b": 1}]}') == json(b'{"a":[1,{"b":1,"c":2}]}')
    assert json(b'{"a": [1, 2]}') != json(b'{"a": [2, 1]}')
    assert json(b'{"a": "1"}') != json(b'{"a": 1}')
    assert json(b'{"a": 12345678901234567890}') != json(b'{"a": 12345678901234567891}')
    assert json(b"{broken") != json(b"{ broken")
    assert digest("POST", "u", "text/plain", b'{"a": 1}') != digest(
        "POST", "u", "text/plain", b'{"a":1}'
    )


def test_a_digest_does_not_depend_on_the_boundary():
    def form(boundary):
        body = b"--B\r\n\r\nx\r\n--B--\r\n".replace(b"B", boundary.encode())
        return digest("POST", "u", f'multipart/form-data; boundary="{boundary}"', body)

    assert form("one") == form("other")
