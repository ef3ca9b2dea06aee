"""Alembic generates, upgrades and downgrades by itself, with either kind of driver."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Column, Integer, MetaData, Text, create_engine, text
from sqlalchemy import Table as SqlTable

from flowcraft import Channels, DeclarationError, Event, Table
from flowcraft.adapters.postgres.statements import migrations
from flowcraft.errors import SchemaDiffers, SchemaNotOwned

if TYPE_CHECKING:
    from sqlalchemy import Engine

ENV = dedent("""
    import asyncio
    from alembic import context
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import create_async_engine
    from flowcraft.adapters.alembic import include_name

    attributes, url = context.config.attributes, context.config.get_main_option("sqlalchemy.url")
    target_metadata, channels = attributes["metadata"], attributes["channels"]

    def run(**how):
        context.configure(
            target_metadata=target_metadata,
            flowcraft_channels=channels,
            include_name=include_name,
            **how,
            **attributes["options"],
        )
        with context.begin_transaction():
            context.run_migrations()

    async def run_async():
        engine = create_async_engine(url)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(lambda sync: run(connection=sync))
        finally:
            await engine.dispose()

    if context.is_offline_mode():
        run(url=url, literal_binds=True)
    elif "asyncpg" in url:
        asyncio.run(run_async())
    else:
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                run(connection=connection)
        finally:
            engine.dispose()
""")


class RunUpdate(Event):
    run_id: int
    status: str
    note: str = "none : %(s)s"


def channels_of(*, on: tuple[str, ...] = ("insert", "update"), declare: bool = True) -> Channels:
    channels = Channels()
    if declare:
        channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id", on=on))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return channels


def tables(*columns: str) -> MetaData:
    metadata = MetaData()
    SqlTable("runs", metadata, Column("id", Integer, primary_key=True), *(Column(c, Text) for c in columns))
    return metadata


class Project:
    """A project with Alembic in a folder of its own."""

    def __init__(self, folder: Path, dsn: str, driver: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self.said = io.StringIO()
        self.config = Config(stdout=io.StringIO(), output_buffer=self.said)
        url = dsn.replace("postgresql://", f"postgresql+{driver}://").replace("%", "%%")
        self.config.set_main_option("sqlalchemy.url", url)
        self.config.set_main_option("script_location", str(folder))
        self.config.set_main_option("path_separator", "os")
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENV)
        template = "revision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n"
        template += "from alembic import op\nimport sqlalchemy as sa\n"
        template += "def upgrade():\n    ${upgrades}\n\ndef downgrade():\n    ${downgrades}\n"
        (folder / "script.py.mako").write_text(template)
        self.engine: Engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))

    def declare(self, metadata: MetaData, channels: Channels, **options: object) -> None:
        self.config.attributes.update(
            metadata=metadata, channels=channels, options={"include_schemas": True, **options}
        )

    def generate(self) -> str:
        """Generate a revision, and return its text without its head."""
        script = command.revision(self.config, autogenerate=True)
        assert script is not None
        assert not isinstance(script, list)
        return Path(script.path).read_text().partition("import sqlalchemy as sa\n")[2]

    def upgrade(self, to: str = "head") -> None:
        command.upgrade(self.config, to)

    def downgrade(self, to: str = "-1") -> None:
        command.downgrade(self.config, to)

    def is_current(self) -> bool:
        try:
            command.check(self.config)
        except CommandError:
            return False
        return True

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(sql))
            return [tuple(row) for row in result] if result.returns_rows else []

    def told(self) -> list[object]:
        """Make a row, and return the events of that."""
        self.query("delete from runs")
        self.query("truncate flowcraft.event")
        self.query("insert into runs (id) values (1)")
        told = [row[0] for row in self.query("select payload from flowcraft.event order by id")]
        self.query("truncate flowcraft.event")
        return told

    def triggers(self) -> list[object]:
        found = "select tgname from pg_trigger where not tgisinternal order by 1"
        return [re.sub(r"_[0-9a-f]{8}_", "_", str(row[0])) for row in self.query(found)]


by_both_drivers = pytest.mark.parametrize("project", ["psycopg", "asyncpg"], indirect=True)


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Project]:
    project = Project(tmp_path / "migrations", database, getattr(request, "param", "psycopg"))
    yield project
    project.engine.dispose()


UPGRADE = f"op.flowcraft_log({max(migrations())})"
REVISION = (
    f"""
    {UPGRADE}"""
    """
    op.flowcraft_triggers(
        channel='run_update',
        table='runs',
        event='RunUpdate',
        on=['insert', 'update'],
        tag_field='type',
        tag='RunUpdate',
        gone=True,
        moves=True,
        fields=[
            {'name': 'run_id', 'column': 'id', 'takes': 'integer'},
            {'name': 'status', 'cast': 'text'},
            {'name': 'note', 'cast': 'text', 'required': False, 'default': '"none : %(s)s"'},
        ],
    )
