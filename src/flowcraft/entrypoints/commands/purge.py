"""`flowcraft purge`: remove events from the log that must not be kept for as long as the others."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import click

from flowcraft.adapters.postgres.retention import purge
from flowcraft.channels import NAME_GRAMMAR, Channels
from flowcraft.entrypoints.commands.reporting import USAGE, example, fail, failures_told
from flowcraft.entrypoints.compose import Realtime


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
    help="A channel, or a family such as 'runs.*'; may be given again.",
    multiple=True,
)
@click.option("--all", "everything", help="The events of every channel.", is_flag=True)
@click.option("--dry-run", help="Count the events; remove none.", is_flag=True)
@click.option("--dsn", metavar="DSN", help="The database; else FLOWCRAFT_DSN, or DATABASE_URL.")
def command(channel: tuple[str, ...], everything: bool, dry_run: bool, dsn: str | None) -> None:
    """Remove events from the log for good.

    Clients that resume are not given them any more. What a server has delivered within the last minutes it
    may still have in memory: restart the servers where that matters.
    """
    if bool(channel) == everything:
        fail("say which events: --channel NAME, as often as needed, or --all", USAGE)
    for name in channel:
        _check(name)
    with failures_told():
        counts = _run(Realtime(Channels(), dsn=dsn).dsn, [None] if everything else list(channel), dry_run)
    for name, count in zip(channel or ["all channels"], counts, strict=True):
        click.echo(f"{name}: {count} {'event' if count == 1 else 'events'}{_outcome(dry_run)}")


def _run(dsn: str, channels: list[str] | list[None], dry_run: bool) -> list[int]:
    try:
        return asyncio.run(purge(dsn, channels, dry_run=dry_run))
    except asyncpg.PostgresError as error:
        fail(f"the database refuses: {error}; nothing was changed")


def _check(name: str) -> None:
    if not re.fullmatch(NAME_GRAMMAR, f"{name[:-1]}x" if name.endswith(".*") else name):
        fail(f"{name[:64]!r} is neither a channel, such as runs.42, nor a family, such as 'runs.*'", USAGE)


def _outcome(dry_run: bool) -> str:
    return " would be removed" if dry_run else " removed"
