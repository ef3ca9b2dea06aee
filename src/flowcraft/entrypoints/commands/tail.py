"""`flowcraft tail`: print events as they are committed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import click

from flowcraft.channels import Channels
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import address_of, dsn_option, realtime_here, split_target
from flowcraft.entrypoints.log_tail import Patterns, tail
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown, CursorMalformed, CursorUnusable
from flowcraft.names import is_name
from flowcraft.records import Batch, Record


@click.command(
    "tail",
    epilog=example(
        "flowcraft tail run_update 'runs.*' --dsn postgresql://localhost/app",
        "flowcraft tail --json | jq .payload",
        done="interrupted, or --count events printed",
    ),
)
@click.argument(
    "words",
    metavar="[MODULE:ATTRIBUTE] [NAME]...",
    help="Channels, or families such as 'runs.*'; all without a name. Before them the object with the "
    "channels, as in `flowcraft channel list`.",
    nargs=-1,
)
@click.option(
    "--since",
    metavar="CURSOR",
    help="Start after this cursor, as flowcraft.cursor() returns it. Default: now.",
)
@click.option("--count", help="Stop after this many events.", type=click.IntRange(min=1))
@click.option("--json", "as_json", help="Print one JSON object per line.", is_flag=True)
@dsn_option
def command(
    words: tuple[str, ...], since: str | None, count: int | None, as_json: bool, dsn: str | None
) -> None:
    """Print events as they are committed, straight from the database.

    The command reads the log five times a second, and needs no server. Events of channels outside the log
    (durable=False) do not appear. Ctrl-C stops it.
    """
    target, patterns = split_target(words)
    for pattern in patterns:
        _check(pattern)
    with exit_on_error():
        realtime = realtime_here(target)
        cursor, address = _cursor(since), address_of(dsn, realtime)
        for line in _expected(realtime, patterns, address, since):
            _report(line)
        asyncio.run(_tail(address, Patterns(patterns), cursor, _Printer(as_json, count)))


def _expected(
    realtime: Realtime | None, patterns: Sequence[str], address: str, since: str | None
) -> Iterator[str]:
    """Yield what the command waits for, and which names of it are not declared in this project."""
    for pattern in patterns if realtime is not None and len(realtime.channels) else ():
        assert realtime is not None
        if (reason := _undeclared(realtime.channels, pattern)) is not None:
            yield f"note: {reason}"
    what = ", ".join(patterns) if patterns else "every channel"
    where = urlsplit(address)
    place = f"database {where.path.lstrip('/') or 'of the user'} at {where.hostname or 'the local socket'}"
    yield f"waiting for events on {what}, in {place}, {'after the cursor' if since else 'from now on'}"


def _undeclared(channels: Channels, pattern: str) -> str | None:
    """Return why no event of the project fits a name; None if events may."""
    if pattern == "*":
        return None
    family = pattern.endswith(".*")
    prefix = pattern.removesuffix(".*")
    if family and any(one.parameter is not None and one.prefix == prefix for one in channels):
        return None
    try:
        channels.resolve(prefix if family else pattern)
    except (ChannelUnknown, ChannelNameInvalid) as error:
        return str(error)
    return f"{prefix} is no family: flowcraft tail {prefix}" if family else None


class _Printer:
    """Prints events, up to a number of them."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count
        self.done = asyncio.Event()

    def __call__(self, record: Record, batch: Batch) -> None:
        if self.done.is_set():
            return
        try:
            print(self._line(record, batch), flush=True)
        except BrokenPipeError:  # the reader of our output, such as `head`, has ended
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


async def _tail(dsn: str, patterns: Patterns, since: Cursor | None, printer: _Printer) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows ends us by an exception instead
            loop.add_signal_handler(number, printer.done.set)
    reading = asyncio.create_task(tail(dsn, patterns, since, printer, _report))
    ending = asyncio.create_task(printer.done.wait())
    await asyncio.wait([reading, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    reading.cancel()
    try:
        await reading
    except asyncio.CancelledError:
        pass
    except CursorUnusable as error:
        fail(f"{error}; leave out --since to start from now")


def _report(what: str) -> None:
    click.echo(what, err=True)


def _cursor(since: str | None) -> Cursor | None:
    if since is None:
        return None
    try:
        return Cursor.parse(since)
    except CursorMalformed as error:
        fail(f"--since: {error}", USAGE)


def _check(pattern: str) -> None:
    name = "x" if pattern == "*" else f"{pattern[:-1]}x" if pattern.endswith(".*") else pattern
    if not is_name(name):
        fail(f"{pattern[:64]!r} is neither a channel, such as runs.42, nor a family, such as 'runs.*'", USAGE)
