"""Questions: the view that the benchmark asks. It is what most views that call a model are: check the input, call,
write one row, answer."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import completion, failure, providers
from chat.models import Answer
from chat.serializers import PromptSerializer


class AskView(APIView):
    """The OpenAI SDK with a client that the process shares."""

    authentication_classes = ()
    permission_classes = ()
    saves = True

    def post(self, request: Request) -> Response:
        data = PromptSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        prompt = data.validated_data["prompt"]
        try:
            text = self.complete([{"role": "user", "content": prompt}])
        except Exception as error:
            return failure.answer(error)
        if self.saves:
            Answer.objects.create(prompt=prompt, text=text)
        return Response({"answer": text})

    def complete(self, messages: completion.Messages) -> str:
        """Calls the model."""
        return completion.by_openai(messages)


class UnsavedView(AskView):
    """Without a row."""

    saves = False


class OwnClientView(AskView):
    """Makes its client anew for each request, as many views do."""

    def complete(self, messages: completion.Messages) -> str:
        with providers.new_openai_client() as client:
            return completion.by_openai(messages, client)
