"""`flowcraft purge`: remove events from the log before their retention ends."""

from __future__ import annotations

import asyncio

import asyncpg
import click

from flowcraft.adapters.postgres.retention import purge
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import address_of, dsn_option, realtime_here
from flowcraft.names import is_name


@click.command(
    "purge",
    epilog=example(
        "flowcraft purge --channel runs.42 --dsn postgresql://localhost/app",
        "flowcraft purge --channel 'runs.*' --channel run_update --dry-run",
    ),
)
@click.option(
    "--channel",
    metavar="NAME",
    help="A channel, or a family such as 'runs.*'. May be repeated.",
    multiple=True,
)
@click.option("--all", "everything", help="Remove the events of every channel.", is_flag=True)
@click.option("--dry-run", help="Count the events without removing them.", is_flag=True)
@dsn_option
def command(channel: tuple[str, ...], everything: bool, dry_run: bool, dsn: str | None) -> None:
    """Remove events from the log permanently.

    Clients that resume no longer receive them. A server may still hold the events of the last minutes in
    memory: restart the servers if that matters.
    """
    if bool(channel) == everything:
        fail("no events chosen: use --channel NAME, once or more, or --all", USAGE)
    for name in channel:
        _check(name)
    with exit_on_error():
        counts = _run(
            address_of(dsn, None if dsn else realtime_here(None)),
            [None] if everything else list(channel),
            dry_run,
        )
    for name, count in zip(channel or ["all channels"], counts, strict=True):
        click.echo(f"{name}: {count} {'event' if count == 1 else 'events'}{_outcome(dry_run)}")


def _run(dsn: str, channels: list[str] | list[None], dry_run: bool) -> list[int]:
    try:
        return asyncio.run(purge(dsn, channels, dry_run=dry_run))
    except asyncpg.PostgresError as error:
        fail(f"the database reported an error: {error}; nothing was changed")


def _check(name: str) -> None:
    if not is_name(f"{name[:-1]}x" if name.endswith(".*") else name):
        fail(f"{name[:64]!r} is neither a channel, such as runs.42, nor a family, such as 'runs.*'", USAGE)


def _outcome(dry_run: bool) -> str:
    return " would be removed" if dry_run else " removed"
