"""What clients send and see."""

from rest_framework import serializers

from chat.models import Message


class PromptSerializer(serializers.Serializer):
    """A prompt, in a new conversation or in one of the user's own."""

    prompt = serializers.CharField(trim_whitespace=False)
    conversation = serializers.IntegerField(required=False)


class RelaySerializer(serializers.Serializer):
    """How an answer is streamed to the client."""

    format = serializers.ChoiceField(["provider", "text", "ui-message-stream"], default="provider")
    on_disconnect = serializers.ChoiceField(["cancel", "finish"], default="cancel")


class ChainSerializer(serializers.Serializer):
    """A prompt, and words to add to the second and third step's."""

    prompt = serializers.CharField(trim_whitespace=False)
    then = serializers.ListField(child=serializers.CharField(allow_blank=True), max_length=2, default=list)


class MessageSerializer(serializers.ModelSerializer):
    """One turn of a conversation."""

    class Meta:
        model = Message
        fields = ("id", "conversation", "role", "text", "written")
