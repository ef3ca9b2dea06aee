"""Write docs/reference/: names, settings, commands and codes, from the code. `--check` compares."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import click
from click.testing import CliRunner

import flowcraft
from flowcraft import Settings, errors
from flowcraft.entrypoints.cli import app

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/reference"
REMEDY = "run .venv/bin/python scripts/reference_pages.py and commit what it writes"
SIGNATURE = "<!-- snippet: skip signature -->"
ANSWERS = """\
| status | why |
|---|---|
| 400 | a token in the address, where logs keep it; or a request that cannot be read |
| 401 | an event stream whose token is refused or missing; the JSON has the close code as `code` |
| 403 | the page's origin is not in `allowed_origins` |
| 404 | another path |
| 405 | another method; `Allow` names those that there are: GET, HEAD and OPTIONS, POST for streams |
| 408 | the request did not arrive within 5 s |
| 413 | the content of a request is too long |
| 414, 431 | a target, a head that is too long |
| 421 | a host that is not in `allowed_hosts` |
| 426 | the right path, without a WebSocket handshake; often a proxy does not pass `Upgrade` on |
| 500 | an error of the server, which is in its log |
| 501, 505 | a transfer coding other than `chunked`; another version of HTTP than 1.0 and 1.1 |
| 503 | not ready, or full (`connections`); `Retry-After` has the time to wait |"""
_CALLED = {"broadcast", "broadcast_ephemeral", "cursor", "rotate", "purge", "revoke", "ask_again"}
_INCLUDED = re.compile(r"^\\ir (functions_\w+)\.sql$", re.MULTILINE)
_FUNCTION = re.compile(
    r"((?:^--.*\n)+)create or replace function flowcraft\.(\w+)\((.*)\) returns (\w+)", re.MULTILINE
)
_MADE_BY_HAND = {"JwtAuthorizer", "MemoryBackend", "Notify", "PostgresBackend", "Realtime", "Table", "Viewer"}
"""Classes whose constructors applications call, documented in their docstrings."""


def python_page() -> str:
    """Return the page of the public Python names."""
    parts = ["# Python: `flowcraft`", "What is not listed here may change without notice."]
    for name in sorted(set(flowcraft.__all__) - {"__version__", "Settings"}):
        value = getattr(flowcraft, name)
        parts += [f"## `{name}`", *_described(name, value)]
    parts += ["## `Settings`", "[A page of its own](settings.md)."]
    return _page(parts)


def _described(name: str, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        if callable(value):
            yield _signature(name, value, kind="")
        yield _documented(value)
        return
    if name in _MADE_BY_HAND:
        yield _signature(name, value.__init__, kind="class")
    yield _documented(value)
    for member, attribute in _members(value):
        yield f"### `{name}.{member}`"
        if not isinstance(attribute, property):
            yield _signature(member, attribute, kind="")
        yield _documented(attribute)


def _members(value: type) -> Iterator[tuple[str, property | Callable[..., object]]]:
    """Public methods and properties that are ours and have a docstring."""
    for owner in value.__mro__:
        if owner.__module__.startswith("flowcraft"):
            for name in vars(owner):
                found = inspect.getattr_static(owner, name)
                attribute: object = getattr(found, "__func__", found)  # of a class method
                if name.startswith("_") or not inspect.getdoc(attribute):
                    continue
                if isinstance(attribute, property | FunctionType):
                    yield name, attribute


def _signature(name: str, value: Callable[..., object], kind: str) -> str:
    """The signature as one would write it, on as many lines as it needs."""
    prefix = "async def " if inspect.iscoroutinefunction(value) else "def "
    parameters = _parameters(inspect.signature(value))
    returns = inspect.signature(value).return_annotation
    after = "" if kind or returns is inspect.Signature.empty else f" -> {_annotation(returns)}"
    head = f"class {name}:\n    def __init__" if kind else f"{prefix}{name}"
    indent = "    " if kind else ""
    line = f"{head}({', '.join(parameters)}){after}: ..."
    if len(line.rsplit("\n", 1)[-1]) > 88:
        rows = "".join(f"{indent}    {parameter},\n" for parameter in parameters)
        line = f"{head}(\n{rows}{indent}){after}: ..."
    line = line.replace("'", '"')  # as the formatter has it, which formats the pages too
    return f"{SIGNATURE}\n```python\n{line}\n```"


def _parameters(signature: inspect.Signature) -> list[str]:
    found: list[str] = []
    for parameter in signature.parameters.values():
        text = parameter.name
        if (
            parameter.kind is parameter.KEYWORD_ONLY
            and "*" not in found
            and not any(f.startswith("*") for f in found)
        ):
            found.append("*")
        if parameter.kind is parameter.VAR_KEYWORD:
            text = f"**{text}"
        if parameter.annotation is not inspect.Parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            made = repr(parameter.default)
            text += f" = {'...' if made.startswith('<') else made}"
        found.append(text)
    positional = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY]
    if positional:
        found.insert(len(positional), "/")
    return found


def _annotation(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _documented(value: object) -> str:
    """A docstring as Markdown: what is raised becomes a list."""
    text, _, raised = (inspect.getdoc(value) or "").partition("Raises:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n(?! {4}\w+: ).+)*)", raised, re.MULTILINE)
    listed = "\n".join(f"- `{name}`: {' '.join(reason.split())}" for name, reason in entries)
    return f"{text.strip()}\n\nRaises:\n\n{listed}" if listed else text.strip()


def settings_page() -> str:
    """Return the table of all settings."""
    rows = "\n".join(
        f"| `{name}` | {_default(getattr(Settings(), name))}{_unit(name)} | {text} |"
        for name, text in _field_docs(Settings).items()
    )
    return _page(
        [
            "# Settings",
            "How one server behaves: `Realtime(channels, settings=Settings(drain_seconds=30))`.",
            (
                "A server logs those in force when it starts. A value of another type, or one that can never "
                "work, is a `ValueError` when the `Settings` are made; its message has the range, or the "
                "origin as it is written."
            ),
            f"| setting | default | what it does |\n|---|---|---|\n{rows}",
        ]
    )


def _field_docs(struct: type) -> dict[str, str]:
    """The sentences below the fields of a class, which Python itself forgets."""
    (body,) = [node for node in ast.parse(inspect.getsource(struct)).body if isinstance(node, ast.ClassDef)]
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            described = below.value if isinstance(below, ast.Expr) else None
            text = described.value if isinstance(described, ast.Constant) else ""
            found[field.target.id] = " ".join(str(text).split())
    return found


def _default(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value == () else str(value).lower()
    if value >= 2**16 and value % 2**10 == 0:
        return f"{value // 2**20:g} MiB" if value % 2**20 == 0 else f"{value // 2**10:g} KiB"
    return f"{value:,.15g}"


def _unit(name: str) -> str:
    return " s" if name.endswith("_seconds") else ""


def commands_page() -> str:
    """Return the help of every command, as the command gives it."""
    parts = ["# Commands", "Each as `--help` shows it."]
    for path in _commands(app):
        result = CliRunner().invoke(app, [*path, "--help"], prog_name="flowcraft", terminal_width=80)
        assert result.exit_code == 0, result.output
        parts += [f"## `{' '.join(('flowcraft', *path))}`", f"```text\n{result.output.rstrip()}\n```"]
    return _page(parts)


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from _commands(command.get_command(context, name), (*path, name))


def codes_page() -> str:
    """Return the errors of Python and the codes that clients see."""
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    rows = "\n".join(f"| `{c.__name__}` | {_code(c)} | {_first_paragraph(c)} |" for c in classes)
    closing = (ROOT / "spec/protocol.md").read_text("utf-8").split("## Closing\n")[1].split("\n## ")[0]
    return _page(
        [
            "# Errors and codes",
            "## Errors in Python",
            "All but `DeclarationError`, which is a programmer's mistake, are `flowcraft.RealtimeError`s.",
            "Clients receive the code in an `error` frame, the reason in a `reset`.",
            f"| class in `flowcraft.errors` | code or reason | what happened |\n|---|---|---|\n{rows}",
            "## Codes of a closed WebSocket",
            closing.strip(),
            "## HTTP status codes of refused connections",
            ANSWERS,
            "The frames are described in [the protocol](../../spec/protocol.md).",
        ]
    )


def _code(error: type) -> str:
    word = getattr(error, "reason", None) or vars(error).get("code", "")
    return f"`{word}`" if word else ""


def _first_paragraph(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def typescript_page() -> str:
    """Return the public names of the npm package."""
    listed = subprocess.run(
        ["node", "scripts/typescript_names.mjs"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    parts = [
        "# TypeScript: `@flowcraft/realtime`",
        "As the package declares them. How they go together: [the client](client.md).",
    ]
    for entry in json.loads(listed.stdout):
        parts.append(f"## `{entry['entry']}`")
        for name in entry["names"]:
            parts += [f"### `{name['name']}`", name["comment"], f"{SIGNATURE}\n```ts\n{name['text']}\n```"]
    return _page([part for part in parts if part]).replace(
        "(client.md)", "(../../packages/realtime/README.md)"
    )


def sql_page() -> str:
    """Return the functions that services and operators call, with the comments above them."""
    parts = ["# SQL: the schema `flowcraft`", "For services in any language, and for operators."]
    sql, newest = ROOT / "src/flowcraft/adapters/postgres/sql", dict[str, list[str]]()
    for migration in sorted(sql.glob("0*.sql")):  # a later one replaces functions of an earlier one
        for included in _INCLUDED.findall(migration.read_text("utf-8")):
            text = (sql / f"{included}.sql").read_text("utf-8")
            for comment, name, arguments, returns in _FUNCTION.findall(text):
                lines = [line.removeprefix("--").strip() for line in comment.strip().splitlines()]
                newest[f"{name}({arguments})"] = [
                    f"## `flowcraft.{name}({arguments})`",
                    f"Returns `{returns}`.",
                    _sentence(name, "\n".join(lines)),
                ]
    for signature, described in newest.items():
        if signature.partition("(")[0] in _CALLED:
            parts += described
    parts.append(
        "Which role may call which function: [privileges](../guides/managed-postgres.md#which-privileges)."
    )
    return _page(parts)


def _sentence(name: str, text: str) -> str:
    described = text.removeprefix(f"{name}: ")
    return described[0].upper() + described[1:]


def _page(parts: list[str]) -> str:
    return "\n\n".join([*parts, "<!-- Written by scripts/reference_pages.py from the code. -->\n"])


def pages() -> dict[str, str]:
    """Return all pages by their file's name."""
    return {
        "python.md": python_page(),
        "typescript.md": typescript_page(),
        "sql.md": sql_page(),
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "codes.md": codes_page(),
    }


def main(check: bool) -> int:
    """Write the pages, or list those that would change."""
    stale = 0
    for name, text in pages().items():
        file = FOLDER / name
        if not check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")
        elif not file.exists() or file.read_text("utf-8") != text:
            print(f"docs/reference/{name} differs from the code; {REMEDY}", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
