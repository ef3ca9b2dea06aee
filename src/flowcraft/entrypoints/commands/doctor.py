"""`flowcraft doctor`: diagnose a running installation, or why an event did not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg
import click
import msgspec

from flowcraft.adapters.postgres.address import NoDatabase
from flowcraft.channels import Channels
from flowcraft.cursors import LARGEST_XID
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import check_websocket
from flowcraft.entrypoints.diagnosis import DiagnosisLine, diagnose_database, diagnose_server, trace_event
from flowcraft.entrypoints.proxy_check import check_way
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.errors import RealtimeError

LOG_NUMBER = click.IntRange(1, LARGEST_XID)
MARKS = {"ok": "  ok", "note": "note", "wrong": "  !!"}


@click.command(
    "doctor",
    epilog=example(
        "flowcraft doctor --dsn postgresql://localhost/app --url ws://127.0.0.1:8400/realtime",
        "flowcraft doctor --event 4711 --url ws://127.0.0.1:8400/realtime",
        done="no problem found",
        failed="a problem found",
    ),
)
@click.option("--url", metavar="URL", help="The WebSocket of a running server to diagnose too.")
@click.option("--event", metavar="ID", help="Trace the event with this id in the log.", type=LOG_NUMBER)
@click.option("--xid", metavar="XID", help="Trace the events of this transaction.", type=LOG_NUMBER)
@click.option("--token", help="The token to authenticate with at the server.")
@click.option("--quick", help="Do not wait for two heartbeats to find time-outs of a proxy.", is_flag=True)
@click.option("--json", "as_json", help="Print the report as JSON.", is_flag=True)
@click.option("--dsn", metavar="DSN", help="The database. Default: FLOWCRAFT_DSN, then DATABASE_URL.")
def command(
    *,
    url: str | None,
    event: int | None,
    xid: int | None,
    token: str | None,
    quick: bool,
    as_json: bool,
    dsn: str | None,
) -> None:
    """Diagnose the database and a server, or trace an event from its row to a subscriber.

    With --url, also what a proxy between does wrong; for that alone no database is needed. It takes two
    heartbeats of the server (50 s), or with --quick none. Broadcasts nothing and changes nothing.
    """
    if event is not None and xid is not None:
        fail("--event and --xid exclude each other; choose one", USAGE)
    if url is not None:
        check_websocket("--url", url)
    tracing = event is not None or xid is not None
    database = _database(dsn, optional=url is not None and not tracing)
    try:
        if tracing:
            report = asyncio.run(trace_event(database or "", url, token, event, xid))
        else:
            report = asyncio.run(_report(database, url, token, quick=quick))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fail(f"the database cannot be reached: {str(error) or type(error).__name__}; see --dsn")
    except ValueError as error:  # of asyncpg, which reads the rest of the address
        fail(f"the database's address cannot be used: {error}; see --dsn")
    except RealtimeError as error:
        fail(str(error))
    except Exception as error:  # noqa: BLE001  # a diagnosis never ends in a traceback
        fail(f"the diagnosis ended with {type(error).__name__}: {error}; please report it")
    _print(report, as_json)
    if any(line.verdict == "wrong" for line in report):
        raise click.exceptions.Exit(1)


def _database(dsn: str | None, *, optional: bool) -> str | None:
    """Return the address of the database; None if it is optional and there is none."""
    with exit_on_error():
        try:
            return Realtime(Channels(), dsn=dsn).dsn
        except NoDatabase:
            if not optional:
                raise
    return None


async def _report(dsn: str | None, url: str | None, token: str | None, *, quick: bool) -> list[DiagnosisLine]:
    no_database = DiagnosisLine("database", "note", "not checked; name it with --dsn")
    report = [no_database] if dsn is None else await diagnose_database(dsn)
    if url is not None:
        way = await check_way(url, idle=not quick)
        opens = any(line.about == "websocket" and line.verdict == "ok" for line in way)
        report += [*way, *await diagnose_server(dsn, url, token, opens=opens)]
    return report


def _print(report: Sequence[DiagnosisLine], as_json: bool) -> None:
    if as_json:
        encoded = msgspec.json.encode([asdict(line) for line in report])
        click.echo(msgspec.json.format(encoded).decode())
        return
    for line in report:
        click.echo(f"{MARKS[line.verdict]}  {line.about}: {line.sentence}")
