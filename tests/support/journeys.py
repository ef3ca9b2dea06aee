"""Existing projects of several shapes, and the journey along what our commands print as the next step."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.scaffolding.started import environment, run
from tests.support.postgres import connected

FASTAPI = """\
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import create_engine

from app.models import Base

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
engine = create_engine(URL)
"""
WITH_ALEMBIC = f"{FASTAPI}app = FastAPI()\n"
CREATES_ALL = f"""\
{FASTAPI}

@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield


app = FastAPI(lifespan=lifespan)
"""
MODELS = """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    title: Mapped[str]
"""
ENV = """\
from alembic import context

from app.main import engine
from app.models import Base

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
import sqlalchemy as sa
from alembic import op

revision = "e2412789c190"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("items")
"""
MANAGE = """\
import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")
execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os

from psycopg.conninfo import conninfo_to_dict

_database = conninfo_to_dict(os.environ["DATABASE_URL"])
SECRET_KEY = "-"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_.urls"
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database["dbname"],
        "USER": _database["user"],
        "HOST": _database["host"],
    }
}
"""
ITEM = """\
from django.db import models


class Item(models.Model):
    owner_id = models.IntegerField()
    title = models.CharField(max_length=255)

    class Meta:
        db_table = "items"
"""
ASGI = """\
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")

application = get_asgi_application()
"""
DJANGO = {
    "manage.py": MANAGE,
    "site_/__init__.py": "",
    "site_/settings.py": SETTINGS,
    "site_/urls.py": "urlpatterns = []\n",
    "shop/__init__.py": "",
    "shop/models.py": ITEM,
    "shop/migrations/__init__.py": "",
}
MAKE_TABLES = "python -c 'from app.main import Base, engine; Base.metadata.create_all(engine)'"
DJANGO_TABLES = ("python manage.py makemigrations shop", "python manage.py migrate")


@dataclass(frozen=True)
class Shape:
    """A project as it was before, and the commands that make its tables."""

    files: Mapping[str, str]
    tables: tuple[str, ...]
    pages: bool = True


APP = {"app/__init__.py": "", "app/models.py": MODELS}
TESTED = {"pyproject.toml": '[dependency-groups]\ndev = ["pytest"]\n'}
SHAPES = {
    "FastAPI with Alembic": Shape(
        {
            **APP,
            **TESTED,
            "app/main.py": WITH_ALEMBIC,
            "alembic.ini": "[alembic]\nscript_location = app/alembic\nprepend_sys_path = .\n",
            "app/alembic/env.py": ENV,
            "app/alembic/versions/e2412789c190_initial.py": REVISION,
        },
        ("python -m alembic upgrade head",),
    ),
    "FastAPI that creates all": Shape({**APP, "app/main.py": CREATES_ALL}, (MAKE_TABLES,)),
    "FastAPI without pages": Shape({**APP, "app/main.py": CREATES_ALL}, (MAKE_TABLES,), pages=False),
    "Django": Shape({**DJANGO, "site_/asgi.py": ASGI}, DJANGO_TABLES),
    "Django without asgi.py": Shape(DJANGO, DJANGO_TABLES),
}
_COMMANDS = ("flowcraft migrate", "flowcraft broadcast", "alembic ", "python manage.py")


def follow(here: Path, printed: str, dsn: str) -> list[str]:
    """Run the commands of the next steps, and the Python tests that were written; return the commands."""
    steps = [line.strip() for line in printed.partition("Next:\n")[2].splitlines()]
    steps += re.findall(r"^next +(.*)$", printed, re.MULTILINE)
    commands = [
        command.partition("   (")[0]
        for step in steps
        for command in re.split(r" && |, (?:then|or) ", step)
        if command.startswith(_COMMANDS)
    ]
    commands += [f"python -m pytest {test}" for test in re.findall(r"[\w/.]*test_\w+_channel\.py", printed)]
    for command in commands:
        run(here, *shlex.split(command), DATABASE_URL=dsn)
    return commands


def write(here: Path, files: Mapping[str, str]) -> None:
    """Write the files of a project."""
    for name, text in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text, "utf-8")


def make(here: Path, shape: Shape, dsn: str) -> None:
    """Write the project and make its tables."""
    write(here, shape.files)
    for command in shape.tables:
        run(here, *shlex.split(command), DATABASE_URL=dsn)


async def journey(here: Path, shape: Shape, dsn: str) -> list[str]:
    """Go from `init` to an event of a row as the commands print it; return the commands that were printed."""
    await asyncio.to_thread(make, here, shape, dsn)
    pages = () if shape.pages else ("--no-page",)
    printed = await asyncio.to_thread(run, here, "flowcraft", "init", *pages, DATABASE_URL=dsn)
    commands = await asyncio.to_thread(follow, here, printed, dsn)
    web = () if shape.pages else ("--no-web",)
    for name, event in (("item_update", "ItemUpdate"), ("items.{owner_id}", "OwnerItem")):
        added = ("channel", "add", name, "--table", "items", "--event", event, *web)
        printed = await asyncio.to_thread(run, here, "flowcraft", *added, DATABASE_URL=dsn)
        commands += await asyncio.to_thread(follow, here, printed, dsn)
    async with connected(dsn) as connection:
        await connection.execute("insert into items (owner_id, title) values (7, 'lamp')")
        found = await connection.fetch(
            "select channel, payload::json ->> 'item_id' as item from flowcraft.event"
        )
    assert {(row["channel"], row["item"]) for row in found} >= {("item_update", "1"), ("items.7", "1")}
    await asyncio.to_thread(run, here, "flowcraft", "check", DATABASE_URL=dsn)
    again = await asyncio.to_thread(run, here, "flowcraft", "init", *pages, DATABASE_URL=dsn)
    assert again.endswith("already; nothing to do\n"), again
    await asyncio.to_thread(diagnosed, here, dsn)
    return commands


def diagnosed(here: Path, dsn: str) -> None:
    """No server runs, which doctor reports in a line."""
    done = subprocess.run(
        ["flowcraft", "doctor", "--quick"],
        cwd=here, env=environment(DATABASE_URL=dsn), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no server reads the log" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
