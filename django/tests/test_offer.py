"""Offers that verify, and those that do not."""

from __future__ import annotations

import hashlib
import hmac
import io
import logging
import time

import httpx
import pytest
from django.http import HttpResponse, JsonResponse

OTHER = "another secret, also of 32 bytes"


@pytest.fixture
def view(provider):
    return lambda request: HttpResponse(
        httpx.post(f"{provider.url}/ask", json={"prompt": "hello"}).json()["text"]
    )


def is_ignored(siding, view, caplog) -> bool:
    """The view made its call itself and somebody was told why."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="django_siding"):
        answer = siding.post(view)
    assert (answer.status, answer.text) == (200, "echo: hello")
    return answer.passes == 1 and "the offer is ignored" in caplog.text


def meddle(name, value):
    def change(environ):
        environ[f"HTTP_SIDING_{name}"] = value

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIGNATURE", "t=1,v1=00"),
        ("SIGNATURE", "nonsense"),
        ("SIGNATURE", "t=x,v1=00"),
        ("SIGNATURE", ""),
        ("SIGNATURE", "t=\u00b2,v1=00"),
        ("ID", "0" * 32),
        ("ID", ""),
        ("PASS", "1"),
        ("PASS", "-1"),
        ("PASS", "9" * 30),
        ("TARGET", "/elsewhere"),
        ("TARGET", ""),
        ("TARGET", "/?a=1"),
        ("TARGET", "\u0100"),
        ("NOW_MS", "soon"),
        ("DEADLINE_MS", ""),
        ("ACCEPT", "v=2"),
        ("ACCEPT", 'v=1; modes="relay"; origins=""; max-calls=1; max-call-bytes=1'),
        ("ACCEPT", 'v=1; modes="replay"; origins=""; max-calls=some; max-call-bytes=1'),
        ("ACCEPT", ";;=;"),
    ],
)
def test_an_offer_that_was_changed_is_ignored(siding, view, caplog, name, value):
    siding.proxy.meddle = meddle(name, value)
    assert is_ignored(siding, view, caplog)


def test_a_path_forges_no_line_of_the_log(siding, view, caplog):
    """Django has decoded it: a client may put a line's end into it."""
    siding.proxy.meddle = lambda environ: environ.update(PATH_INFO="/a\nforged", HTTP_SIDING_ID="")
    assert is_ignored(siding, view, caplog)
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_a_wrong_secret_is_ignored(siding, view, caplog):
    siding.proxy.secret = OTHER
    assert is_ignored(siding, view, caplog)


def test_a_changed_body_is_ignored(siding, view, caplog):
    def change(environ):
        environ["wsgi.input"] = io.BytesIO(b"changed")
        environ["CONTENT_LENGTH"] = "7"

    siding.proxy.meddle = change
    assert is_ignored(siding, view, caplog)


@pytest.mark.parametrize("skew", [-61, 62, -3600])
def test_a_signature_from_another_time_is_ignored(siding, view, caplog, skew):
    def sign_then(environ):
        content = environ["wsgi.input"].getvalue()
        t = int(time.time()) + skew
        environ["HTTP_SIDING_SIGNATURE"] = siding.proxy.sign("p2a", environ, content, t)

    siding.proxy.meddle = sign_then
    assert is_ignored(siding, view, caplog)


@pytest.mark.parametrize("skew", [-55, 55])
def test_clocks_may_differ_a_little(siding, view, skew):
    def sign_then(environ):
        content = environ["wsgi.input"].getvalue()
        t = int(time.time()) + skew
        environ["HTTP_SIDING_SIGNATURE"] = siding.proxy.sign("p2a", environ, content, t)

    siding.proxy.meddle = sign_then
    assert siding.post(view).passes == 2


def test_a_signature_of_a_call_is_no_offer(siding, view, caplog):
    def sign_backwards(environ):
        content = environ["wsgi.input"].getvalue()
        environ["HTTP_SIDING_SIGNATURE"] = siding.proxy.sign("a2p", environ, content)

    siding.proxy.meddle = sign_backwards
    assert is_ignored(siding, view, caplog)


def test_any_of_several_signatures_may_match(siding, view):
    def add(environ):
        t, _, v1 = environ["HTTP_SIDING_SIGNATURE"].partition(",")
        environ["HTTP_SIDING_SIGNATURE"] = f"{t},v1={'0' * 64},{v1}"

    siding.proxy.meddle = add
    assert siding.post(view).passes == 2


def test_during_a_rotation_both_secrets_are_accepted(siding, view, settings):
    settings.SIDING = {"SECRET": [siding.proxy.secret, OTHER]}
    assert siding.post(view).passes == 2
    settings.SIDING = {"SECRET": [OTHER, siding.proxy.secret]}
    signed = []

    class Stop(Exception):
        pass

    def check(environ, status, headers, content):
        signed.append(headers["Siding-Signature"])
        raise Stop

    siding.proxy.checked = check
    with pytest.raises(Stop):
        siding.post(view)
    # The first of the two signs.
    [signature] = signed
    assert signature.startswith("t=")
    assert ",v1=" in signature


