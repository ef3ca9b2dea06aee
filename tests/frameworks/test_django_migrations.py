"""Django: migrations that are written, applied and taken back by Django itself, and what its checks tell."""

from __future__ import annotations

import importlib
import io
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import override_settings

from flowcraft import Channels, DeclarationError, Event, Table
from flowcraft.adapters.postgres.steps import LATEST
from flowcraft.errors import SchemaDiffers, SchemaNotOwned
from tests.support.django_project import configure, connected_to

configure()
_packages = itertools.count(1)

WITHDRAWN = "select payload from flowcraft.event where kind = 'w' and payload not like '{\"viewer\" : null%'"
"""But for those of a migration, which has all guards asked."""
TABLE = """
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Item",
            [("id", models.BigAutoField(primary_key=True)), ("stock", models.IntegerField())],
            options={"db_table": "items"},
        ),
    ]
"""


class ItemUpdate(Event):
    item_id: int
    stock: int
    note: str = "100 %s"


def channels_of(source: Table | None) -> Channels:
    channels = Channels()
    if source is not None:
        channels.declare("item_update", ItemUpdate, source=source)
    return channels


first = channels_of(Table("items", item_id="id"))
changed = channels_of(Table("items", item_id="id", on=["delete"]))
misfit = channels_of(Table("items", item_id="id", stock="amount"))
nothing = channels_of(None)
no_tables = channels_of(None)
no_tables.declare("system", ItemUpdate)
rows = channels_of(None)
rows.rows("item_rows", ItemUpdate, table="items", key="item_id", where="stock > 0", columns={"item_id": "id"})
guarded = channels_of(None)
guarded.declare("shelf_update", ItemUpdate).guard(depends_on=Table("items", person="stock"))(
    lambda _viewer: True
)