"""
)
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


@by_both_drivers
def test_a_table_and_its_channel_come_in_one_revision_and_go_in_its_downgrade(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    revision = project.generate()
    assert (
        revision.index("create_table")
        < revision.index("op.flowcraft_log(")
        < revision.index("op.flowcraft_triggers(")
    )
    project.upgrade()
    assert project.is_current()
    assert project.told() == ['{"type":"RunUpdate","run_id":1,"status":null,"note":"none : %(s)s"}']
    project.downgrade("base")
    assert project.query("select to_regclass('runs'), to_regnamespace('flowcraft')") == [(None, None)]
    project.upgrade()
    assert project.triggers() == ALL


def test_a_revision_holds_what_was_declared_in_plain_values(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    assert REVISION in project.generate()


def test_nothing_is_generated_where_all_agrees(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    assert "pass" in project.generate().partition("def downgrade")[0]


@by_both_drivers
def test_a_changed_source_replaces_its_triggers_and_the_downgrade_brings_the_old_ones_back(
    project: Project,
) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    project.declare(tables("status"), channels_of(on=("delete",)))
    assert not project.is_current()
    project.generate()
    project.upgrade()
    assert project.triggers() == ONLY_DELETES
    assert project.is_current()
    project.downgrade()
    assert project.triggers() == ALL
    project.declare(tables("status"), channels_of())
    project.query("delete from alembic_version")
    command.stamp(project.config, "head")
    assert project.is_current()


def test_a_column_that_comes_later_is_told_from_its_revision_on(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    project.declare(tables("status", "note"), channels_of())
    revision = project.generate()
    assert revision.index("op.add_column") < revision.index("op.flowcraft_triggers(")
    project.upgrade()
    assert project.is_current()
    assert project.told() == ['{"type":"RunUpdate","run_id":1,"status":null,"note":null}']
    project.downgrade()
    assert project.told() == ['{"type":"RunUpdate","run_id":1,"status":null,"note":"none : %(s)s"}']


def test_a_channel_that_is_no_longer_declared_loses_its_triggers_and_its_downgrade_returns_them(
    project: Project,
) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    project.declare(tables("status"), channels_of(declare=False), flowcraft_prune=False)
    assert project.is_current()
    project.declare(tables("status"), channels_of(declare=False))
    project.generate()
    project.upgrade()
    assert project.triggers() == []
    assert project.is_current()
    project.downgrade()
    assert project.triggers() == ALL


def test_the_tables_of_the_log_are_not_taken_for_tables_that_nobody_wants(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    project.declare(tables(), channels_of(declare=False))
    assert "drop_table" not in project.generate()


def test_the_sql_of_a_revision_does_the_same_without_a_connection(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    command.upgrade(project.config, "head", sql=True)
    script = project.said.getvalue()
    assert project.query("select to_regclass('runs')") == [(None,)]
    project.query("drop table alembic_version")
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        connection.execute(script.encode())  # with its own begin and commit
    assert project.is_current()
    assert project.told() == ['{"type":"RunUpdate","run_id":1,"status":null,"note":"none : %(s)s"}']


@by_both_drivers
def test_triggers_that_do_not_fit_their_table_are_told_in_a_sentence(project: Project) -> None:
    project.declare(tables(), channels_of())
    project.generate()
    with pytest.raises(
        DeclarationError, match=r"table public\.runs has no column status for the field status"
    ):
        project.upgrade()
    assert project.query("select to_regclass('runs')") == [(None,)]


DEVELOPMENT_LOG = (Path(__file__).parents[1] / "support/development_log.sql").read_text("utf-8")
PLANTED = """
create table ran (who text);
create function spy() returns trigger language plpgsql as $$
begin insert into public.ran values (current_user); return new; end $$;
create schema flowcraft;
create table flowcraft.migration (version int primary key, name text, applied_at timestamptz)
"""
SPY = "create trigger spy before insert on flowcraft.migration for each row execute function spy()"
REFUSED = (
    r"\n  trigger spy on flowcraft\.migration, which calls public\.spy\(\), of role postgres: "
    r"drop trigger spy on flowcraft\.migration;$"
)


@by_both_drivers
def test_a_schema_with_code_of_another_role_is_refused_by_every_step(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.query(PLANTED)
    project.query(SPY)
    with pytest.raises(SchemaNotOwned, match=REFUSED):
        project.generate()
    project.query("drop trigger spy on flowcraft.migration")
    project.generate()
    project.query(SPY)
    with pytest.raises(SchemaNotOwned, match=REFUSED):
        project.upgrade()
    assert project.query("select * from ran") == []
    project.query("drop trigger spy on flowcraft.migration")
    project.upgrade()
    assert project.triggers() == ALL


@by_both_drivers
def test_a_log_of_a_development_version_is_taken_over_by_the_next_revision(project: Project) -> None:
    with project.engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql(DEVELOPMENT_LOG)
    project.declare(tables("status"), channels_of())
    assert UPGRADE in project.generate()
    project.upgrade()
    assert project.told() == ['{"type":"RunUpdate","run_id":1,"status":null,"note":"none : %(s)s"}']
    hashes = "select version, hash from flowcraft.migration order by 1"
    assert project.query(hashes) == [(one.version, one.hash) for one in migrations().values()]


@by_both_drivers
def test_a_migration_of_another_version_is_refused_by_every_step(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    project.upgrade()
    project.query("update flowcraft.migration set hash = repeat('0', 64) where version = 2")
    project.declare(tables("status"), channels_of(on=("insert",)))
    project.generate()
    with pytest.raises(SchemaDiffers, match="0002_retention has the hash 000000000000, not "):
        project.upgrade()
    assert project.triggers() == ALL


def test_an_upgrade_leaves_the_search_path_of_its_session(project: Project) -> None:
    project.declare(tables("status"), channels_of())
    project.generate()
    (revision,) = (project.folder / "versions").glob("*.py")
    more = "\n    op.execute('create table made_here ()')\n\ndef downgrade"
    revision.write_text(revision.read_text().replace("\n\ndef downgrade", more))
    project.upgrade()
    assert project.query("select to_regclass('public.made_here')::text") == [("made_here",)]


WITHDRAWN = "select payload from flowcraft.event where kind = 'w' and payload not like '{\"viewer\" : null%'"
"""But for those of a migration, which has all guards asked."""
GUARD_REVISION = """
    op.flowcraft_triggers(
        channel='teams.{team_id}',
        table='members',
        event='@guard',
        on=['insert', 'update', 'delete'],
        parameter='team_id',
        parameter_type='int',
        fields=[
            {'name': 'person', 'column': 'login', 'cast': 'text'},
            {'name': 'team_id', 'cast': 'text'},
        ],
    )
