"""The command: what it prints, what it writes, how it fails, and with which status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

import flowcraft
from flowcraft import Channels, Realtime
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.entrypoints.cli import app
from flowcraft.entrypoints.commands import migrate as migrate_command
from tests.codegen import typescript_sample

SAMPLE = "tests.codegen.typescript_sample:channels"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in an empty folder, where no database is known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, prog_name="flowcraft")

    return invoke


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the current folder; return its name."""
    before = set(sys.modules)
    path = list(sys.path)

    def write(text: str) -> str:
        name = f"app_{len(list(tmp_path.glob('app_*.py')))}"
        (tmp_path / f"{name}.py").write_text(f"from flowcraft import Channels, Event, Realtime\n{text}\n")
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith("app_"):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def same_sys_path() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path


def outcome(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


# In general


def test_it_tells_its_version(run: Run) -> None:
    assert outcome(run("--version")) == (0, f"flowcraft {flowcraft.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [[], ["codegen"], ["channel"], ["nonsense"], ["codegen", "typescript"], ["serve", "--port", "x", "a:b"]],
)
def test_what_is_not_understood_ends_with_status_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


# Finding the channels


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("app", "'app' is not of the form MODULE:ATTRIBUTE, such as app:channels"),
        (":", "':' is not of the form MODULE:ATTRIBUTE, such as app.realtime:channels"),
        (
            "./app/live.py:chans",
            "'./app/live.py:chans' is not of the form MODULE:ATTRIBUTE, such as app.live:chans",
        ),
        (
            "tests.codegen.typescript_sample:nothing",
            f"tests.codegen.typescript_sample has no nothing; the module has {SAMPLE}",
        ),
        (
            "tests.codegen.typescript_sample:RUN",
            (
                "tests.codegen.typescript_sample:RUN is of type UUID, not Channels or Realtime; "
                f"the module has {SAMPLE}"
            ),
        ),
        (
            "flowcraft.errors:RealtimeError",
            (
                "flowcraft.errors:RealtimeError is of type type, not Channels or Realtime; "
                "the module has none; name the module that creates them"
            ),
        ),
    ],
)
def test_a_target_that_names_no_channels_is_told_what_to_name(run: Run, target: str, text: str) -> None:
    assert outcome(run("channel", "list", target)) == (2, "", f"error: {text}\n")


@pytest.mark.parametrize(
    ("target", "missing"), [("nowhere:x", "nowhere"), ("flowcraft.nowhere:x", "flowcraft.nowhere")]
)
def test_a_module_that_is_not_there_is_told_with_the_folder(
    run: Run, tmp_path: Path, target: str, missing: str
) -> None:
    text = (
        f"error: module {missing} is neither in {tmp_path} nor installed; run this where it can be imported\n"
    )
    assert outcome(run("channel", "list", target)) == (2, "", text)


def test_modules_of_the_current_folder_are_found(run: Run, module: Callable[[str], str]) -> None:
    name = module("class Holder:\n    channels = Channels()\nrealtime = Realtime(Holder.channels)")
    for attribute in ("Holder.channels", "realtime", "realtime.channels"):
        assert run("channel", "list", f"{name}:{attribute}").exit_code == 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Channels().declare('runs', Event)", "flowcraft.errors.DeclarationError: 'runs' breaks the naming"),
        ("import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_fails_is_told_with_its_own_traceback(
    run: Run, module: Callable[[str], str], tmp_path: Path, text: str, error: str
) -> None:
    name = module(text)
    status, _, told = outcome(run("channel", "list", f"{name}:channels"))
    assert (status, told.splitlines()[0]) == (1, f"error: {name} cannot be imported; fix this first:")
    assert error in told
    assert f'File "{tmp_path / name}.py", line 2' in told
    assert "importlib" not in told


# codegen typescript


def test_typescript_goes_to_the_terminal_or_into_a_file(run: Run, tmp_path: Path) -> None:
    expected = generate_typescript(typescript_sample.channels)
    assert outcome(run("codegen", "typescript", SAMPLE)) == (0, expected, "")
    for option in ("--out", "--output", "-o"):
        file = tmp_path / f"{option}.ts"
        assert outcome(run("codegen", "typescript", SAMPLE, option, file.name)) == (
            0,
            f"{file.name} written\n",
            "",
        )
        assert file.read_bytes() == expected.encode()


def test_a_file_that_is_up_to_date_is_not_touched(run: Run, tmp_path: Path) -> None:
    run("codegen", "typescript", SAMPLE, "--out", "x.ts")
    os.utime(tmp_path / "x.ts", (1, 1))
    assert outcome(run("codegen", "typescript", SAMPLE, "--out", "x.ts")) == (0, "x.ts is up to date\n", "")
    assert (tmp_path / "x.ts").stat().st_mtime == 1


