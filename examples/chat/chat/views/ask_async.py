"""The question again, for those who rewrite: the same view with async def, all the way down. Needs adrf."""

from __future__ import annotations

from adrf.views import APIView
from rest_framework.request import Request
from rest_framework.response import Response

from chat import completion, failure
from chat.models import Answer
from chat.serializers import PromptSerializer


class AskView(APIView):
    """The OpenAI SDK's async client and Django's async ORM."""

    authentication_classes = ()
    permission_classes = ()

    async def post(self, request: Request) -> Response:
        data = PromptSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        prompt = data.validated_data["prompt"]
        try:
            text = await completion.by_async_openai([{"role": "user", "content": prompt}])
        except Exception as error:
            return failure.answer(error)
        await Answer.objects.acreate(prompt=prompt, text=text)
        return Response({"answer": text})