"""


@by_both_drivers
def test_a_guard_that_depends_on_a_table_is_generated_upgraded_and_downgraded(project: Project) -> None:
    metadata = MetaData()
    SqlTable("members", metadata, Column("login", Text), Column("team_id", Integer))
    channels, unguarded = Channels(), Channels()
    teams = channels.declare("teams.{team_id}", RunUpdate, params={"team_id": int})
    unguarded.declare("teams.{team_id}", RunUpdate, params={"team_id": int})
    members = Table("members", person="login", team_id="team_id")
    teams.guard(depends_on=members)(lambda _viewer, team_id: team_id == 7)
    project.declare(metadata, channels)
    assert GUARD_REVISION in project.generate()
    project.upgrade()
    assert project.is_current()
    assert project.triggers() == ALL
    project.query("insert into members values ('ada', 7)")
    withdrawn = [('{"viewer" : "ada", "channel" : "teams.7", "ask" : true}',)]
    assert project.query(WITHDRAWN) == withdrawn
    project.declare(metadata, unguarded)
    assert "op.flowcraft_drop_triggers(" in project.generate()
    project.upgrade()
    assert project.triggers() == []
    project.downgrade()
    assert project.triggers() == ALL


def rows_of(where: str | None) -> Channels:
    channels = Channels()
    channels.rows("run_rows", RunUpdate, table="runs", key="run_id", where=where, columns={"run_id": "id"})
    return channels


@by_both_drivers
def test_rows_are_generated_upgraded_and_downgraded_with_the_function_that_reads_them(
    project: Project,
) -> None:
    readers = "select prosrc from pg_proc where proname like 'run\\_rows\\_%\\_rows'"
    project.declare(tables("status", "note"), rows_of("status <> 'old'"))
    revision = project.generate()
    assert "channel='run_rows'" in revision
    assert "        key=['run_id'],\n        where=\"status <> 'old'\",\n" in revision
    project.upgrade()
    assert project.is_current()
    assert project.triggers() == ALL
    ((first,),) = project.query(readers)
    project.declare(tables("status", "note"), rows_of(None))
    assert "op.flowcraft_triggers(" in project.generate()
    project.upgrade()
    assert project.is_current()
    project.downgrade()
    assert project.query(readers) == [(first,)]
    resets = project.query("select count(*) from flowcraft.event where kind = 'r'")
    assert resets == [(3,)]
    project.declare(tables("status", "note"), channels_of(declare=False))
    project.query("delete from alembic_version")
    command.stamp(project.config, "head")
    assert "op.flowcraft_drop_triggers(" in project.generate()
    project.upgrade()
    assert project.query(readers) == []
    project.downgrade()
    assert project.query(readers) == [(first,)]
