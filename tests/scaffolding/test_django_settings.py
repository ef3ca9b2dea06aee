"""`flowcraft init` in a Django project: the settings get the application, whatever their form."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from flowcraft.scaffolding.django_settings import plan_settings
from tests.scaffolding.started import run
from tests.support import journeys

ASGI = 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")\n'
APPS = ["django.contrib.auth", "shop", "flowcraft.adapters.django"]


def planned(here: Path, files: dict[str, str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the texts of the changed files, and what is left to do by hand."""
    for name, text in {"shop/models.py": "", **files}.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, "utf-8")
    plan = plan_settings(here, here / "site_/asgi.py", ASGI, here, "site_.realtime.realtime")
    assert plan.app == "shop"
    return [edit.after for edit in plan.edits], plan.by_hand


@pytest.mark.parametrize(
    "apps",
    [
        'INSTALLED_APPS = ["django.contrib.auth", "shop"]\n',
        'INSTALLED_APPS = [\n    "django.contrib.auth",\n    "shop",\n]\n',
        'INSTALLED_APPS = [\n    "django.contrib.auth",\n    "shop"\n]  # ours last\n',
        'INSTALLED_APPS: list[str] = ["django.contrib.auth",\n    "shop",  # ours\n]\n',
        'INSTALLED_APPS = (\n    "django.contrib.auth", "shop",\n)',
    ],
)
@pytest.mark.parametrize(
    "place", ["site_/settings.py", "site_/settings/__init__.py", "site_/settings/base.py", "shared/base.py"]
)
def test_the_application_is_the_last_of_those_that_are_there(here: Path, apps: str, place: str) -> None:
    star = {
        "site_/settings/base.py": "from .base import *\n",
        "shared/base.py": "from shared.base import *\n",
    }
    files = {"site_/settings/__init__.py": star[place]} if place in star else {}
    (after,), by_hand = planned(here, {**files, place: apps})
    names: dict[str, Any] = {}
    exec(compile(ast.parse(after), place, "exec"), names)  # settings of this test
    assert (list(names["INSTALLED_APPS"]), names["FLOWCRAFT_CHANNELS"]) == (APPS, "site_.realtime.realtime")
    assert by_hand == ()
    assert planned(here, {place: after}) == ([], ())


@pytest.mark.parametrize(
    "text", ["", "INSTALLED_APPS = []\n", "INSTALLED_APPS = apps()\n", "from elsewhere import *\n"]
)
def test_settings_of_another_form_are_left_alone_and_the_lines_printed(here: Path, text: str) -> None:
    edits, (line,) = planned(here, {"site_/settings.py": text})
    assert edits == []
    added = 'add "flowcraft.adapters.django" to INSTALLED_APPS'
    setting = 'FLOWCRAFT_CHANNELS = "site_.realtime.realtime"'
    assert line == f"in the settings of site_: {added}, and {setting}"


def test_the_channels_are_imported_once_django_is_set_up(here: Path) -> None:
    settings = 'SECRET_KEY = "-"\nINSTALLED_APPS = ["shop"]\n'
    files = {"manage.py": journeys.MANAGE, "site_/asgi.py": journeys.ASGI, "site_/settings.py": settings}
    journeys.write(here, {"site_/__init__.py": "", **files})
    asked = "export DATABASE_URL=postgresql://…"
    assert asked in run(here, "flowcraft", "init", "--no-page")
    added = (
        "\nfrom site_.realtime import realtime  # noqa: E402  # once Django is set up\n"
        "\napplication = realtime.asgi(application)\n"
    )
    assert (here / "site_/asgi.py").read_text("utf-8") == f"{journeys.ASGI}{added}"
    assert run(here, "flowcraft", "init", "--no-page").endswith("already; nothing to do\n")

    database = 'DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}}\n'
    journeys.write(here, {**files, "site_/settings.py": settings + database})
    assert asked not in run(here, "flowcraft", "init", "--no-page")
