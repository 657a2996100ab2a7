"""What a view says when it is asked whether a call may be made."""

import json

import pytest
from django.http import HttpResponse

from django_siding import authorization


def said(**options):
    return json.loads(authorization(**options)["Siding-Authorization"])


def test_a_view_that_says_nothing_more_allows_everything():
    response = authorization()
    assert isinstance(response, HttpResponse)
    assert (response.status_code, response.content) == (204, b"")
    assert response["Siding-Authorization"] == "{}"
    assert said(user=None, models=None, tags=[]) == {}


def test_a_view_says_what_it_allows():
    everything = {
        "scope": "tenant:7",
        "user": "someone",
        "models": ["gpt-4o*", "ft:o3:a::b", "meta/llama-3.1@x"],
        "max_output_tokens": 4096,
        "max_concurrent": 3,
        "tags": ["reports"],
    }
    assert said(**everything) == everything
    assert said(models=iter(["a"]), tags=("t", "t")) == {"models": ["a"], "tags": ["t"]}


def test_no_model_at_all_is_not_every_model():
    assert said(models=[]) == {"models": []}


def test_the_header_is_plain_ascii_whatever_the_users_name_is():
    header = authorization(user="Jürgen \N{SNOWMAN} 7")["Siding-Authorization"]
    assert header.isascii()
    assert json.loads(header) == {"user": "Jürgen \N{SNOWMAN} 7"}


def test_a_view_may_set_cookies_and_headers_for_the_client():
    response = authorization()
    response.set_cookie("seen", "1")
    response["Access-Control-Allow-Origin"] = "https://page.example"
    assert response.cookies["seen"].value == "1"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scope": 7}, TypeError, "scope must be"),
        ({"scope": "User"}, ValueError, 'must be "user" in lower case'),
        ({"user": 7}, TypeError, "such as str(request.user.pk), not 7"),
        ({"user": ""}, ValueError, "1 to 128 bytes"),
        ({"user": "ü" * 65}, ValueError, "1 to 128 bytes"),
        ({"user": "a\nb"}, ValueError, "without control characters"),
        ({"user": "\ud800"}, ValueError, "without control characters"),
        ({"models": "gpt-4o"}, TypeError, "such as models=[\"gpt-4o*\"], not 'gpt-4o'"),
        ({"models": 3}, TypeError, "models must be a list"),
        ({"models": [3]}, TypeError, "a model must be a string"),
        ({"models": [""]}, ValueError, "a model must be 1 to 256"),
        ({"models": ["größer"]}, ValueError, "ASCII"),
        ({"models": ["gpt 4"]}, ValueError, "without spaces"),
        ({"models": ["gpt-[4"]}, ValueError, "brackets"),
        ({"models": ["{a"]}, ValueError, "braces"),
        ({"models": ["x" * 257]}, ValueError, "1 to 256"),
        ({"models": ["m"] * 65}, ValueError, "at most 64 models, not 65"),
        ({"max_output_tokens": 0}, ValueError, "must be from 1"),
        ({"max_output_tokens": 1.5}, TypeError, "must be a whole number, not 1.5"),
        ({"max_output_tokens": True}, TypeError, "must be a whole number"),
        ({"max_output_tokens": 2**64}, ValueError, "must be from 1"),
        ({"user": "a", "max_concurrent": 0}, ValueError, "max_concurrent must be from 1"),
        ({"user": "a", "max_concurrent": 2**32}, ValueError, "must be from 1"),
        ({"max_concurrent": 1}, ValueError, "max_concurrent needs user"),
        ({"tags": "reports"}, TypeError, "tags must be a list"),
        ({"tags": ["a b"]}, ValueError, "a tag must be"),
    ],
)
def test_what_the_proxy_would_not_understand_is_refused_at_once(options, error, message):
    with pytest.raises(error) as raised:
        authorization(**options)
    assert message in str(raised.value)


def test_values_have_names_only():
    with pytest.raises(TypeError, match="positional"):
        authorization("user")