def test_a_check_is_silent_about_a_file_that_is_up_to_date(run: Run) -> None:
    run("codegen", "typescript", SAMPLE, "--out", "x.ts")
    assert outcome(run("codegen", "typescript", SAMPLE, "--out", "x.ts", "--check")) == (0, "", "")


def test_a_check_shows_the_difference_and_the_remedy_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    run("codegen", "typescript", SAMPLE, "--out", "x.ts")
    file = tmp_path / "x.ts"
    old = file.read_text().replace("readonly run_id: string;", "readonly run_id: number;", 1).rstrip("\n")
    file.write_text(old)
    status, difference, told = outcome(run("codegen", "typescript", SAMPLE, "--out", "x.ts", "--check"))
    assert status == 1
    assert "-  readonly run_id: number;\n+  readonly run_id: string;\n" in difference
    assert difference.startswith("--- x.ts\n+++ generated from the current channels\n@@")
    assert told == f"error: x.ts is not up to date; run `flowcraft codegen typescript {SAMPLE} --out x.ts`\n"
    assert file.read_text() == old


def test_line_ends_that_a_checkout_on_windows_changed_are_no_difference(run: Run, tmp_path: Path) -> None:
    run("codegen", "typescript", SAMPLE, "--out", "x.ts")
    file = tmp_path / "x.ts"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert run("codegen", "typescript", SAMPLE, "--out", "x.ts", "--check").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--check"], 2, "--check needs a file to compare with; name it with --out FILE"),
        (
            ["--out", "x.ts", "--check"],
            1,
            f"x.ts does not exist; run `flowcraft codegen typescript {SAMPLE} --out x.ts`",
        ),
        (
            ["--out", "no/x.ts"],
            1,
            "the folder no does not exist; create it, or choose another file with --out",
        ),
        (["--out", "."], 1, ". cannot be written: Is a directory; choose another file with --out"),
    ],
)
def test_a_file_that_cannot_be_is_told(run: Run, arguments: list[str], status: int, text: str) -> None:
    assert outcome(run("codegen", "typescript", SAMPLE, *arguments)) == (status, "", f"error: {text}\n")


def test_channels_that_typescript_cannot_say_are_a_failure(run: Run, module: Callable[[str], str]) -> None:
    name = module(
        "Taken = type(Event)('Channels', (Event,), {'__annotations__': {'x': int}})\n"
        "c = Channels()\nc.declare('a_update', Taken)"
    )
    status, _, told = outcome(run("codegen", "typescript", f"{name}:c"))
    assert (status, told) == (
        1,
        "error: a type cannot be called Channels in the generated TypeScript; rename the class\n",
    )


# channel list


def test_channels_are_listed_with_all_that_matters(run: Run, module: Callable[[str], str]) -> None:
    name = module(
        """
from flowcraft import Notify, Table
class A(Event): id: int
class B(Event): id: int
c = Channels()
c.declare("a_update", A, source=Table("t"))
tables = [Table("t", event=A), Table("u", event=B, on=["delete"])]
c.declare("as.{id}", A | B, params={"id": int}, source=tables)
c.declare("system", B, source=Notify("n"), durable=False)
@c.declare("b_update", B).guard
def may_see(viewer): return True
"""
    )
    assert run("channel", "list", f"{name}:c").stdout.splitlines() == [
        "CHANNEL       EVENTS  SOURCE                                     DELIVERY      GUARD",
        "a_update      A       table t (insert/update)                    exactly once  open to all",
        "as.{id: int}  A | B   table t (insert/update), table u (delete)  exactly once  open to all",
        "system        B       notify n                                   at most once  open to all",
        "b_update      B       broadcast                                  exactly once  may_see",
    ]


def test_no_channels_at_all_are_told_how_to_declare_one(run: Run, module: Callable[[str], str]) -> None:
    name = module("c = Channels()")
    assert "no channels yet; declare one with" in run("channel", "list", f"{name}:c").stdout


# migrate


@pytest.fixture
def migrated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Channels, bool]]:
    """What the database was asked to do; it did nothing."""
    calls: list[tuple[str, Channels, bool]] = []

    async def migrate(dsn: str, channels: Channels, *, prune: bool, **_: object) -> list[str]:
        calls.append((dsn, channels, prune))
        return ["one", "two"]

    monkeypatch.setattr(migrate_command, "migrate", migrate)
    return calls


def test_migrate_says_what_it_did(run: Run, migrated: list[Any]) -> None:
    assert outcome(run("migrate", SAMPLE, "--dsn", "postgresql://x")) == (0, "one\ntwo\n", "")
    assert migrated == [("postgresql://x", typescript_sample.channels, True)]
    run("migrate", SAMPLE, "--dsn", "postgresql://x", "--no-prune")
    assert migrated[1][2] is False


