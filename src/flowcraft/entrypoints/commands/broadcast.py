"""`flowcraft broadcast`: state one event, checked against its declaration."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import asyncpg
import typer

from flowcraft.adapters.postgres.connections import connect
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Declaration
from flowcraft.entrypoints.commands.reporting import example, fail, failures_told
from flowcraft.entrypoints.commands.target import Dsn, Target, realtime_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "broadcast",
        epilog=example(
            """flowcraft broadcast app.realtime:channels run_update '{"run_id": "…", "status": "done"}'""",
            "jq -c .event backup.json | flowcraft broadcast app.realtime:channels runs.42 -",
        ),
    )(_broadcast)


def _broadcast(
    target: Target,
    channel: Annotated[str, typer.Argument(metavar="NAME", help="A channel, such as run_update or runs.42.")],
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="The event; - reads it from standard input.")
    ],
    dsn: Dsn = None,
) -> None:
    """State an event on a channel, in a transaction of its own.

    It has to fit the declared type. Every subscriber gets it, as if a service had said it.
    """
    with failures_told():
        realtime = realtime_of(target, dsn)
        declaration, _ = realtime.channels.resolve(channel)
        text = declaration.payload.check(sys.stdin.read() if payload == "-" else payload)
        asyncio.run(_send(realtime.dsn, declaration, channel, text))
    typer.echo(f"{channel}: {text}")


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
        fail(f"the database refuses: {error}; nothing was broadcast")
    finally:
        await connection.close()
