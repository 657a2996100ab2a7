"""The app that talks to LLMs."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """The app's name, which is also the label of its tables."""

    name = "chat"
