"""The same settings with other views, so that sync servers do not import what only async ones need."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "project.async_urls"
