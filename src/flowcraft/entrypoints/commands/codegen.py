"""`flowcraft codegen`: generate descriptions of the channels for other languages and tools."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

import click

from flowcraft.codegen.asyncapi import TITLE, Address, generate_asyncapi
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.entrypoints.commands.exit_status import FAILED, USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import channels_of, realtime_of, target_argument

out_option = click.option(
    "--out",
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to this file. Default: standard output.",
)
check_option = click.option(
    "--check", is_flag=True, help="Write nothing; fail and show a diff if the file is out of date."
)

STALE = "failure, or a file that is out of date (--check)"


@click.group(
    "codegen",
    epilog=example("flowcraft codegen typescript app.realtime:channels --out web/src/realtime.gen.ts"),
)
def command() -> None:
    """Generate descriptions of the channels for other languages and tools."""


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
def typescript(target: str | None, out: Path | None, check: bool) -> None:
    """Generate the TypeScript module of the channels.

    The module has a type for each event, the channels, builders for their names, and a hash of the schema.
    """
    _refuse_check_without_file(check, out)
    with exit_on_error():
        text = generate_typescript(channels_of(target))
    _deliver(text, out, check, ["typescript", *_named(target)])


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
@click.option("--title", help="The title of the document.", default=TITLE)
@click.option("--server", metavar="URL", help="The address of the WebSocket. Default: none in the document.")
def asyncapi(target: str | None, out: Path | None, check: bool, title: str, server: str | None) -> None:
    """Generate an AsyncAPI 3.0 document of the channels, as JSON.

    The document has the channels with the frames of their events, the requests and replies, and the channels
    that need a token: for documentation, and for clients in other languages. From a Realtime object it also
    has whether every client needs a token; a Channels object does not hold that.
    """
    _refuse_check_without_file(check, out)
    address = _address(server)
    with exit_on_error():
        realtime = realtime_of(target)
        wants_token = realtime.authorizer is not None
        text = generate_asyncapi(realtime.channels, title=title, address=address, wants_token=wants_token)
    named = [*(["--title", title] if title != TITLE else []), *(["--server", server] if server else [])]
    _deliver(text, out, check, ["asyncapi", *_named(target), *named])


def _named(target: str | None) -> list[str]:
    return [] if target is None else [target]


def _address(server: str | None) -> Address | None:
    try:
        return None if server is None else Address.parse(server)
    except ValueError as error:
        fail(f"--server: {error}", USAGE)


def _refuse_check_without_file(check: bool, out: Path | None) -> None:
    if check and out is None:
        fail("--check needs a file to compare with; name it with --out FILE", USAGE)


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
    difference = difflib.unified_diff(before, after, str(file), "generated from the current channels")
    click.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in difference), nl=False)
    fail(f"{file} is not up to date; run `{remedy}`", FAILED)


def _write(file: Path, text: str) -> None:
    try:
        if file.exists() and file.read_bytes() == text.encode():
            click.echo(f"{file} is up to date")  # not rewritten: file watchers stay quiet
            return
        file.write_text(text, "utf-8", newline="\n")
    except FileNotFoundError:
        fail(f"the folder {file.parent} does not exist; create it, or choose another file with --out")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}; choose another file with --out")
    click.echo(f"{file} written")
