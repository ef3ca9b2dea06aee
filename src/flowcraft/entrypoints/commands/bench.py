"""`flowcraft bench`: how many clients and events an installation carries."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg
import click
import msgspec

from flowcraft.channels import Channels
from flowcraft.entrypoints.bench import BenchFailed, Installation, Step, bench, own_server, require_log
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
from flowcraft.entrypoints.commands.target import check_websocket
from flowcraft.entrypoints.compose import Realtime
from flowcraft.entrypoints.open_files import SPARE_FILES, allow_files
from flowcraft.entrypoints.serve import run
from flowcraft.testing.load_clients import LoadClientsRefused

FIRST_STEP, GROWTH = 100, 10
COLUMNS = ("clients", "connects/s", "to all, p50 ms", "p99 ms", "messages/s", "events/s", "KB/client")


@click.command(
    "bench",
    epilog=example(
        "flowcraft bench --dsn postgresql://localhost/app --clients 5000",
        "flowcraft bench --url wss://app.example/realtime --channel run_update --payload '{...}'",
    ),
)
@click.option(
    "--clients", help="The most clients; fewer are tried first.", type=click.IntRange(min=1), default=1000
)
@click.option(
    "--seconds", help="How long to measure with each number.", type=click.FloatRange(min=0.1), default=4.0
)
@click.option(
    "--workers", help="Workers of the server that is started.", type=click.IntRange(min=1), default=1
)
@click.option("--dsn", metavar="DSN", help="The database; else FLOWCRAFT_DSN, or DATABASE_URL.")
@click.option("--url", metavar="URL", help="A server that runs, instead of one of our own.")
@click.option("--channel", metavar="NAME", help="With --url: publish on this channel.")
@click.option("--payload", metavar="JSON", help="With --url: publish this, again and again.")
@click.option("--token", help="With --url: what clients prove who they are by.")
@click.option("--json", "as_json", help="Write the figures as JSON.", is_flag=True)
def command(  # noqa: PLR0913  # options
    *,
    clients: int,
    seconds: float,
    workers: int,
    dsn: str | None,
    url: str | None,
    channel: str | None,
    payload: str | None,
    token: str | None,
    as_json: bool,
) -> None:  # options
    """Measure how many clients and events the machine, the server and the database carry.

    It starts a server of its own on your database, connects clients to it, commits events on a channel that
    only it uses, and removes them afterwards. The clients run on this machine and take about as much of it as
    the server. With --url it is your server and your channel: every subscriber gets these events.
    """
    if (url is None) != (channel is None) or (url is None) != (payload is None):
        fail("--url, --channel and --payload go together: your subscribers will get what is published", USAGE)
    if url is None and token is not None:
        fail("--token goes with --url; the server of the bench asks nobody", USAGE)
    if url is not None:
        check_websocket("--url", url)
    if payload is not None:
        _check_json(payload)
    _allow_files(clients)
    with failures_told():
        dsn = Realtime(Channels(), dsn=dsn).dsn
        theirs = None
        if url is not None and channel is not None and payload is not None:
            theirs = Installation(dsn, url, channel, payload, token)
        steps = _measure(dsn, theirs, _numbers(clients), seconds, workers)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([asdict(step) for step in steps])).decode())
    else:
        _tell(steps)


def _measure(
    dsn: str, theirs: Installation | None, clients: Sequence[int], seconds: float, workers: int
) -> list[Step]:
    steps: list[Step] = []

    async def measure() -> None:
        await require_log(dsn)
        if theirs is not None:
            steps.extend(await bench(theirs, clients, seconds, _progress))
        else:
            async with own_server(dsn, workers) as installation:
                steps.extend(await bench(installation, clients, seconds, _progress))

    try:
        run(measure())
    except (BenchFailed, LoadClientsRefused) as error:
        fail(str(error))
    except ExceptionGroup as group:
        fail(f"{group.exceptions[0]}; does a server run at --url?" if theirs else str(group.exceptions[0]))
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"{str(error) or type(error).__name__}; is --dsn right?")
    finally:
        _progress("")
    return steps


def _numbers(most: int) -> list[int]:
    """100, 1,000 and so on, up to the most."""
    numbers: list[int] = []
    number = FIRST_STEP
    while number < most:
        numbers.append(number)
        number *= GROWTH
    return [*numbers, most]


def _allow_files(clients: int) -> None:
    """Each client is an open file, here and in the server."""
    wanted = clients + SPARE_FILES
    allowed = allow_files(wanted)
    if allowed < wanted:
        fail(f"{clients:,} clients need {wanted:,} open files, and {allowed:,} are allowed; see ulimit -Hn")


def _check_json(payload: str) -> None:
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        fail(f"--payload is not JSON: {error}", USAGE)


def _progress(what: str) -> None:
    """One line that is written over, and only where somebody looks."""
    if sys.stderr.isatty():
        click.echo(f"\r{what:50}\r", err=True, nl=False)
    elif what:
        click.echo(what, err=True)


def _tell(steps: Sequence[Step]) -> None:
    click.echo(f"{os.cpu_count()} cores, shared by server, database and clients")
    click.echo("  ".join(f"{column:>14}" for column in COLUMNS))
    for step in steps:
        memory = "" if step.kb_per_client is None else f"{step.kb_per_client:.1f}"
        figures = (
            f"{step.clients:,}",
            f"{step.connects_per_s:,.0f}",
            f"{step.p50_ms:.1f}",
            f"{step.p99_ms:.1f}",
            f"{step.messages_per_s:,.0f}",
            f"{step.messages_per_s / step.clients:,.0f}",
            memory,
        )
        click.echo("  ".join(f"{figure:>14}" for figure in figures))
