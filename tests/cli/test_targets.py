"""The channels of a project are found by every command alike: named, remembered, or in the code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowcraft.adapters.postgres.address import DSN_VARIABLES, find_dsn
from flowcraft.entrypoints.cli import app
from flowcraft.entrypoints.commands.importing import read_env_file
from flowcraft.entrypoints.commands.target import find_target, realtime_of
from tests.scaffolding import started

CHANNELS = (
    "from flowcraft import Channels, Event\n\n\nclass Noted(Event):\n    n: int\n\n\nchannels = Channels()\n"
)
DECLARED = f'{CHANNELS}channels.declare("note_update", Noted)\n'
WITH_REALTIME = DECLARED.replace("Event\n", "Event, Realtime\n", 1) + "realtime = Realtime(channels)\n"
_numbers = count()


@pytest.fixture(autouse=True)
def same_modules() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def name() -> str:
    """The name of a package that no other test has imported."""
    return f"shop{next(_numbers)}"


def write(here: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text, "utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="flowcraft")


SHAPES = {
    "in the current folder": ("", "{name}.py"),
    "in a package": ("", "{name}/realtime.py"),
    "in src": ("", "src/{name}/realtime.py"),
    "in a backend beside a frontend": ("", "backend/{name}/realtime.py"),
    "from inside": ("backend", "backend/{name}/realtime.py"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", ["code", "pyproject.toml"])
def test_the_channels_are_found(
    shape: str, kept: str, name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, place = SHAPES[shape]
    path = place.format(name=name)
    write(here, {path: WITH_REALTIME})
    if (here / path).parent.name == name:
        other = f"from {name}.realtime import realtime\n"
        write(here, {f"{Path(path).parent}/__init__.py": "", f"{Path(path).parent}/main.py": other})
    target = name if path == f"{name}.py" else f"{name}.realtime"
    if kept == "pyproject.toml":
        write(here, {"second.py": WITH_REALTIME})
        from_here = "." if inside else (here / path.partition(name)[0]).relative_to(here)
        table = f'[tool.flowcraft]\nrealtime = "{target}:realtime"\npath = "{from_here}"\n'
        write(here, {str(Path(inside) / "pyproject.toml"): table})
    monkeypatch.chdir(here / inside)
    found = find_target(None, kind="Realtime")
    assert found.name == f"{target}:realtime"
    for command in (["channel", "list"], ["channel", "show", "note_update"], ["codegen", "typescript"]):
        done = run(*command)
        assert done.exit_code == 0, done.output
        assert "note_update" in done.stdout
    named = run("channel", "show", found.name, "note_update")
    assert named.stdout == run("channel", "show", "note_update").stdout


def test_a_server_is_not_started_without_a_realtime_object(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    write(here, {f"{name}.py": DECLARED})
    assert run("channel", "list").exit_code == 0
    done = run("serve", "--port", "0")
    assert (done.exit_code, done.stderr) == (
        2,
        f"error: no `realtime = Realtime(…)` found below {here}; name it, such as app.realtime:realtime\n",
    )


def test_of_several_objects_one_is_to_be_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    write(here, {"one.py": WITH_REALTIME, "two.py": WITH_REALTIME, "tests/three.py": WITH_REALTIME})
    done = run("channel", "list")
    assert (done.exit_code, done.stderr) == (
        2, "error: found several objects; name one: one:realtime | two:realtime\n",
    )  # fmt: skip


def test_settings_that_are_no_texts_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    write(here, {"pyproject.toml": "[tool.flowcraft]\nrealtime = 7\n"})
    done = run("channel", "list")
    assert done.exit_code == 1
    assert done.stderr.endswith("has texts named realtime, path, app, run, web, not realtime = 7\n")


MODELS = "from django.conf import settings\n\nNAME = settings.SITE_NAME\n"


def test_a_module_that_needs_django_has_it_set_up(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    settings = f"os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{name}.settings')\n"
    write(
        here,
        {
            "manage.py": f"import os\n{settings}",
            f"{name}/__init__.py": "",
            f"{name}/settings.py": "SITE_NAME = 'shop'\nSECRET_KEY = '-'\n",
            f"{name}/realtime.py": f"{MODELS}{WITH_REALTIME}",
        },
    )
    done = subprocess.run(
        [Path(sys.executable).parent / "flowcraft", "channel", "list"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note_update" in done.stdout


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("DATABASE_URL=postgresql+psycopg://me@h/app\n", "postgresql://me@h/app"),
        ('# ours\nexport DATABASE_URL="postgres://me:a#b@h/app"\n', "postgres://me:a#b@h/app"),
        ("DATABASE_URL = postgresql+asyncpg://h/app # main\nFLOWCRAFT_DSN='postgresql://h/log'\n", "postgresql://h/log"),
        ("OTHER=1\n", None),
        ("DATABASE_URL=\n", None),
    ],
)  # fmt: skip
def test_the_address_is_read_from_the_env_file_where_the_environment_has_none(
    text: str, address: str | None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in DSN_VARIABLES:
        monkeypatch.setenv(variable, "")  # so that the test's changes are undone
        monkeypatch.delenv(variable)
    write(here, {".git/HEAD": "", "api/.env": "OTHER=1\n" if address is None else text, "api/app/x": ""})
    read_env_file(here / "api/app", DSN_VARIABLES)
    if address is None:
        with pytest.raises(Exception, match="no database"):
            find_dsn(None)
    else:
        assert find_dsn(None) == address


def test_a_module_is_imported_where_its_project_is_served(here: Path, name: str) -> None:
    settings = "from pathlib import Path\n\nSECRET = Path('.env').read_text()\n"
    write(here, {
        f"backend/{name}/__init__.py": "",
        f"backend/{name}/settings.py": settings,
        f"backend/{name}/realtime.py": f"from {name}.settings import SECRET\n{DECLARED}",
        "backend/.env": "SECRET=x\n",
    })  # fmt: skip
    done = run("channel", "list", f"{name}.realtime:channels")
    assert done.exit_code == 0, done.output
    assert Path.cwd() == here


def test_the_address_in_the_env_file_of_a_backend_is_found(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    table = '[tool.flowcraft]\nrealtime = "app:realtime"\n'
    write(here, {
        ".env": "POSTGRES_DB=app\n",
        "backend/pyproject.toml": table,
        "backend/.env": "DATABASE_URL=postgresql://h/backend\n",
    })  # fmt: skip
    monkeypatch.delenv("DATABASE_URL")
    read_env_file(here, DSN_VARIABLES, here / "backend")
    assert find_dsn(None) == "postgresql://h/backend"


def test_the_address_is_that_of_the_settings_of_django(here: Path, name: str) -> None:
    settings = (
        'SECRET_KEY = "x"\nDATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", '
        '"NAME": "app", "USER": "me", "HOST": "127.0.0.1", "PORT": "1"}}\n'
    )
    write(here, {
        "api/manage.py": f'environ.setdefault("DJANGO_SETTINGS_MODULE", "{name}.settings")\n',
        f"api/{name}/__init__.py": "",
        f"api/{name}/settings.py": settings,
        f"api/{name}/realtime.py": WITH_REALTIME,
    })  # fmt: skip
    asked = "from flowcraft.entrypoints.commands.target import realtime_of; print(realtime_of(None).dsn)"
    expected = "postgresql://me@127.0.0.1:1/app\n"
    for folder in (here, here / "api", here / "api" / name):
        assert started.run(folder, sys.executable, "-c", asked) == expected
    write(here, {".env": "DATABASE_URL=postgresql://h/env\n"})
    assert started.run(here, sys.executable, "-c", asked) == "postgresql://h/env\n"


def test_channels_have_the_address_of_the_object_that_serves_them(here: Path, name: str) -> None:
    addressed = WITH_REALTIME.replace("Realtime(channels)", 'Realtime(channels, dsn="postgresql://h/code")')
    write(here, {f"{name}.py": addressed})
    assert realtime_of(f"{name}:channels").dsn == "postgresql://h/code"
    assert realtime_of(f"{name}:channels", "postgresql://h/named").dsn == "postgresql://h/named"
