"""Django in the process of the tests: one project, whose database is that of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from psycopg.conninfo import conninfo_to_dict


def configure() -> None:
    """Set the project up, once in a process."""
    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["flowcraft.adapters.django", "tests.support.shop.apps.Shop"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
            FLOWCRAFT_CHANNELS="",
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            USE_TZ=True,
        )
        django.setup()


@contextmanager
def connected_to(dsn: str) -> Iterator[None]:
    """Have Django use a database in this thread, and leave it."""
    _name(dsn)
    try:
        yield
    finally:
        _leave()


@asynccontextmanager
async def connected_in_its_thread(dsn: str) -> AsyncIterator[None]:
    """The same for a coroutine, whose Django is in another thread."""
    _name(dsn)
    try:
        yield
    finally:
        await sync_to_async(_leave)()


def _name(dsn: str) -> None:
    configure()
    parts = conninfo_to_dict(dsn)
    known = cast(dict[str, dict[str, Any]], cast(Any, connections).settings)
    known["default"].update(NAME=parts["dbname"], USER=parts["user"], HOST=parts["host"])


def _leave() -> None:
    connections["default"].close()
    del connections["default"]
