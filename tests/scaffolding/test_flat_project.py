"""A project of one module, as in the README: the command finds its places, or names the flag."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowcraft.entrypoints.cli import app

MODULE = """\
from uuid import UUID

from flowcraft import Channels, Event, Table


class RunUpdate(Event):
    run_id: UUID


channels = Channels()
run_update = channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
"""
TABLES = """
create table runs (id uuid primary key);
create table orders (id serial primary key, total numeric not null, class text);
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("web/src", "migrations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "live.py").write_text(MODULE)
    (tmp_path / "web/package.json").write_text('{"dependencies": {"@flowcraft/realtime": "*"}}')
    (tmp_path / "migrations/001.sql").write_text(TABLES)
    (tmp_path / "requirements-dev.txt").write_text("pytest\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


def add(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["channel", "add", *arguments], prog_name="flowcraft")


def test_a_table_is_followed_and_the_event_stands_before_the_channels(project: Path) -> None:
    result = add("order_update", "--table", "orders", "--event", "OrderUpdate")
    assert result.exit_code == 0, result.output
    event = '''
class OrderUpdate(Event):
    """A row of `orders` as it is now."""

    order_id: int
    total: Decimal
    order_class: str | None


channels = Channels()
'''
    assert event in (project / "live.py").read_text()
    assert (project / "migrations/002_order_update.sql").exists()
    assert (project / "web/src/features/orders/hooks/use-orders.ts").exists()
    assert '"../../../realtime.gen"' in (project / "web/src/features/orders/hooks/use-orders.ts").read_text()
    assert "order_update: OrderUpdate;" in (project / "web/src/realtime.gen.ts").read_text()
    assert (project / "tests/test_order_update_channel.py").exists()
    assert "live" not in sys.modules, "the application is imported in a process of its own"


def test_tests_are_written_only_where_the_project_has_their_tools(project: Path) -> None:
    (project / "requirements-dev.txt").unlink()
    result = add("order_update", "--table", "orders", "--event", "OrderUpdate")
    assert result.exit_code == 0, result.output
    assert not (project / "tests").exists()
    assert [path.name for path in (project / "web").rglob("use-*")] == ["use-orders.ts"]
    dev = '"devDependencies": {"vitest": "4", "@testing-library/react": "16"}'
    (project / "web/package.json").write_text(f'{{"dependencies": {{"@flowcraft/realtime": "*"}}, {dev}}}')
    (project / "tests").mkdir()
    (project / "tests/test_live.py").write_text("import pytest\n")
    assert add("order_update", "--table", "orders", "--event", "OrderUpdate").exit_code == 0
    assert (project / "web/src/features/orders/hooks/use-orders.test.tsx").exists()
    assert (project / "tests/test_order_update_channel.py").exists()


def test_a_declaration_that_was_extended_is_still_the_one(project: Path) -> None:
    arguments = ("order_update", "--table", "orders", "--event", "OrderUpdate")
    assert add(*arguments).exit_code == 0
    text = (project / "live.py").read_text("utf-8")
    more = 'OrderUpdate,\n    conflate="order_id",\n    source='
    extended = text.replace("OrderUpdate,\n    source=", more)
    assert extended != text
    (project / "live.py").write_text(extended, "utf-8")
    assert "nothing to do" in add(*arguments).stdout
    assert "is declared already, as" in add(*arguments, "--on", "insert").stderr


def test_places_that_are_not_there_are_named_with_their_flags(project: Path) -> None:
    notes = ("notes.{note_id}", "--event", "NoteAdded", "--field", "text:str", "--service", "NoteService")
    assert add(*notes).stderr.endswith("not found; name it with --services\n")
    assert add(*notes, "--services", "services").exit_code == 0
    assert "live.note(event.note_id)" in (project / "services/note.py").read_text()
    (project / "migrations/001.sql").unlink()
    (project / "migrations").rmdir()
    told = add("order_update", "--table", "orders", "--event", "OrderUpdate").stderr
    assert "002" not in told
    assert told == "error: no database to read the columns from; name one with --dsn\n"


def test_an_application_that_cannot_be_imported_is_told_and_nothing_is_changed(project: Path) -> None:
    broken = MODULE + "\nraise OSError('no settings')\n"
    (project / "live.py").write_text(broken)
    told = add("order_update", "--table", "orders", "--event", "OrderUpdate").stderr
    assert told == (
        "error: live cannot be imported with this channel: OSError: no settings\nnothing was changed\n"
    )
    assert (project / "live.py").read_text() == broken


@pytest.mark.parametrize(("file", "found"), [("0001_items.sql", True), ("env.py", False)])
def test_revisions_without_an_alembic_ini_are_no_sql(here: Path, file: str, found: bool) -> None:
    from flowcraft.scaffolding.discovery import Hints, discover

    module = "from flowcraft import Channels, Event\n\nchannels = Channels()\n"
    for name, text in {"shop.py": module, "events.py": "", f"migrations/{file}": ""}.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    project = discover(here, Hints(has_web=False), from_table=True)
    assert project.migrations == (here / "migrations" if found else None)
