"""Everything for clients is under /api/; what Siding asks is apart."""

from chat.views.authorize import AuthorizeView
from django.urls import include, path

urlpatterns = [path("api/", include("chat.urls")), path("internal/llm-auth/", AuthorizeView.as_view())]
