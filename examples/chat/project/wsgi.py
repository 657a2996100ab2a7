"""The WSGI application."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_wsgi_application()
# Views, and the SDKs that they use, are imported now: otherwise the first request would wait for seconds.
get_resolver().url_patterns  # noqa: B018