def test_the_database_is_the_named_one_then_that_of_the_application_then_that_of_the_environment(
    run: Run, module: Callable[[str], str], migrated: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module("channels = Channels()\nrealtime = Realtime(channels, dsn='postgresql://application')")
    monkeypatch.setenv("FLOWCRAFT_DSN", "postgresql://environment")
    run("migrate", f"{name}:realtime", "--dsn", "postgresql://named")
    run("migrate", f"{name}:realtime")
    run("migrate", f"{name}:channels")
    assert [dsn for dsn, _, _ in migrated] == [
        "postgresql://named",
        "postgresql://application",
        "postgresql://environment",
    ]


def test_sql_is_written_without_a_database(run: Run, migrated: list[Any]) -> None:
    status, sql, _ = outcome(run("migrate", SAMPLE, "--sql"))
    assert (status, migrated) == (0, [])
    assert sql.startswith("-- The log of FlowCraft Realtime")
    assert "begin isolation level read committed;" in sql


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_without_a_database_the_remedies_are_named(run: Run, command: str) -> None:
    text = "error: no database: pass dsn=..., or set FLOWCRAFT_DSN or DATABASE_URL\n"
    assert outcome(run(command, SAMPLE)) == (1, "", text)


def test_sql_and_a_database_exclude_each_other(run: Run) -> None:
    text = "error: --sql connects to no database; leave out --dsn or --sql\n"
    assert outcome(run("migrate", SAMPLE, "--sql", "--dsn", "postgresql://x")) == (2, "", text)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (
            asyncpg.LockNotAvailableError("x"),
            (
                "another session had a lock for 5 seconds; nothing was changed: try again when fewer "
                "transactions use the tables, or with a longer --lock-timeout"
            ),
        ),
        (
            asyncpg.InsufficientPrivilegeError("permission denied"),
            (
                "the database user lacks a privilege: permission denied; connect as the owner of the tables, "
                "or see --sql"
            ),
        ),
        (
            asyncpg.UndefinedTableError("no table"),
            "the database reported an error: no table; nothing was changed",
        ),
        (TimeoutError(), "the database cannot be reached: TimeoutError; see --dsn and FLOWCRAFT_DSN"),
        (
            ConnectionRefusedError(111, "refused"),
            "the database cannot be reached: [Errno 111] refused; see --dsn and FLOWCRAFT_DSN",
        ),
        (flowcraft.DeclarationError("a source does not fit"), "a source does not fit"),
    ],
)
def test_a_migration_that_fails_says_why_and_what_next(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: Exception, text: str
) -> None:
    async def migrate(*_: object, **__: object) -> list[str]:
        raise raised

    monkeypatch.setattr(migrate_command, "migrate", migrate)
    assert outcome(run("migrate", SAMPLE, "--dsn", "postgresql://x")) == (1, "", f"error: {text}\n")


# serve


def test_serve_listens_where_it_is_told(
    run: Run, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Realtime, str, int]] = []

    def serve(
        realtime: Realtime, host: str, port: int, *, announce: Callable[[str], None], admin_port: int | None
    ) -> None:
        assert admin_port is None
        announce("ws://here")
        served.append((realtime, host, port))

    monkeypatch.setattr("flowcraft.entrypoints.serve.serve", serve)
    name = module("channels = Channels()\nrealtime = Realtime(channels, dsn='postgresql://x')")
    assert outcome(run("serve", f"{name}:realtime")) == (0, "ws://here\n", "")
    run("serve", f"{name}:channels", "--host", "::1", "--port", "0")
    application = sys.modules[name]
    assert served[0] == (application.realtime, "127.0.0.1", 8400)
    assert (served[1][0].channels, *served[1][1:]) == (application.channels, "::1", 0)


def test_a_port_that_is_taken_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(*_: object, **__: object) -> None:
        raise OSError(98, "address already in use")

    monkeypatch.setattr("flowcraft.entrypoints.serve.serve", serve)
    text = "error: cannot listen on 127.0.0.1:80: address already in use; see --host and --port\n"
    assert outcome(run("serve", SAMPLE, "--port", "80")) == (1, "", text)


# The console


def test_the_console_script_is_this_command(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "flowcraft"
    (tmp_path / "mine.py").write_text("from flowcraft import Channels\nchannels = Channels()\n")
    done = subprocess.run(
        [script, "codegen", "typescript", "mine:channels"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, generate_typescript(Channels()), "")
    assert subprocess.run([script, "nonsense"], capture_output=True, check=False).returncode == 2
