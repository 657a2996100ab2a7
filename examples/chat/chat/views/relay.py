"""Chats whose tokens the proxy streams: the view hands its call over, and saves the answer when it has been given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import completion, failure
from chat.models import Message
from chat.serializers import RelaySerializer
from chat.views.conversation import opened

try:
    from django_siding import relay
except ImportError:  # there is no other way to stream in these formats
    relay = None


class RelayView(APIView):
    """Without Siding in front the worker streams the same bytes itself."""

    stream: Callable[[completion.Messages], Any]

    def post(self, request: Request) -> HttpResponseBase:
        if relay is None:
            return Response({"error": "this needs the package django-siding"}, status=501)
        how = RelaySerializer(data=request.data)
        how.is_valid(raise_exception=True)
        conversation = opened(request)
        history = conversation.history()

        def save(answer) -> None:
            # What the user has seen is kept, also of an answer that broke off.
            if answer.text:
                conversation.say(Message.ASSISTANT, answer.text)

        try:
            return relay(lambda: type(self).stream(history), on_complete=save, **how.validated_data)
        except failure.PROVIDER_FAILURES as error:
            return failure.answer(error)


class OpenAIRelayView(RelayView):
    """The OpenAI SDK."""

    stream = completion.stream_by_openai


class AnthropicRelayView(RelayView):
    """The Anthropic SDK."""

    stream = completion.stream_by_anthropic


class GeminiRelayView(RelayView):
    """The Google GenAI SDK."""

    stream = completion.stream_by_gemini
