"""`flowcraft channel add`: what it changes, what it leaves alone, and what it says when it cannot."""

from __future__ import annotations

import ast

import pytest

from tests.scaffolding.conftest import Copy, Run, execute

MEASUREMENTS = ("add", "measurement_update", "--table", "measurements", "--event", "MeasurementUpdate")
ALERTS = (
    "add",
    "alerts.{alert_id}",
    "--event",
    "AlertRaised",
    "--field",
    "text:str",
    "--service",
    "AlertService",
)
API, SRC = "examples/flowcraft/api", "examples/flowcraft/web/src"


def refused(run: Run, *arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").strip()


# What it changes


def test_a_table_becomes_a_channel_with_all_that_belongs_to_it(copy: Copy, run: Run) -> None:
    before = copy.texts()
    result = run(*MEASUREMENTS)
    assert result.exit_code == 0, result.output
    assert copy.changed_since(before) == {
        f"{API}/core/domain/events.py",
        f"{API}/core/domain/channels.py",
        f"{API}/migrations/0003_measurement_update.sql",
        f"{SRC}/realtime.gen.ts",
        f"{SRC}/features/measurements/hooks/use-measurements.ts",
        f"{SRC}/features/measurements/hooks/use-measurements.test.tsx",
        "examples/flowcraft/tests/test_measurement_update_channel.py",
    }
    assert [line.partition(" ")[0] for line in result.stdout.splitlines()] == [
        "measurement_update:",
        "files",
        "migration",
        "subscribers",
        "next",
    ]
    assert "open to everybody; restrict it with @measurement_update.guard" in result.stdout
    assert "flowcraft migrate examples.flowcraft.api.core.domain.channels:channels" in result.stdout


def test_a_service_states_the_events_of_an_api_driven_channel(copy: Copy, run: Run) -> None:
    before = copy.texts()
    assert run(*ALERTS).exit_code == 0
    assert copy.changed_since(before) == {
        f"{API}/core/domain/events.py",
        f"{API}/core/domain/channels.py",
        f"{API}/core/services/alert.py",
        f"{SRC}/realtime.gen.ts",
        f"{SRC}/features/alerts/hooks/use-alerts.ts",
        f"{SRC}/features/alerts/hooks/use-alerts.test.tsx",
        "examples/flowcraft/tests/test_alerts_channel.py",
    }
    channels = (copy.domain / "channels.py").read_text("utf-8")
    assert 'alert = channels.declare("alerts.{alert_id}", AlertRaised, params={"alert_id": UUID})' in channels
    tested = copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_alerts_channel.py")
    assert tested.returncode == 0, tested.stdout
    linted = copy.process("ruff", "check", "--no-cache", "examples", "tests")
    assert linted.returncode == 0, linted.stdout

    service = copy.root / API / "core/services/alert.py"
    service.write_text(service.read_text("utf-8").replace("await self._realtime.broadcast", "await silence"))
    broken = service.read_text("utf-8") + "\n\nasync def silence(*_: object, **__: object) -> None: ...\n"
    service.write_text(broken)
    assert (
        copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_alerts_channel.py").returncode == 1
    )


def test_a_service_that_is_there_gets_one_more_method(copy: Copy, run: Run) -> None:
    arguments = ("add", "notices.{notice_id}", "--event", "NoticeGiven", "--field", "text:str")
    result = run(*arguments, "--service", "RunLog")
    assert result.exit_code == 0, result.output
    text = (copy.root / API / "core/services/run_log.py").read_text("utf-8")
    assert (
        "    async def broadcast_notice_given(self, event: NoticeGiven, *, via: object | None = None)" in text
    )
    assert "await self._realtime.broadcast(channels.notice(event.notice_id), event, via=via)" in text
    tested = copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_notices_channel.py")
    assert tested.returncode == 0, tested.stdout
    assert "nothing to do" in run(*arguments, "--service", "RunLog").stdout


def test_a_family_of_channels_follows_a_table(copy: Copy, run: Run, tables: str) -> None:
    arguments = ("--event", "FlowChanged", "--table", "flows", "--column", "name", "--column", "paused")
    result = run("add", "flows.{flow_id}", *arguments, "--on", "update,delete", "--dsn", tables)
    assert result.exit_code == 0, result.output
    (statement,) = [
        line for line in (copy.domain / "channels.py").read_text("utf-8").split("\n\n") if "flows.{" in line
    ]
    assert ast.unparse(ast.parse(statement)) == ast.unparse(
        ast.parse(
            'flow = channels.declare("flows.{flow_id}", FlowChanged, params={"flow_id": str}, '
            'source=Table("flows", on=["update", "delete"], flow_id="id"))'
        )
    )
    assert "class FlowChanged(Event):" in (copy.domain / "events.py").read_text("utf-8")


def test_the_primary_key_is_always_in_the_event(copy: Copy, run: Run, database: str) -> None:
    execute(database, "create table parts (shelf text, id int, label text, primary key (shelf, id))")
    arguments = ("part_update", "--table", "parts", "--event", "PartUpdate", "--column", "label")
    result = run("add", *arguments, "--dsn", database, "--migrations", str(copy.migrations))
    assert result.exit_code == 0, result.output
    event = (copy.domain / "events.py").read_text("utf-8").partition("class PartUpdate(Event):")[2]
    assert [line.strip() for line in event.strip().splitlines()[2:]] == [
        "shelf: str",
        "part_id: int",
        "label: str | None",
    ]


def test_a_parameter_is_a_column_or_the_key_of_what_the_channel_is_named_after(
    copy: Copy, run: Run, database: str
) -> None:
    execute(database, "create table parts (id int primary key, shelf_id int not null, label text)")
    at = ("--table", "parts", "--dsn", database)
    assert refused(run, "add", "parts.{team_id}", "--event", "New", *at) == (
        "New.team_id: table parts has no column team_id, only id, shelf_id, label; "
        "name the column with --column team_id=COLUMN"
    )
    assert run("add", "parts.{shelf_id}", "--event", "OnShelf", *at).exit_code == 0
    event = (copy.domain / "events.py").read_text("utf-8").partition("class OnShelf(Event):")[2]
    assert [line.strip() for line in event.strip().splitlines()[2:]] == [
        "part_id: int",
        "shelf_id: int",
        "label: str | None",
    ]


def test_without_pages_no_types_and_no_hook_are_written(copy: Copy, run: Run) -> None:
    before = copy.texts()
    result = run(*MEASUREMENTS, "--no-web")
    assert result.exit_code == 0, result.output
    assert copy.changed_since(before) == {
        f"{API}/core/domain/events.py",
        f"{API}/core/domain/channels.py",
        f"{API}/migrations/0003_measurement_update.sql",
        "examples/flowcraft/tests/test_measurement_update_channel.py",
    }
    assert refused(run, *ALERTS, "--web", "web", "--no-web").startswith("--web names the web application")


TYPES = """
create type mood as enum ('calm', 'wild');
create domain label as text;
create table things (
    id bigint primary key, mood mood not null, label label, amount numeric not null, day date, took interval,
    data jsonb not null, tags text[] not null, level text not null check (level in ('low', 'it''s high')),
    type text not null, ratio real, raw bytea, clock time, born timestamp not null,
    currency char(3) not null, code varchar(4) not null, price numeric(5, 0), host inet
);
"""


def test_types_come_from_the_columns(copy: Copy, run: Run, database: str) -> None:
    execute(database, TYPES)
    (copy.migrations / "0003_things.sql").write_text(TYPES)
    result = run("add", "thing_update", "--table", "things", "--event", "Thing", "--dsn", database)
    assert result.exit_code == 0, result.output
    event = (copy.domain / "events.py").read_text("utf-8").partition("class Thing(Event):")[2]
    assert [line.strip() for line in event.strip().splitlines()[2:]] == [
        "thing_id: Int64",
        'mood: Literal["calm", "wild"]',
        "label: str | None",
        "amount: Decimal",
        "day: date | None",
        "took: timedelta | None",
        "data: object",
        "tags: list[str]",
        'level: Literal["low", "it\'s high"]',
        "thing_type: str",
        "ratio: float | None",
        "raw: bytes | None",
        "clock: time | None",
        "born: datetime",
        "currency: str",
        "code: str",
        "price: Decimal | None",
        "host: str | None",
    ]
    tested = copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_thing_update_channel.py")
    assert tested.returncode == 0, tested.stdout


# What it leaves alone


def test_a_dry_run_shows_everything_and_changes_nothing(copy: Copy, run: Run) -> None:
    before = copy.texts()
    result = run(*MEASUREMENTS, "--dry-run", "--diff")
    assert (result.exit_code, copy.changed_since(before)) == (0, set())
    assert "+measurement_update = channels.declare(" in result.stdout
    assert result.stdout.endswith("dry run: nothing was changed\n")


@pytest.mark.parametrize("arguments", [MEASUREMENTS, ALERTS], ids=["table", "service"])
def test_a_second_run_has_nothing_to_do_even_when_its_files_were_changed(
    copy: Copy, run: Run, arguments: tuple[str, ...]
) -> None:
    run(*arguments)
    (hook,) = [*copy.hooks.glob("measurements/hooks/use-*s.ts"), *copy.hooks.glob("alerts/hooks/use-*s.ts")]
    hook.write_text(hook.read_text("utf-8") + "// mine now\n")
    before = copy.texts()
    result = run(*arguments)
    name = arguments[1]
    text = f"{name} is complete already; nothing to do\n"
    assert (result.exit_code, result.stdout) == (0, text)
    assert copy.changed_since(before) == set()


def test_what_was_lost_of_a_channel_is_made_again(copy: Copy, run: Run) -> None:
    run(*ALERTS)
    before = copy.texts()
    (copy.root / "examples/flowcraft/tests/test_alerts_channel.py").unlink()
    (copy.hooks / "alerts/hooks/use-alerts.ts").unlink()
    assert run(*ALERTS).exit_code == 0
    assert copy.changed_since(before) == set()


def test_a_file_in_the_way_is_not_overwritten_and_nothing_else_is_changed(copy: Copy, run: Run) -> None:
    for stem in ("use-measurements", "use-measurement-update"):
        file = copy.hooks / f"measurements/hooks/{stem}.ts"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("// somebody else's\n")
    before = copy.texts()
    told = refused(run, *MEASUREMENTS)
    assert told.endswith("exists already and is not overwritten; choose another place with --feature")
    assert copy.changed_since(before) == set()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["run_update", "--table", "runs", "--event", "StepUpdate"],
            "StepUpdate.position: table runs has no column position, only id, number, flow_id",
        ),
        (
            ["run_update", "--table", "flows", "--event", "FlowUpdate"],
            "run_update is declared already, as\n    run_update = channels.declare('run_update', RunUpdate,",
        ),
        (
            ["run_status_update", "--event", "RunUpdate", "--field", "status:int", "--service", "RunService"],
            "RunUpdate exists already, and its status is RunStatus, not int; choose another --event",
        ),
        (
            ["flow_news_update", "--event", "RunStatus", "--field", "a:int", "--service", "X"],
            "RunStatus is already the name of something else; choose another --event",
        ),
        (
            ["runs.{watcher_id}", "--event", "New", "--field", "text:str", "--service", "X"],
            "'runs.{watcher_id}' overlaps with 'runs.{run_id}'",
        ),
        (
            ["flow_news_update", "--event", "New", "--field", "a:int", "--service", "FlowService"],
            "FlowService has no RealtimeService; add one to its constructor",
        ),
        (
            ["x_update", "--event", "X", "--table", "nothing"],
            "there is no table nothing; there is public.announcements,",
        ),
        (
            ["x_update", "--event", "X", "--table", "runs", "--column", "a=b"],
            "table runs has no column b, only id",
        ),
        (["x_update", "--event", "X", "--service", "S", "--field", "a:Thing"], "unknown type Thing"),
        (
            ["x_update", "--event", "X", "--service", "S", "--field", "a:in t"],
            "'in t' is not a type; use one of",
        ),
        (
            ["x_update", "--event", "X", "--service", "S"],
            "X has no fields yet; name them with --field NAME:TYPE",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(
    copy: Copy, run: Run, tables: str, arguments: list[str], told: str
) -> None:
    before = copy.texts()
    database = ["--dsn", tables] if "--table" in arguments else []
    assert told in refused(run, "add", *arguments, *database)
    assert copy.changed_since(before) == set()


# What it says


@pytest.mark.parametrize(
    "name", ["Runs", "run-update", "runs", "runs.42", "runs.{Id}", "a.b.c", f"{'x' * 48}_update"]
)
def test_a_name_outside_the_convention_is_told_the_convention(run: Run, name: str) -> None:
    told = refused(run, "add", name, "--event", "X", "--service", "S", "--field", "a:int")
    assert "<entity>_update   changes of all entities of a kind" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the channel's name is missing: flowcraft channel add NAME"),
        (["x_update"], "no source for the events; use --table TABLE"),
        (["x_update", "--table", "runs"], "the event's class is missing: --event XUpdate"),
        (["x_update", "--table", "runs", "--service", "S"], "choose one"),
        (["x_update", "--service", "S", "--event", "x"], "--event 'x' is not a class name"),
        (["x_update", "--service", "S", "--event", "X", "--field", "a"], "is not of the form NAME:TYPE"),
        (
            ["x_update", "--table", "runs", "--event", "X", "--on", "truncate"],
            "is not a list of insert, update and delete",
        ),
    ],
)
def test_what_is_missing_is_named(run: Run, arguments: list[str], told: str) -> None:
    result = run("add", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_place_that_cannot_be_told_is_named_with_its_flag(copy: Copy, run: Run) -> None:
    (copy.root / "other.py").write_text("from flowcraft import Channels\nchannels = Channels()\n")
    told = refused(run, *MEASUREMENTS)
    assert told.endswith(
        "found 2: other.py:channels, examples/flowcraft/api/core/domain/channels.py:channels; "
        "name it with --channels-module"
    )
    module = "examples.flowcraft.api.core.domain.channels"
    assert run(*MEASUREMENTS, "--channels-module", module, "--dry-run").exit_code == 0
    assert refused(run, *MEASUREMENTS, "--channels-module", module, "--web", "no").endswith(
        "name it with --web"
    )


def test_it_asks_for_everything_and_explains_the_names(copy: Copy, run: Run) -> None:
    answers = "flows\nflow_note_update\nflows\nFlowNote\nflow_note_id, paused\ny\n"
    result = run("add", "--ask", answers=answers)
    assert result.exit_code == 0, result.output
    assert "<entity>.{id}     everything about one entity" in result.stdout
    assert "'flows' breaks the naming convention" in result.stdout, "and asks again"
    assert "  steps: list[str]\n" in result.stdout, "the columns are offered with their types"
    assert "class FlowNote(Event):" in (copy.domain / "events.py").read_text("utf-8")


def test_it_asks_about_a_service_and_takes_no_for_an_answer(copy: Copy, run: Run) -> None:
    before = copy.texts()
    answers = "alerts.{alert_id}\n\nAlertService\nAlertRaised\ntext:str\n\nn\n"
    result = run("add", "--ask", answers=answers)
    assert (result.exit_code, result.stderr) == (1, "error: nothing was changed\n")
    assert copy.changed_since(before) == set()


# Alembic


REVISION = 'revision = "0a"\ndown_revision = None\n\n\ndef upgrade() -> None: ...\n'


def test_an_alembic_project_gets_a_revision(copy: Copy, run: Run, tables: str) -> None:
    versions = copy.root / API / "alembic/versions"
    versions.mkdir(parents=True)
    (versions / "0a_first.py").write_text(REVISION)
    (copy.root / API / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\n")
    assert refused(run, *MEASUREMENTS).endswith("name one with --dsn")
    result = run(*MEASUREMENTS, "--dsn", tables)
    assert result.exit_code == 0, result.output
    (revision,) = versions.glob("*_measurement_update.py")
    names = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(revision.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert (names["down_revision"], names["revision"]) == ("0a", revision.name.partition("_")[0])
    upgrade = f"(cd {API} && alembic upgrade head)"
    assert result.stdout.endswith(f"next        {upgrade}, then restart the service\n")
    tested = copy.python("-m", "pytest", "-q", "examples/flowcraft/tests/test_measurement_update_channel.py")
    assert tested.returncode == 0, tested.stdout
    assert "nothing to do" in run(*MEASUREMENTS, "--dsn", tables).stdout


def test_a_column_of_which_no_value_can_be_made_up_is_named(copy: Copy, run: Run, database: str) -> None:
    execute(database, "create table hosts (id int primary key, host inet not null)")
    before = copy.texts()
    arguments = ("add", "host_update", "--table", "hosts", "--event", "Host", "--dsn", database)
    assert refused(run, *arguments).startswith("host: the generated test has no sample value for type inet;")
    assert copy.changed_since(before) == set()
    assert run(*arguments, "--column", "host_id=id", "--dry-run").exit_code == 0