def test_the_first_secret_signs_calls(siding, view, settings):
    settings.SIDING = {"SECRET": [OTHER, siding.proxy.secret]}
    seen = {}

    def remember(environ):
        seen["environ"] = dict(environ)

    siding.proxy.meddle = remember

    def check(environ, status, headers, content):
        t, _, mac = headers["Siding-Signature"].partition(",v1=")
        lines = [
            *("v1", "a2p", environ["HTTP_SIDING_ID"], "0", t.removeprefix("t="), "POST", "/"),
            hashlib.sha256(content).hexdigest(),
        ]
        assert mac == hmac.new(OTHER.encode(), "\n".join(lines).encode(), "sha256").hexdigest()
        raise LookupError

    siding.proxy.checked = check
    with pytest.raises(LookupError):
        siding.post(view)


@pytest.mark.parametrize(
    "target",
    [
        "/api/chat/?a=%20b",
        "/a%2Fb/%C3%A4?q=%C3%A4&x",
        "/broken-%FF-utf8/",
        "//two//slashes",
        "/semi;colon",
        "/plus+sign?plus+sign",
        "/question?a?b",
    ],
)
def test_a_target_is_recognised_however_it_is_written(siding, view, target):
    assert siding.post(view, target=target).passes == 2


def test_a_query_that_was_changed_is_ignored(siding, view):
    siding.proxy.meddle = lambda environ: environ.update(QUERY_STRING="b=1")
    assert siding.post(view, target="/?a=1").passes == 1


def test_a_script_name_is_part_of_the_target(siding, view):
    def mount(environ):
        environ["SCRIPT_NAME"] = "/app"
        environ["PATH_INFO"] = "/x/"

    siding.proxy.meddle = mount
    assert siding.post(view, target="/app/x/").passes == 2


def test_a_forced_script_name_need_not_be_part_of_the_target(siding, view, settings):
    settings.FORCE_SCRIPT_NAME = "/app"
    assert siding.post(view, target="/x/").passes == 2


def test_without_a_secret_calls_are_made_in_line(siding, view, settings, monkeypatch, caplog):
    monkeypatch.delenv("SIDING_SECRET", raising=False)
    settings.SIDING = {}
    assert siding.post(view).passes == 1
    assert "no SIDING['SECRET']" in caplog.text


def test_the_secret_may_come_from_the_environment(siding, view, settings, monkeypatch):
    monkeypatch.setenv("SIDING_SECRET", siding.proxy.secret)
    del settings.SIDING
    assert siding.post(view).passes == 2


def test_when_disabled_calls_are_made_in_line(siding, view, settings):
    settings.SIDING = {**settings.SIDING, "ENABLED": False}
    assert siding.post(view).passes == 1


def test_a_head_request_calls_in_line(siding, view):
    assert siding.request(view, "HEAD").passes == 1


def test_a_resume_that_does_not_verify_is_refused_and_never_reaches_the_view(siding, view):
    """Nobody vouches for where the body begins."""
    ran = []

    def counting(request):
        ran.append(1)
        return view(request)

    def tamper(environ):
        if environ["HTTP_SIDING_PASS"] == "1":
            content = environ["wsgi.input"].getvalue().replace(b"echo", b"evil")
            environ["wsgi.input"] = io.BytesIO(content)

    siding.proxy.meddle = tamper
    answer = siding.post(counting)
    assert (answer.status, answer.passes) == (400, 2)
    assert ran == [1]


@pytest.mark.parametrize(
    "journal",
    [
        b"not json",
        b"{}",
        b"[]",
        b'{"v": 2, "entries": []}',
        b'{"v": 1, "entries": [1]}',
        b'{"v": 1, "entries": [{"kind": "other"}]}',
        b'{"v": 1, "entries": [{"kind": "value", "name": 1, "value": 1}]}',
        b'{"v": 1, "entries": [{"kind": "result", "name": "a", "digest": "b"}]}',
        b'{"v": 1, "entries": [{"kind": "error", "name": "a#0", "digest": "b", "error": "x"}]}',
        b"\xff",
    ],
)
def test_a_signed_journal_that_is_none_is_a_500_that_says_so(siding, view, caplog, journal):
    def replace(environ):
        if environ["HTTP_SIDING_PASS"] == "1":
            environ["wsgi.input"] = io.BytesIO(journal)
            environ["CONTENT_LENGTH"] = environ["HTTP_SIDING_JOURNAL_LENGTH"] = str(len(journal))
            environ["HTTP_SIDING_SIGNATURE"] = siding.proxy.sign("p2a", environ, journal)

    siding.proxy.meddle = replace
    assert siding.get(view).status == 500
    assert "the journal of a verified offer" in caplog.text


def test_a_journal_longer_than_the_content_is_refused(siding, view):
    def lengthen(environ):
        if environ["HTTP_SIDING_PASS"] == "1":
            environ["HTTP_SIDING_JOURNAL_LENGTH"] = "999999"

    siding.proxy.meddle = lengthen
    assert siding.get(view).status == 400


def test_a_view_sees_the_same_exchange_in_each_pass(siding, provider):
    from django_siding import current

    seen = []

    def view(request):
        seen.append(current())
        httpx.get(f"{provider.url}/ask")
        return JsonResponse({})

    siding.get(view)
    first, second = seen
    assert (first.pass_number, second.pass_number) == (0, 1)
    assert (first.id, first.now, first.deadline) == (second.id, second.now, second.deadline)
    assert first.now.tzinfo is not None
    assert (first.deadline - first.now).total_seconds() == 600
    assert current() is None
