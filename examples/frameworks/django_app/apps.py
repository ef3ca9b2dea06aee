"""The application, by the name that its migrations have."""

from __future__ import annotations

from django.apps import AppConfig


class Shop(AppConfig):
    """Items and how many are left."""

    name = "examples.frameworks.django_app"
    label = "shop"
