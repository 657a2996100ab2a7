"""The ASGI application: the few views that there are as async def."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.async_settings")
application = get_asgi_application()
