"""The application, by the name that its migrations have."""

from __future__ import annotations

from django.apps import AppConfig


class Shop(AppConfig):
    """Items."""

    name = "tests.support.shop"
    label = "shop"
