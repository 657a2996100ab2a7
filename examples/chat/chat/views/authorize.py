"""Whether a user may call a model directly, on a route that Siding answers from a provider."""

from __future__ import annotations

import os

from django.http import HttpResponse
from rest_framework.authentication import TokenAuthentication
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

try:
    from django_siding import authorization
except ImportError:  # without the package, and so without Siding, nobody asks

    def authorization(**allowed):
        return HttpResponse(status=204)


class BearerAuthentication(TokenAuthentication):
    """The same tokens, as the vendors' SDKs send their key."""

    keyword = "Bearer"


class CallThrottle(UserRateThrottle):
    """Calls of a user, whatever they cost."""

    scope = "llm"
    rate = os.environ.get("LLM_RATE", "600/min")


class AuthorizeView(APIView):
    """Small models for everybody, three calls at once, each answer for whoever asked."""

    authentication_classes = (BearerAuthentication, TokenAuthentication)
    throttle_classes = (CallThrottle,)

    def get(self, request: Request) -> HttpResponse:
        return authorization(
            scope="user",
            user=request.user.get_username(),
            models=["gpt-4.1-mini*", "claude-*", "gemini-*-flash"],
            max_output_tokens=4096,
            max_concurrent=3,
        )
