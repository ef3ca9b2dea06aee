"""A process with Django: print what clients with and without its session receive."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
from django.conf import settings
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from flowcraft.settings import Settings
from tests.support.carriers import dedicated
from tests.support.page_examples import example

ORIGIN = "https://app.example.com"


def set_up(database: str) -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        SECRET_KEY="only for this test",
        USE_TZ=True,
    )
    django.setup()


async def first_answer(address: str, key: str, origin: str) -> Any:
    cookie = f"{settings.SESSION_COOKIE_NAME}={key}"
    async with connect(address, additional_headers={"Cookie": cookie, "Origin": origin}) as client:
        await client.recv()
        await client.send('{"subscribe":["private.1"]}')
        try:
            await client.recv()
            return json.loads(await client.recv())["subscribed"]
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


def log_in() -> tuple[Any, Any]:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    client = Client()
    user = User.objects.create_user("ann", password="first")
    client.force_login(user)
    return client, user


async def main() -> None:
    page, user = await asyncio.to_thread(log_in)
    key = page.cookies[settings.SESSION_COOKIE_NAME].value
    quick = Settings(drain_seconds=0.01, auth_timeout_seconds=0.3, allowed_origins=(ORIGIN,), any_origin=True)
    authorizer = example("guides/security.md", "django_sessions.py").DjangoSessions()
    async with dedicated(quick, authorizer) as stage:
        found = {
            "signed in": await first_answer(stage.address, key, ORIGIN),
            "another key": await first_answer(stage.address, "x" * 32, ORIGIN),
            "another page": await first_answer(stage.address, key, "https://evil.example"),
        }
        user.set_password("second")
        await user.asave()
        found["another password"] = await first_answer(stage.address, key, ORIGIN)
    print(json.dumps(found))


if __name__ == "__main__":
    set_up(sys.argv[1])
    asyncio.run(main())
