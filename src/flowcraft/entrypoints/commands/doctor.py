"""`flowcraft doctor`: how a running installation does, and why an event did not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg
import click
import msgspec

from flowcraft.channels import Channels
from flowcraft.cursors import LARGEST_XID
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
from flowcraft.entrypoints.commands.target import check_websocket
from flowcraft.entrypoints.compose import Realtime
from flowcraft.entrypoints.diagnosis import ServerAnswer, follow_event, look_at_database, look_at_server

LOG_NUMBER = click.IntRange(1, LARGEST_XID)
MARKS = {"ok": "  ok", "note": "note", "wrong": "  !!"}


@click.command(
    "doctor",
    epilog=example(
        "flowcraft doctor --dsn postgresql://localhost/app --url ws://127.0.0.1:8400/realtime",
        "flowcraft doctor --event 4711 --url ws://127.0.0.1:8400/realtime",
        done="all is as it should be",
        failed="something is not",
    ),
)
@click.option("--url", metavar="URL", help="The WebSocket of a server that runs: looked at too.")
@click.option("--event", metavar="ID", help="Follow this event of the log.", type=LOG_NUMBER)
@click.option("--xid", metavar="XID", help="Follow what this transaction stated.", type=LOG_NUMBER)
@click.option("--token", help="What the server wants to see.")
@click.option("--json", "as_json", help="The report as JSON.", is_flag=True)
@click.option("--dsn", metavar="DSN", help="The database; else FLOWCRAFT_DSN, or DATABASE_URL.")
def command(
    *, url: str | None, event: int | None, xid: int | None, token: str | None, as_json: bool, dsn: str | None
) -> None:
    """Look at the database and at a server, or follow an event from its row to a subscriber.

    Nothing is published and nothing is changed.
    """
    if event is not None and xid is not None:
        fail("--event or --xid, one at a time", USAGE)
    if url is not None:
        check_websocket("--url", url)
    with failures_told():
        dsn = Realtime(Channels(), dsn=dsn).dsn
    try:
        report = asyncio.run(_report(dsn, url, token, event, xid))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fail(f"the database cannot be examined: {str(error) or type(error).__name__}; see --dsn")
    _tell(report, as_json)
    if any(said.verdict == "wrong" for said in report):
        raise click.exceptions.Exit(1)


async def _report(
    dsn: str, url: str | None, token: str | None, event: int | None, xid: int | None
) -> list[ServerAnswer]:
    if event is not None or xid is not None:
        return await follow_event(dsn, url, token, event, xid)
    report = await look_at_database(dsn)
    if url is not None:
        report += await look_at_server(dsn, url, token)
    return report


def _tell(report: Sequence[ServerAnswer], as_json: bool) -> None:
    if as_json:
        encoded = msgspec.json.encode([asdict(said) for said in report])
        click.echo(msgspec.json.format(encoded).decode())
        return
    for said in report:
        click.echo(f"{MARKS[said.verdict]}  {said.about}: {said.sentence}")
