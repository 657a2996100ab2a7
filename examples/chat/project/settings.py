"""Settings of the chat project. What differs between machines comes from the environment."""

import importlib.util
import os
from pathlib import Path

from project.database import database

BASE_DIR = Path(__file__).resolve().parent.parent

# For demos and tests only: this project holds nothing worth protecting.
SECRET_KEY = os.environ.get("SECRET_KEY", "not-secret-this-is-an-example-project")
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "rest_framework.authtoken",
    "chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

# With Siding in front. Without the package or the secret, views make their calls themselves.
if importlib.util.find_spec("django_siding") and os.environ.get("SIDING_SECRET"):
    INSTALLED_APPS += ["django_siding"]
    MIDDLEWARE = ["django_siding.middleware.SidingMiddleware", *MIDDLEWARE]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DATABASES = {"default": database(os.environ.get("DATABASE_URL") or f"sqlite://{BASE_DIR / 'db.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "WARNING")},
}
