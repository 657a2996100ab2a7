"""Chats: the user's message is written before the model is called, its answer after."""

from __future__ import annotations

from collections.abc import Callable

from django.shortcuts import get_object_or_404
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import completion, failure
from chat.models import Conversation, Message
from chat.serializers import ChainSerializer, MessageSerializer, PromptSerializer


def opened(request: Request) -> Conversation:
    """The conversation that the request continues or begins, with the user's message in it."""
    data = PromptSerializer(data=request.data)
    data.is_valid(raise_exception=True)
    number = data.validated_data.get("conversation")
    if number is None:
        conversation = Conversation.objects.create(user=request.user)
    else:
        conversation = get_object_or_404(Conversation, pk=number, user=request.user)
    conversation.say(Message.USER, data.validated_data["prompt"])
    return conversation


def closed(conversation: Conversation, answer: str) -> Response:
    """Writes the model's message and shows it."""
    message = conversation.say(Message.ASSISTANT, answer)
    return Response({"conversation": conversation.pk, "message": message.pk, "answer": answer})


class OpenAIView(APIView):
    """The OpenAI SDK, with the catch-all that most code has."""

    def post(self, request: Request) -> Response:
        conversation = opened(request)
        try:
            answer = completion.by_openai(conversation.history())
        except Exception as error:
            return failure.answer(error)
        return closed(conversation, answer)


class CompletionView(APIView):
    """Any other way to call a model, with the errors named."""

    complete: Callable[[completion.Messages], str]

    def post(self, request: Request) -> Response:
        conversation = opened(request)
        try:
            answer = type(self).complete(conversation.history())
        except failure.PROVIDER_FAILURES as error:
            return failure.answer(error)
        return closed(conversation, answer)


class AnthropicView(CompletionView):
    """The Anthropic SDK."""

    complete = completion.by_anthropic


class GeminiView(CompletionView):
    """The Google GenAI SDK."""

    complete = completion.by_gemini


class RequestsView(CompletionView):
    """requests."""

    complete = completion.by_requests


class HttpxView(CompletionView):
    """httpx."""

    complete = completion.by_httpx


class ChainView(APIView):
    """Three models in turn; each is asked about the former's answer."""

    def post(self, request: Request) -> Response:
        data = ChainSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        prompt, added = data.validated_data["prompt"], [*data.validated_data["then"], "", ""]
        conversation = Conversation.objects.create(user=request.user)
        conversation.say(Message.USER, prompt)
        try:
            draft = completion.by_openai(asking(prompt))
            review = completion.by_anthropic(asking(f"{added[0]}Review: {draft}"))
            answer = completion.by_gemini(asking(f"{added[1]}Conclude: {review}"))
        except failure.PROVIDER_FAILURES as error:
            return failure.answer(error)
        response = closed(conversation, answer)
        response.data["steps"] = [draft, review, answer]
        return response


def asking(prompt: str) -> completion.Messages:
    """A conversation of one message."""
    return [{"role": "user", "content": prompt}]


class MessagesView(ListAPIView):
    """The user's last messages, newest first."""

    serializer_class = MessageSerializer

    def get_queryset(self):
        return Message.objects.filter(conversation__user=self.request.user).order_by("-pk")[:100]