class Project:
    """The migrations of an app in a folder of their own."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self.dsn = dsn

    def run(self, command: str, *arguments: str, declared: str = "first", **options: Any) -> str:
        importlib.invalidate_caches()
        said = io.StringIO()
        with override_settings(FLOWCRAFT_CHANNELS=f"{__name__}.{declared}"):
            call_command(command, *arguments, stdout=said, verbosity=1, **options)
        return said.getvalue()

    def write(self, *arguments: str, declared: str = "first") -> str:
        return self.run("makerealtimemigrations", "shop", *arguments, declared=declared)

    def migrate(self, *to: str) -> None:
        self.run("migrate", *to)

    def checks(self, *, declared: str = "first", database: bool = False) -> list[str]:
        importlib.invalidate_caches()
        with override_settings(FLOWCRAFT_CHANNELS=f"{__name__}.{declared}"):
            found = run_checks(databases=["default"] if database else None)
        return [f"{one.id}: {one.msg}" for one in found]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            result = connection.execute(sql.encode())
            return [] if result.description is None else result.fetchall()

    def triggers(self) -> list[str]:
        found = self.query("select tgname from pg_trigger where not tgisinternal order by 1")
        return [re.sub(r"_[0-9a-f]{8}_", "_", str(row[0])) for row in found]


@pytest.fixture
def project(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"shop_migrations_{next(_packages)}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "0001_initial.py").write_text(TABLE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with connected_to(database), override_settings(MIGRATION_MODULES={"shop": package}):
        yield Project(folder, database)


ALL = [
    "flowcraft_delete",
    "flowcraft_delete_replica",
    "flowcraft_insert",
    "flowcraft_insert_replica",
    "flowcraft_truncate",
    "flowcraft_update",
    "flowcraft_update_replica",
]
ONLY_DELETES = ["flowcraft_delete", "flowcraft_delete_replica", "flowcraft_truncate"]


def test_a_migration_makes_the_log_and_the_triggers_and_takes_them_back(project: Project) -> None:
    project.write()
    assert [path.name for path in sorted(project.folder.glob("0*"))] == [
        "0001_initial.py",
        "0002_realtime.py",
    ]
    project.migrate()
    project.query("insert into items (stock) values (5)")
    assert project.query("select payload from flowcraft.event") == [
        ('{"type":"ItemUpdate","item_id":1,"stock":5,"note":"100 %s"}',)
    ]
    project.migrate("shop", "0001")
    assert project.query("select to_regnamespace('flowcraft')") == [(None,)]
    assert project.triggers() == []
    project.migrate()
    assert project.triggers() == ALL


def test_there_is_nothing_to_write_where_the_migrations_make_what_is_declared(project: Project) -> None:
    with pytest.raises(SystemExit):
        project.write("--check")
    project.write()
    assert project.write("--check").startswith("no changes: ")
    assert project.write().startswith("no changes: ")


def test_a_changed_declaration_is_changed_by_the_next_migration_and_back_again(project: Project) -> None:
    project.write()
    project.write(declared="changed")
    project.migrate()
    assert project.triggers() == ONLY_DELETES
    project.migrate("shop", "0002")
    assert project.triggers() == ALL


def test_a_channel_that_is_no_longer_declared_loses_its_triggers(project: Project) -> None:
    project.write()
    project.write(declared="nothing")
    project.migrate()
    assert project.triggers() == []
    project.migrate("shop", "0002")
    assert project.triggers() == ALL


def test_a_guard_that_depends_on_a_table_has_triggers_like_a_source(project: Project) -> None:
    project.write(declared="guarded")
    assert project.write("--check", declared="guarded").startswith("no changes: ")
    project.migrate()
    project.query("insert into items (stock) values (5)")
    withdrawn = [('{"viewer" : "5", "channel" : "shelf_update", "ask" : true}',)]
    assert project.query(WITHDRAWN) == withdrawn
    assert project.triggers() == ALL
    assert project.checks(declared="guarded", database=True) == []
    project.write(declared="nothing")
    project.migrate()
    assert project.triggers() == []


def test_rows_have_their_triggers_and_the_function_that_reads_them(project: Project) -> None:
    readers = "select count(*) from pg_proc where proname like 'item\\_rows\\_%\\_rows'"
    project.write(declared="rows")
    assert project.write("--check", declared="rows").startswith("no changes: ")
    project.migrate()
    assert (project.triggers(), project.query(readers)) == (ALL, [(1,)])
    assert project.checks(declared="rows", database=True) == []
    project.write(declared="nothing")
    project.migrate()
    assert (project.triggers(), project.query(readers)) == ([], [(0,)])
    project.migrate("shop", "0002")
    assert (project.triggers(), project.query(readers)) == (ALL, [(1,)])


def test_the_sql_of_a_migration_does_the_same(project: Project) -> None:
    project.write()
    project.migrate("shop", "0001")
    project.query(project.run("sqlmigrate", "shop", "0002"))
    assert project.triggers() == ALL


def test_a_source_that_does_not_fit_its_table_is_told_in_a_sentence(project: Project) -> None:
    project.write(declared="misfit")
    with pytest.raises(
        DeclarationError, match=r"table public\.items has no column amount for the field stock"
    ):
        project.migrate()


def test_a_schema_with_code_of_another_role_is_refused_and_told_by_the_checks(project: Project) -> None:
    project.write()
    project.migrate()
    project.query(
        "create function spy() returns trigger language plpgsql as 'begin return null; end'; "
        "create trigger spy after insert on flowcraft.event for each row execute function spy()"
    )
    refused = "trigger spy on flowcraft.event, which calls public.spy(), of role postgres: drop trigger spy"
    (found,) = project.checks(database=True)
    assert found.startswith("flowcraft.E002: database 'default': role postgres does not migrate")
    assert refused in found
    project.write(declared="changed")
    with pytest.raises(SchemaNotOwned, match=re.escape(refused)):
        project.migrate()


def test_a_migration_of_another_version_is_refused(project: Project) -> None:
    project.write()
    project.migrate()
    project.query("update flowcraft.migration set hash = repeat('0', 64) where version = 2")
    project.write(declared="changed")
    with pytest.raises(SchemaDiffers, match="0002_retention has the hash 000000000000, not "):
        project.migrate()


def test_a_name_that_no_app_has_is_refused_with_those_that_there_are(project: Project) -> None:
    with pytest.raises(CommandError, match="name the app that gets the migration, one of shop"):
        project.run("makerealtimemigrations", "shopping")
    assert "0002_realtime.py" not in [path.name for path in project.folder.iterdir()]


@pytest.mark.parametrize("declared", ["first", "no_tables"])
def test_without_a_name_the_app_with_the_tables_or_the_only_one_gets_the_log(
    project: Project, declared: str
) -> None:
    project.run("makerealtimemigrations", declared=declared)
    assert "0002_realtime.py" in [path.name for path in project.folder.iterdir()]
    assert f"version={LATEST}" in (project.folder / "0002_realtime.py").read_text("utf-8")
    assert project.checks(declared=declared) == []


def test_the_checks_tell_what_no_migration_makes_yet(project: Project) -> None:
    yet = "flowcraft.W001: no migration has this operation yet"
    assert project.checks() == [
        f"{yet}: Bring the log of FlowCraft Realtime to version {LATEST}",
        f"{yet}: Create the triggers of channel item_update on items",
    ]
    project.write()
    assert project.checks() == []
    assert project.checks(declared="nothing") == [f"{yet}: Drop the triggers of channel item_update on items"]
    (error,) = project.checks(declared="missing")
    assert error.startswith("flowcraft.E001: FLOWCRAFT_CHANNELS = ")


def test_the_checks_tell_when_a_database_is_behind_its_migrations(project: Project) -> None:
    project.write()
    assert project.checks(database=True) == []  # they are not applied, which Django tells
    project.migrate()
    assert project.checks(database=True) == []
    project.query("alter table items add note text")
    (warning,) = project.checks(database=True)
    assert 'the triggers of channel item_update on "items" differ from the declaration' in warning
    project.write("--again")
    project.migrate()
    assert project.checks(database=True) == []
    project.query("drop schema flowcraft cascade")
    (warning,) = project.checks(database=True)
    assert "are missing" in warning
    connection.close()


def test_settings_that_name_no_channels_say_what_to_write(project: Project) -> None:
    with (
        override_settings(FLOWCRAFT_CHANNELS=None),
        pytest.raises(ImproperlyConfigured, match="set FLOWCRAFT_CHANNELS = "),
    ):
        call_command("makerealtimemigrations", "shop")
