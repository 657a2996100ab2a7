from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class SidingConfig(AppConfig):
    name = "django_siding"
    verbose_name = "Siding"

    def ready(self) -> None:
        from . import throttle, transaction, transports, view
        from .checks import check_deployment, check_settings

        transports.install()
        view.install()
        transaction.install()
        throttle.install()
        checks.register(check_settings)
        checks.register(check_deployment, deploy=True)
