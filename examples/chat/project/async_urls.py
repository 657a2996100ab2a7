"""The benchmark's views under the same paths as in the sync project."""

from chat.views.ask_async import AskView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path


async def fast(request: HttpRequest) -> HttpResponse:
    """As little work as a view can do."""
    return JsonResponse({"ok": True})


urlpatterns = [path("api/ask/", AskView.as_view()), path("api/fast/", fast)]
