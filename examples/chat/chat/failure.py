"""A provider's failure as an answer to our own client: 502 with the provider's status, or 504."""

from __future__ import annotations

import json

import anthropic
import httpx
import openai
import requests
from google.genai import errors as gemini
from rest_framework.response import Response

try:
    import httpx2
except ImportError:  # only the newer SDKs bring it
    httpx2 = httpx

TIMEOUTS = (
    openai.APITimeoutError,
    anthropic.APITimeoutError,
    httpx.TimeoutException,
    httpx2.TimeoutException,
    requests.Timeout,
)
STATUSES = (
    openai.APIStatusError,
    anthropic.APIStatusError,
    gemini.APIError,
    httpx.HTTPStatusError,
    httpx2.HTTPStatusError,
    requests.HTTPError,
)
UNREACHABLE = (
    openai.APIConnectionError,
    anthropic.APIConnectionError,
    httpx.TransportError,
    httpx2.TransportError,
    requests.RequestException,
)
# The SDKs let it through when an answer is not JSON.
NONSENSE = (json.JSONDecodeError,)
PROVIDER_FAILURES = (*TIMEOUTS, *STATUSES, *NONSENSE, *UNREACHABLE)


def answer(error: Exception) -> Response:
    """What the client is told. Order matters: a time-out, and in requests bad JSON, is also a connection error."""
    if isinstance(error, TIMEOUTS):
        return Response({"error": "the model did not answer in time"}, status=504)
    if isinstance(error, STATUSES):
        return Response({"error": "the model refused", "provider_status": provider_status(error)}, status=502)
    if isinstance(error, UNREACHABLE) and not isinstance(error, NONSENSE):
        return Response({"error": "the model cannot be reached"}, status=502)
    return Response({"error": "the model's answer makes no sense"}, status=502)


def provider_status(error: Exception) -> int | None:
    """Each library keeps it elsewhere."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status
    return None
