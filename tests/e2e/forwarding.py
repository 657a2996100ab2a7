"""A Django app that hands on what it is asked: /<provider>/<path> is <path> at the provider, called by its views with
httpx. Streams are relayed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import httpx
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django_siding import relay

# What the providers read of a request, and what the SDKs read of an answer.
ASKED = ("authorization", "x-api-key", "x-goog-api-key", "content-type", "anthropic-version", "anthropic-beta")
ANSWERED = ("content-type", "request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry")

settings.configure(
    SECRET_KEY="nothing here is signed with it",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django_siding"],
    MIDDLEWARE=["django_siding.middleware.SidingMiddleware"],
    SIDING={"SECRET": os.environ["SIDING_SECRET"]},
)
client = httpx.Client(base_url=os.environ["LLM_URL"], timeout=60)


def forward(request: HttpRequest, provider: str, rest: str) -> HttpResponseBase:
    """What the provider answers."""
    query = request.META["QUERY_STRING"]
    asked = client.build_request(
        request.method or "",
        f"/{rest}?{query}" if query else f"/{rest}",
        headers=chosen(request.headers, ASKED),
        content=request.body,
    )
    if not (rest.endswith(":streamGenerateContent") or json.loads(request.body).get("stream")):
        return handed_on(client.send(asked))
    try:
        return relay(lambda: client.send(asked, stream=True), format="provider")
    except httpx.HTTPStatusError as refused:
        return handed_on(refused.response)


def handed_on(answer: httpx.Response) -> HttpResponse:
    """An answer that came whole."""
    return HttpResponse(answer.content, status=answer.status_code, headers=chosen(answer.headers, ANSWERED))


def chosen(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """Those of the headers that are there."""
    return {name: headers[name] for name in names if name in headers}


def ready(request: HttpRequest) -> HttpResponse:
    """For whoever starts the app."""
    return HttpResponse()


urlpatterns = [path("", ready), path("<provider>/<path:rest>", forward)]
application = get_wsgi_application()
