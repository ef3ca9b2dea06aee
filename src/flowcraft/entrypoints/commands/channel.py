"""`flowcraft channel`: what is declared, and how to declare more."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from flowcraft.channels import Declaration, Source, Table
from flowcraft.entrypoints.commands import channel_add, channel_show
from flowcraft.entrypoints.commands.reporting import example
from flowcraft.entrypoints.commands.target import Target, channels_of

app = typer.Typer(
    name="channel",
    help="Look at the declared channels, and add one.",
    epilog=example("flowcraft channel list app.realtime:channels"),
    no_args_is_help=True,
)

channel_show.add_to(app)
channel_add.add_to(app)

_HEADER = ("CHANNEL", "EVENTS", "SOURCE", "DELIVERY", "GUARD")


@app.callback()
def _group() -> None:
    """Look at the declared channels, and add one."""


@app.command("list", epilog=example("flowcraft channel list app.realtime:channels"))
def list_channels(target: Target) -> None:
    """List the channels: their events, where these come from, and who may subscribe."""
    rows = [_row(declaration) for declaration in channels_of(target)]
    for line in _table([_HEADER, *rows]):
        typer.echo(line)
    if not rows:
        typer.echo('none yet; declare one with channels.declare("run_update", RunUpdate)')


def _row(declaration: Declaration) -> tuple[str, ...]:
    name = declaration.name
    if declaration.parameter is not None:
        kind = declaration.parameter.type.__name__
        name = name.replace("}", f": {kind}}}")
    return (
        name,
        str(declaration.payload),
        ", ".join(map(_source, declaration.sources)) or "broadcast",
        "exactly once" if declaration.durable else "at most once",
        getattr(declaration.guard, "__name__", "yes") if declaration.guard else "open to all",
    )


def _source(source: Source) -> str:
    if isinstance(source, Table):
        return f"table {source.name} ({'/'.join(source.on)})"
    return f"notify {source.name}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
