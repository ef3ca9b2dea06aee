"""`flowcraft tail`: what is committed, as it is committed."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from contextlib import suppress

import click

from flowcraft.channels import NAME_GRAMMAR, Channels
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
from flowcraft.entrypoints.compose import Realtime
from flowcraft.entrypoints.log_tail import Patterns, tail
from flowcraft.errors import CursorMalformed, CursorUnusable
from flowcraft.records import Batch, Record


@click.command(
    "tail",
    epilog=example(
        "flowcraft tail run_update 'runs.*' --dsn postgresql://localhost/app",
        "flowcraft tail --json | jq .payload",
        done="it was told to end, or has shown --count events",
    ),
)
@click.argument(
    "channel", metavar="[NAME]...", help="Channels, or families such as 'runs.*'; all without.", nargs=-1
)
@click.option(
    "--since", metavar="CURSOR", help="From this position on, as flowcraft.cursor() told it; else from now."
)
@click.option("--count", help="End after so many events.", type=click.IntRange(min=1))
@click.option("--json", "as_json", help="One JSON object on each line.", is_flag=True)
@click.option("--dsn", metavar="DSN", help="The database; else FLOWCRAFT_DSN, or DATABASE_URL.")
def command(
    channel: tuple[str, ...], since: str | None, count: int | None, as_json: bool, dsn: str | None
) -> None:
    """Show events as they are committed, straight from the database.

    It reads the log five times a second, and needs no server. Events of channels outside the log
    (durable=False) are not seen. It ends with Ctrl-C.
    """
    for pattern in channel:
        _check(pattern)
    with failures_told():
        dsn = Realtime(Channels(), dsn=dsn).dsn
        asyncio.run(_follow(dsn, Patterns(channel), _position(since), _Printer(as_json, count)))


class _Printer:
    """Writes events to the terminal, up to a number of them."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count
        self.done = asyncio.Event()

    def __call__(self, record: Record, batch: Batch) -> None:
        if self.done.is_set():
            return
        try:
            print(self._line(record, batch), flush=True)
        except BrokenPipeError:  # whoever read us has had enough
            sys.stdout = None
            self.done.set()
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.done.set()

    def _line(self, record: Record, batch: Batch) -> str:
        if not self._as_json:
            return f"{batch.at:%H:%M:%S} {record.channel} #{record.id} {record.payload}"
        head = {
            "channel": record.channel,
            "id": record.id,
            "xid": str(record.xid),
            "cursor": str(batch.cursor),
        }
        return f'{json.dumps(head)[:-1]}, "payload": {record.payload}}}'


async def _follow(dsn: str, patterns: Patterns, since: Cursor | None, printer: _Printer) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows ends us by an exception instead
            loop.add_signal_handler(number, printer.done.set)
    following = asyncio.create_task(tail(dsn, patterns, since, printer, _say))
    ending = asyncio.create_task(printer.done.wait())
    await asyncio.wait([following, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    following.cancel()
    try:
        await following
    except asyncio.CancelledError:
        pass
    except CursorUnusable as error:
        fail(f"{error}; leave out --since to follow from now on")


def _say(what: str) -> None:
    click.echo(what, err=True)


def _position(since: str | None) -> Cursor | None:
    if since is None:
        return None
    try:
        return Cursor.parse(since)
    except CursorMalformed as error:
        fail(f"--since: {error}", USAGE)


def _check(pattern: str) -> None:
    name = "x" if pattern == "*" else f"{pattern[:-1]}x" if pattern.endswith(".*") else pattern
    if not re.fullmatch(NAME_GRAMMAR, name):
        fail(f"{pattern[:64]!r} is neither a channel, such as runs.42, nor a family, such as 'runs.*'", USAGE)
