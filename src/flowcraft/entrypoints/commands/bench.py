"""`flowcraft bench`: measure how many clients and events an installation carries."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg
import click
import msgspec

from flowcraft.entrypoints.bench import (
    BenchFailed,
    ClientFigures,
    Installation,
    bench,
    own_server,
    require_log,
)
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import address_of, dsn_option, realtime_here, websocket_url
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
    "--clients",
    help="The largest number of clients; smaller numbers run first.",
    type=click.IntRange(min=1),
    default=1000,
)
@click.option(
    "--seconds",
    help="Seconds to measure at each number of clients.",
    type=click.FloatRange(min=0.1),
    default=4.0,
)
@click.option(
    "--workers",
    help="Worker processes of the server that the bench starts.",
    type=click.IntRange(min=1),
    default=1,
)
@dsn_option
@click.option("--url", metavar="URL", help="Measure this running server instead of starting one.")
@click.option("--channel", metavar="NAME", help="With --url: the channel to broadcast on.")
@click.option("--payload", metavar="JSON", help="With --url: the event to broadcast repeatedly.")
@click.option("--token", help="With --url: the token that the clients authenticate with.")
@click.option("--json", "as_json", help="Print the figures as JSON.", is_flag=True)
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
) -> None:
    """Measure how many clients and events the machine, the server and the database carry.

    The bench starts its own server on your database, connects clients to it, commits events on a reserved
    channel, and removes them afterwards. The clients run on this machine and use about as much CPU as the
    server. With --url it measures your server and your channel: every subscriber receives the events.
    """
    if (url is None) != (channel is None) or (url is None) != (payload is None):
        fail("--url, --channel and --payload go together: your subscribers will receive the payload", USAGE)
    if url is None and token is not None:
        fail("--token goes with --url; the bench's own server needs no token", USAGE)
    if url is not None:
        url = websocket_url("--url", url)
    if payload is not None:
        _check_json(payload)
    _allow_files(clients)
    with exit_on_error():
        dsn = address_of(dsn, None if dsn else realtime_here(None))
        running = None
        if url is not None and channel is not None and payload is not None:
            running = Installation(dsn, url, channel, payload, token)
        steps = _measure(dsn, running, _numbers(clients), seconds, workers)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([asdict(step) for step in steps])).decode())
    else:
        _print_table(steps)


def _measure(
    dsn: str, running: Installation | None, clients: Sequence[int], seconds: float, workers: int
) -> list[ClientFigures]:
    steps: list[ClientFigures] = []

    async def measure() -> None:
        await require_log(dsn)
        if running is not None:
            steps.extend(await bench(running, clients, seconds, _progress))
        else:
            async with own_server(dsn, workers) as installation:
                steps.extend(await bench(installation, clients, seconds, _progress))

    try:
        run(measure())
    except (BenchFailed, LoadClientsRefused) as error:
        fail(str(error))
    except ExceptionGroup as group:
        reason = str(group.exceptions[0])
        fail(f"{reason}; {_advice(reason, running)}" if running else reason)
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the database cannot be reached: {str(error) or type(error).__name__}; see --dsn")
    finally:
        _progress("")
    return steps


def _advice(reason: str, running: Installation) -> str:
    """Return what to try where a running server refuses the clients."""
    if "no token in time" in reason:
        return "pass a token with --token"
    if "the server answered HTTP" in reason and not running.url.endswith("/"):
        return f"is the WebSocket at that path? A mounted application has it at {running.url}/"
    return "is a server running at --url?"


def _numbers(most: int) -> list[int]:
    """Return 100, 1,000 and so on, then the largest number."""
    numbers: list[int] = []
    number = FIRST_STEP
    while number < most:
        numbers.append(number)
        number *= GROWTH
    return [*numbers, most]


def _allow_files(clients: int) -> None:
    """Raise the limit of open files: each client is one, here and in the server."""
    wanted = clients + SPARE_FILES
    allowed = allow_files(wanted)
    if allowed < wanted:
        fail(f"{clients:,} clients need {wanted:,} open files, the limit is {allowed:,}; see `ulimit -Hn`")


def _check_json(payload: str) -> None:
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        fail(f"--payload is not JSON: {error}", USAGE)


def _progress(what: str) -> None:
    """Print progress: on a terminal one line that is overwritten, elsewhere a line each."""
    if sys.stderr.isatty():
        click.echo(f"\r{what:50}\r", err=True, nl=False)
    elif what:
        click.echo(what, err=True)


def _print_table(steps: Sequence[ClientFigures]) -> None:
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
