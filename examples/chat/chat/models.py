"""What is kept: conversations and what was said in them."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Conversation(models.Model):
    """An exchange of messages between a user and a model."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    started = models.DateTimeField(auto_now_add=True)

    def say(self, role: str, text: str) -> Message:
        """Writes one message."""
        return self.messages.create(role=role, text=text)

    def history(self) -> list[dict[str, str]]:
        """The messages so far, as the OpenAI and Anthropic APIs take them."""
        return [{"role": message.role, "content": message.text} for message in self.messages.order_by("pk")]


class Message(models.Model):
    """One turn."""

    USER = "user"
    ASSISTANT = "assistant"

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=16, choices=[(USER, "user"), (ASSISTANT, "assistant")])
    text = models.TextField()
    written = models.DateTimeField(auto_now_add=True)


class Answer(models.Model):
    """A question without a conversation, and what the model said."""

    prompt = models.TextField()
    text = models.TextField()
    given = models.DateTimeField(auto_now_add=True)
