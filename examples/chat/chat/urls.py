"""The API."""

from django.urls import path

from chat.views import ask, compare, conversation, heads, plain, relay, stream

urlpatterns = [
    path("chat/", conversation.OpenAIView.as_view()),
    path("chat/anthropic/", conversation.AnthropicView.as_view()),
    path("chat/gemini/", conversation.GeminiView.as_view()),
    path("chat/requests/", conversation.RequestsView.as_view()),
    path("chat/httpx/", conversation.HttpxView.as_view()),
    path("chat/chain/", conversation.ChainView.as_view()),
    path("chat/compare/", compare.CompareView.as_view()),
    path("chat/stream/", stream.StreamView.as_view()),
    path("relay/", relay.OpenAIRelayView.as_view()),
    path("relay/anthropic/", relay.AnthropicRelayView.as_view()),
    path("relay/gemini/", relay.GeminiRelayView.as_view()),
    path("ask/", ask.AskView.as_view()),
    path("ask/unsaved/", ask.UnsavedView.as_view()),
    path("ask/own-client/", ask.OwnClientView.as_view()),
    path("messages/", conversation.MessagesView.as_view()),
    path("fast/", plain.fast),
    path("worker/", plain.worker),
    path("upload/", plain.upload),
    path("download/", plain.download),
    path("early/", plain.early),
    path("echo/", plain.echo),
    path("echo/<path:rest>", plain.echo),
    path("status/<int:code>/", heads.status),
    path("headers/", heads.headers),
]
