"""The client that `init` writes uses the address, the token and the formatter that the page has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flowcraft.entrypoints.commands.formatting import formatted
from flowcraft.scaffolding.applications import find_application
from flowcraft.scaffolding.page_client import PageClient, page_client
from flowcraft.scaffolding.page_origins import PageOrigins, page_origins
from tests.scaffolding.started import run
from tests.support.journeys import write

API = "const URL = import.meta.env.VITE_API_URL"
READS = "const token = localStorage.getItem('access_token')"


@pytest.mark.parametrize(
    ("code", "address", "token"),
    [
        (API, 'import.meta.env.VITE_API_URL ?? ""', None),
        (f"{API} || 'http://x'", 'import.meta.env.VITE_API_URL || "http://x"', None),
        (f"{API}\n{API} ?? '/api'", 'import.meta.env.VITE_API_URL ?? "/api"', None),
        (f"{API}; import.meta.env.VITE_BACKEND", None, None),
        ("import.meta.env.VITE_TITLE", None, None),
        (READS, None, 'localStorage.getItem("access_token")'),
        (f"{READS}; localStorage.setItem('refresh_token', x)", None, 'localStorage.getItem("access_token")'),
        (f"{READS}; sessionStorage.getItem('jwt')", None, None),
        ("localStorage.getItem('theme')", None, None),
    ],
)
def test_the_address_and_the_token_are_those_of_the_page(
    here: Path, code: str, address: str | None, token: str | None
) -> None:
    write(here, {"api.ts": code, "api.test.ts": "localStorage.getItem('other_token')"})
    assert page_client(here) == PageClient(address, token)


def test_the_client_names_the_service_and_the_token() -> None:
    text = PageClient('import.meta.env.VITE_API_URL ?? "http://localhost:8000"', "read()").text()
    address = '  import.meta.env.VITE_API_URL ?? "http://localhost:8000",\n  location.href,\n'
    assert f"const service = new URL(\n{address});\n" in text
    assert '  url: new URL("/realtime", service),\n  schema: schemaHash,\n' in text
    assert "  token: () => read(),\n" in text
    assert "// token:" in PageClient().text()
    assert "cookie" in PageClient().text(cookies=True)
    assert "url" not in PageClient().text()


CORS = "app.add_middleware(CORSMiddleware, allow_origins={})\n"
MAIN = "from fastapi import FastAPI\nfrom app.config import settings\napp = FastAPI()\n"


@pytest.mark.parametrize(
    ("origins", "found"),
    [
        (None, None),
        ("['https://a.example']", PageOrigins('("https://a.example",)')),
        ("['*']", PageOrigins()),
        ("ORIGINS", PageOrigins()),
        ("settings.origins", PageOrigins("tuple(settings.origins)", (("app.config", "settings"),))),
        (
            "[str(o) for o in settings.origins]",
            PageOrigins("tuple([str(o) for o in settings.origins])", (("app.config", "settings"),)),
        ),
    ],
)
def test_the_origins_are_those_of_the_cors_middleware(
    here: Path, origins: str | None, found: PageOrigins | None
) -> None:
    write(here, {"main.py": MAIN + (CORS.format(origins) if origins is not None else "")})
    assert page_origins(find_application(here, None)) == found


def test_the_objects_of_the_module_have_the_origins_and_the_address(here: Path) -> None:
    package = '{ "dependencies": { "react": "1" } }'
    engine = "from app.config import settings\nengine = create_engine(settings.url)\n"
    files = {
        "app/__init__.py": "",
        "app/main.py": MAIN + CORS.format("settings.origins"),
        "app/db.py": engine,
    }
    write(here, {**files, "web/package.json": package, "web/src/api.ts": API})
    printed = run(here, "flowcraft", "init")
    made = ast.parse((here / "app/realtime.py").read_text("utf-8"))
    (call,) = [
        ast.unparse(n.value) for n in made.body if isinstance(n, ast.Assign) and "Realtime(" in ast.unparse(n)
    ]
    settings = "settings=Settings(allowed_origins=tuple(settings.origins))"
    assert call == f"Realtime(channels, {settings}, dsn=str(settings.url))"
    assert "allowed_origins" not in printed.partition("Next:")[2]
    write(here, {"app/main.py": MAIN + CORS.format("['*']")})
    (here / "app/realtime.py").unlink()
    assert "Settings(allowed_origins=(…,))" in run(here, "flowcraft", "init").partition("Next:")[2]


SINGLE_QUOTES = '#!/bin/sh\n[ "$1" = {} ] || exit 1\nsed "s/\\"/\'/g"\n'


@pytest.mark.parametrize(
    ("files", "tool", "option"),
    [
        ({"package.json": '{ "devDependencies": { "prettier": "3" } }'}, "prettier", "--stdin-filepath"),
        ({"package.json": "{}", ".prettierrc.json": "{}"}, "prettier", "--stdin-filepath"),
        (
            {"package.json": '{ "devDependencies": { "prettier": "3" } }', "biome.json": "{}"},
            "biome",
            "check",
        ),
        ({"package.json": "{}"}, "prettier", None),
    ],
)
def test_new_files_are_as_the_formatter_of_the_page_writes_them(
    here: Path, files: dict[str, str], tool: str, option: str | None
) -> None:
    program = here / "node_modules/.bin" / tool
    write(here, {**files, str(program.relative_to(here)): SINGLE_QUOTES.format(option or "--stdin-filepath")})
    program.chmod(0o755)
    text = 'import "x";\n'
    assert formatted(here / "src/a.ts", text) == (text if option is None else "import 'x';\n")
    assert formatted(here / "src/a.css", text) == text


def test_types_stay_as_the_formatter_of_the_page_writes_them(here: Path) -> None:
    module = (
        "from flowcraft import Channels, Event\n\n\nclass A(Event):\n    n: int\n\n\nchannels = Channels()\n"
    )
    program = "node_modules/.bin/prettier"
    write(
        here,
        {"package.json": '{ "devDependencies": { "prettier": "3" } }', "types.ts": "", "shop.py": module},
    )
    write(here, {program: SINGLE_QUOTES.format("--stdin-filepath")})
    (here / program).chmod(0o755)
    generate = ("flowcraft", "codegen", "typescript", "shop:channels", "--out", "types.ts")
    assert run(here, *generate) == "types.ts written\n"
    first = (here / "types.ts").read_text("utf-8")
    assert "import '@flowcraft/realtime';" in first
    write(here, {"shop.py": f'{module}channels.declare("a_update", A)\n'})
    assert run(here, *generate) == "types.ts written\n"
    second = (here / "types.ts").read_text("utf-8")
    assert "'a_update'" in second
    assert '"' not in second
    assert run(here, *generate) == "types.ts is up to date\n"
