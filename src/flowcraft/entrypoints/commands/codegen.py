"""`flowcraft codegen`: write down for other languages what the channels carry."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from flowcraft.codegen.typescript import generate_typescript
from flowcraft.entrypoints.commands.reporting import FAILED, USAGE, example, fail, failures_told
from flowcraft.entrypoints.commands.target import Target, channels_of

app = typer.Typer(
    name="codegen", help="Generate the channels' types for other languages.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Generate the channels' types for other languages."""


@app.command(
    epilog=example(
        "flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts",
        "flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts --check",
    )
)
def typescript(
    target: Target,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "--output", "-o", metavar="FILE", help="Write to this file, not to the terminal."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; if the file is not up to date, show how and fail."),
    ] = False,
) -> None:
    """Write the TypeScript module of the channels.

    It has a type for each event, the channels, builders of their names, and a hash of it all.
    """
    if check and out is None:
        fail("--check compares with a file; name it with --out FILE", USAGE)
    with failures_told():
        text = generate_typescript(channels_of(target))
    if out is None:
        typer.echo(text, nl=False)
    elif check:
        _compare(out, text, f"flowcraft codegen typescript {target} --out {out}")
    else:
        _write(out, text)


def _compare(file: Path, text: str, remedy: str) -> None:
    try:
        present = file.read_text("utf-8")
    except FileNotFoundError:
        fail(f"{file} does not exist; run `{remedy}`")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file} cannot be read: {error}")
    if present == text:
        return
    before, after = present.splitlines(keepends=True), text.splitlines(keepends=True)
    difference = difflib.unified_diff(before, after, str(file), "generated from the channels of today")
    typer.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in difference), nl=False)
    fail(f"{file} is not up to date; run `{remedy}`", FAILED)


def _write(file: Path, text: str) -> None:
    try:
        if file.exists() and file.read_bytes() == text.encode():
            typer.echo(f"{file} is up to date")  # untouched, so that nothing that watches it wakes up
            return
        file.write_text(text, "utf-8", newline="\n")
    except FileNotFoundError:
        fail(f"the folder {file.parent} does not exist; make it, or name another with --out")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}; name another with --out")
    typer.echo(f"{file} written")
