"""`flowcraft broadcast`: broadcast one event, checked against its declaration."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import click

from flowcraft.adapters.postgres.connections import connect
from flowcraft.adapters.postgres.statements import statement
from flowcraft.declarations import Declaration
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import dsn_option, realtime_of, split_target


@click.command(
    "broadcast",
    epilog=example(
        """flowcraft broadcast run_update '{"run_id": "…", "status": "done"}'""",
        "jq -c .event backup.json | flowcraft broadcast app.realtime:channels runs.42 -",
    ),
)
@click.argument(
    "words",
    metavar="[MODULE:ATTRIBUTE] NAME JSON",
    help="The channel, such as run_update or runs.42, and the event as JSON, or - to read it from standard "
    "input; before them the channels, as in `flowcraft channel list`.",
    nargs=-1,
    required=True,
)
@dsn_option
def command(words: tuple[str, ...], dsn: str | None) -> None:
    """Broadcast an event on a channel, in its own transaction.

    The event must fit the channel's declared type. Every subscriber receives it, as from a service.
    """
    target, others = split_target(words)
    if len(others) != 2:
        fail("name a channel and its event: flowcraft broadcast NAME JSON", USAGE)
    channel, payload = others
    with exit_on_error():
        realtime = realtime_of(target, dsn)
        declaration, _ = realtime.channels.resolve(channel)
        text = declaration.payload.check(sys.stdin.read() if payload == "-" else payload)
        asyncio.run(_send(realtime.dsn, declaration, channel, text))
    click.echo(f"{channel}: {text}")


async def _send(dsn: str, declaration: Declaration, channel: str, payload: str) -> None:
    try:
        connection = await connect(dsn)
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the database cannot be reached: {error}; see --dsn")
    try:
        await connection.execute(
            statement("broadcast" if declaration.durable else "broadcast_ephemeral"), channel, payload
        )
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
        fail("there is no log in this database yet; run `flowcraft migrate`")
    except asyncpg.PostgresError as error:
        fail(f"the database rejected the event: {error}; nothing was broadcast")
    finally:
        await connection.close()
