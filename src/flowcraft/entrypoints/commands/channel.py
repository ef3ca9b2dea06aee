"""`flowcraft channel`: list, show and add channels."""

from __future__ import annotations

from collections.abc import Sequence

import click

from flowcraft.declarations import Declaration, Rows, Source, Table
from flowcraft.entrypoints.commands import channel_add, channel_show
from flowcraft.entrypoints.commands.exit_status import example
from flowcraft.entrypoints.commands.target import channels_of, target_argument

_HEADER = ("CHANNEL", "EVENTS", "SOURCE", "DELIVERY", "GUARD")


@click.group("channel", epilog=example("flowcraft channel list app.realtime:channels"))
def command() -> None:
    """List, show and add channels."""


command.add_command(channel_show.command)
command.add_command(channel_add.command)


@command.command(
    "list", epilog=example("flowcraft channel list", "flowcraft channel list app.realtime:channels")
)
@target_argument
def list_channels(target: str | None) -> None:
    """List the declared channels with their events, sources, delivery and guards."""
    rows = [_row(declaration) for declaration in channels_of(target)]
    for line in _table([_HEADER, *rows]):
        click.echo(line)
    if not rows:
        click.echo('no channels yet; declare one with channels.declare("run_update", RunUpdate)')


def _row(declaration: Declaration) -> tuple[str, ...]:
    name = declaration.name
    if declaration.parameter is not None:
        kind = declaration.parameter.type.__name__
        name = name.replace("}", f": {kind}}}")
    return (
        name,
        str(declaration.payload),
        _sources(declaration),
        "exactly once" if declaration.durable else "at most once",
        getattr(declaration.guard, "__name__", "yes") if declaration.guard else "open to all",
    )


def _sources(declaration: Declaration) -> str:
    if declaration.members_of is not None:
        return f"who is present on {declaration.members_of.name}"
    return ", ".join(map(_source, declaration.sources)) or "broadcast"


def _source(source: Source) -> str:
    if isinstance(source, Rows):
        return f"rows of {source.name}" + (f" where {source.where}" if source.where else "")
    if isinstance(source, Table):
        return f"table {source.name} ({'/'.join(source.on)})"
    return f"notify {source.name}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
