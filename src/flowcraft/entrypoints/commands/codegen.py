"""`flowcraft codegen`: generate descriptions of the channels for other languages and tools."""

from __future__ import annotations

import difflib
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from flowcraft.codegen.asyncapi import TITLE, Address, generate_asyncapi
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.codegen.typescript_meaning import difference
from flowcraft.entrypoints.commands.exit_status import FAILED, USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import (
    AppTarget,
    channels_of,
    find_target,
    realtime_of,
    target_argument,
)
from flowcraft.entrypoints.source_watch import seen, wait_for_change

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

watch_option = click.option(
    "--watch", is_flag=True, help="Write again after every change of a Python file, until Ctrl-C."
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
@watch_option
def typescript(target: str | None, out: Path | None, check: bool, watch: bool) -> None:
    """Generate the TypeScript module of the channels.

    The module has a type for each event, the channels, builders for their names, and a hash of the schema.
    A file that a formatter has changed is compared by its meaning, and written only if that differs.
    """
    _refuse_check_without_file(check, out)
    if watch:
        if out is None or check:
            fail("--watch writes a file again and again; name it with --out FILE, without --check", USAGE)
        found = find_target(target)
        _watch(["typescript", found.name, "--out", str(out)], found)
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


def _watch(arguments: list[str], target: AppTarget) -> NoReturn:
    """Generate in a process of its own at every change: a module is imported once in ours."""
    folders = dict.fromkeys((Path.cwd(), target.root))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C
    with suppress(KeyboardInterrupt):
        while True:
            before = seen(folders)
            command = [sys.executable, "-m", "flowcraft.entrypoints.cli", "codegen", *arguments]
            subprocess.run(command, check=False)  # noqa: S603  # our own command
            wait_for_change(folders, before)
    raise click.exceptions.Exit


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
    if _is_current(file, present, text):
        return
    before, after = present.splitlines(keepends=True), text.splitlines(keepends=True)
    difference = difflib.unified_diff(before, after, str(file), "generated from the current channels")
    click.echo("".join(line if line.endswith("\n") else f"{line}\n" for line in difference), nl=False)
    fail(f"{file} is not up to date; run `{remedy}`", FAILED)


def _as_formatted(file: Path, text: str) -> str:
    """Return a text as the formatter of the pages writes it, where it had formatted the file before."""
    before = file.read_text("utf-8", "replace") if file.exists() else None
    if before is None or file.suffix != ".ts":
        return text
    from flowcraft.entrypoints.commands.formatting import formatted

    path = file.resolve()
    return formatted(path, text) if formatted(path, before) == before else text


def _is_current(file: Path, present: str, text: str) -> bool:
    """Return whether a file has the text; of TypeScript, whatever a formatter made of it."""
    return present == text or (file.suffix == ".ts" and difference(present, text) is None)


def _write(file: Path, text: str) -> None:
    try:
        if file.exists() and _is_current(file, file.read_bytes().decode("utf-8", "replace"), text):
            click.echo(f"{file} is up to date")  # not rewritten: file watchers and formatters stay quiet
            return
        file.write_text(_as_formatted(file, text), "utf-8", newline="\n")
    except FileNotFoundError:
        fail(f"the folder {file.parent} does not exist; create it, or choose another file with --out")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}; choose another file with --out")
    click.echo(f"{file} written")
