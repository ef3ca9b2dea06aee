"""`flowcraft codegen`: write down for other languages and tools what the channels carry."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

import click

from flowcraft.codegen.asyncapi import TITLE, Address, generate_asyncapi
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.entrypoints.commands.reporting import FAILED, USAGE, example, fail, failures_told
from flowcraft.entrypoints.commands.target import channels_of, realtime_of, target_argument

out_option = click.option(
    "--out",
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file, not to the terminal.",
)
check_option = click.option(
    "--check", is_flag=True, help="Write nothing; if the file is not up to date, show how and fail."
)

STALE = "it failed, or --check found a difference"


@click.group(
    "codegen",
    epilog=example("flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts"),
)
def command() -> None:
    """Describe the channels to other languages and tools."""


@command.command(
    epilog=example(
        "flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts",
        "flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts --check",
        failed=STALE,
    )
)
@target_argument
@out_option
@check_option
def typescript(target: str, out: Path | None, check: bool) -> None:
    """Write the TypeScript module of the channels.

    It has a type for each event, the channels, builders of their names, and a hash of it all.
    """
    _refuse_check_without_file(check, out)
    with failures_told():
        text = generate_typescript(channels_of(target))
    _deliver(text, out, check, ["typescript", target])


@command.command(
    epilog=example(
        "flowcraft codegen asyncapi app.realtime:realtime --server wss://app.example/realtime",
        "flowcraft codegen asyncapi app.realtime:channels --out asyncapi.json --check",
        failed=STALE,
    )
)
@target_argument
@out_option
@check_option
@click.option("--title", help="What the document calls itself.", default=TITLE)
@click.option("--server", metavar="URL", help="Where the WebSocket is; without it none is named.")
def asyncapi(target: str, out: Path | None, check: bool, title: str, server: str | None) -> None:
    """Write an AsyncAPI 3.0 document of the channels, as JSON.

    It has the channels with the frames of their events, what clients may ask, the answers, and who needs a
    token: for documentation, and for clients in other languages. A Realtime object tells more than bare
    channels: whether every client needs a token.
    """
    _refuse_check_without_file(check, out)
    address = _address(server)
    with failures_told():
        realtime = realtime_of(target)
        wants_token = realtime.authorizer is not None
        text = generate_asyncapi(realtime.channels, title=title, address=address, wants_token=wants_token)
    named = [*(["--title", title] if title != TITLE else []), *(["--server", server] if server else [])]
    _deliver(text, out, check, ["asyncapi", target, *named])


def _address(server: str | None) -> Address | None:
    try:
        return None if server is None else Address.parse(server)
    except ValueError as error:
        fail(f"--server: {error}", USAGE)


def _refuse_check_without_file(check: bool, out: Path | None) -> None:
    if check and out is None:
        fail("--check compares with a file; name it with --out FILE", USAGE)


def _deliver(text: str, out: Path | None, check: bool, command: list[str]) -> None:
    if out is None:
        click.echo(text, nl=False)
    elif check:
        _compare(out, text, shlex.join(["flowcraft", "codegen", *command, "--out", str(out)]))
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
    click.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in difference), nl=False)
    fail(f"{file} is not up to date; run `{remedy}`", FAILED)


def _write(file: Path, text: str) -> None:
    try:
        if file.exists() and file.read_bytes() == text.encode():
            click.echo(f"{file} is up to date")  # untouched, so that nothing that watches it wakes up
            return
        file.write_text(text, "utf-8", newline="\n")
    except FileNotFoundError:
        fail(f"the folder {file.parent} does not exist; make it, or name another with --out")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}; name another with --out")
    click.echo(f"{file} written")
