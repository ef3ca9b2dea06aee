"""From `init` to a changed row in the browser, in projects of every shape, made by their own tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.projects import Project
from tests.support.projects.django_rest import DJANGO_REST
from tests.support.projects.own_origin import OWN_ORIGIN
from tests.support.projects.sqlmodel_backend import SQLMODEL_BACKEND
from tests.support.projects.without_react import DJANGO_APP, DJANGO_WITHOUT_ASGI, FASTAPI_APP, LITESTAR_APP
from tests.support.whole_journeys import whole_journey

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
PROJECTS = {
    "FastAPI's full-stack template": SQLMODEL_BACKEND,
    "a page on its own origin": OWN_ORIGIN,
    "Django with its REST framework": DJANGO_REST,
    "Litestar": LITESTAR_APP,
    "FastAPI that creates all": FASTAPI_APP,
    "Django": DJANGO_APP,
    "Django without asgi.py": DJANGO_WITHOUT_ASGI,
}


@pytest.mark.parametrize("project", PROJECTS.values(), ids=list(PROJECTS))
async def test_a_changed_row_is_on_the_page(project: Project, here: Path, database: str) -> None:
    journey = await whole_journey(here, project, database, here.parent / "page.png")
    print({part: round(seconds, 1) for part, seconds in journey.seconds.items()})
