"""One question to three models at once."""

from __future__ import annotations

from functools import partial

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import completion, failure
from chat.views.conversation import asking, closed, opened

try:
    from django_siding import gather
except ImportError:  # without the package, one after the other

    def gather(*functions):
        return [function() for function in functions]


MODELS = {"openai": completion.by_openai, "anthropic": completion.by_anthropic, "gemini": completion.by_gemini}


class CompareView(APIView):
    """Behind Siding the three calls are made together, in one pass; elsewhere one after the other."""

    def post(self, request: Request) -> Response:
        conversation = opened(request)
        prompt = request.data["prompt"]
        try:
            answers = gather(*(partial(ask, asking(prompt)) for ask in MODELS.values()))
        except failure.PROVIDER_FAILURES as error:
            return failure.answer(error)
        response = closed(conversation, "\n".join(answers))
        response.data["answers"] = dict(zip(MODELS, answers, strict=True))
        return response
