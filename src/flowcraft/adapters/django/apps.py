"""The application that INSTALLED_APPS takes."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register

from flowcraft.adapters.django.checks import check_database, check_migrations


class Flowcraft(AppConfig):
    """FlowCraft Realtime in a Django project. It has no models: its tables are in the schema `flowcraft`."""

    name = "flowcraft.adapters.django"
    label = "flowcraft"
    verbose_name = "FlowCraft Realtime"

    def ready(self) -> None:
        register(check_migrations, Tags.models)
        register(check_database, Tags.database)
