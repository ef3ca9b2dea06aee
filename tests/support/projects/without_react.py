"""Projects without React, which get a first page: Litestar, FastAPI that makes its tables, Django."""

from __future__ import annotations

from tests.support.journeys import APP, ASGI, CREATES_ALL, DJANGO, DJANGO_TABLES, MAKE_TABLES, MODELS
from tests.support.projects import Project

LITESTAR = """\
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar, get
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from shop.models import Base, Item

engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
Session = async_sessionmaker(engine)


@asynccontextmanager
async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


@get("/items")
async def items() -> list[str]:
    async with Session() as session:
        return list(await session.scalars(select(Item.title)))


app = Litestar([items], lifespan=[lifespan])
"""
STARTED = "python -c 'import asyncio; from shop.main import app; asyncio.run(app.lifespan().__aenter__())'"


def _page(folder: str) -> tuple[tuple[str, str, str], ...]:
    return ((f"{folder}/live/page.js", 'const CHANNELS = ["system"];', 'const CHANNELS = ["item_update"];'),)


PYTEST = '[project]\nname = "shop"\ndependencies = []\n\n[dependency-groups]\ndev = ["pytest"]\n'
LITESTAR_APP = Project(
    (),
    {"pyproject.toml": PYTEST, "shop/__init__.py": "", "shop/main.py": LITESTAR, "shop/models.py": MODELS},
    "shop.main:app",
    (STARTED,),
    edits=_page("shop"),
)
FASTAPI_APP = Project(
    (),
    {**APP, "requirements.txt": "fastapi\nsqlalchemy\npsycopg\n", "app/main.py": CREATES_ALL},
    "app.main:app",
    (MAKE_TABLES,),
    edits=_page("app"),
    tests="python -c pass",
)
DJANGO_APP = Project(
    (),
    {**DJANGO, "site_/asgi.py": ASGI},
    "site_.asgi:application",
    DJANGO_TABLES,
    edits=_page("site_"),
    tests="python manage.py test",
)
DJANGO_WITHOUT_ASGI = Project(
    (), DJANGO, "site_.asgi:application", DJANGO_TABLES, edits=_page("site_"), tests="python manage.py test"
)
