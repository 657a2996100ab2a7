"""The benchmark's views under the same paths as in the sync project."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from chat.views.ask_async import AskView


async def fast(request: HttpRequest) -> HttpResponse:
    """As little work as a view can do."""
    return JsonResponse({"ok": True})


urlpatterns = [path("api/ask/", AskView.as_view()), path("api/fast/", fast)]
