"""A streaming chat: tokens as they come, and the whole answer written at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import failure, providers
from chat.models import Conversation, Message
from chat.views.conversation import opened


class StreamView(APIView):
    """The OpenAI SDK with stream=True, passed on as server-sent events."""

    def post(self, request: Request) -> Response | StreamingHttpResponse:
        conversation = opened(request)
        try:
            chunks = providers.openai_client().chat.completions.create(
                model=providers.OPENAI_MODEL, messages=conversation.history(), stream=True
            )
        except failure.PROVIDER_FAILURES as error:
            return failure.answer(error)
        response = StreamingHttpResponse(events(conversation, chunks), content_type="text/event-stream")
        response["Cache-Control"] = "no-cache"
        response["X-Accel-Buffering"] = "no"
        return response


def events(conversation: Conversation, chunks) -> Iterator[str]:
    """One event a token; `done` or `error` at the end."""
    tokens = []
    try:
        for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta.content:
                    tokens.append(choice.delta.content)
                    yield event("token", {"text": choice.delta.content})
    except failure.PROVIDER_FAILURES as error:
        yield event("error", failure.answer(error).data)
        return
    message = conversation.say(Message.ASSISTANT, "".join(tokens))
    yield event("done", {"conversation": conversation.pk, "message": message.pk, "answer": message.text})


def event(name: str, data: dict) -> str:
    """Server-sent events' own grammar."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
