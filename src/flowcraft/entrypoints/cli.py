"""The command `flowcraft`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowcraft._version import __version__
from flowcraft.entrypoints.commands import (
    bench,
    broadcast,
    channel,
    check,
    codegen,
    doctor,
    init,
    migrate,
    purge,
    serve,
    tail,
    token,
)
from flowcraft.entrypoints.commands.reporting import example

app = typer.Typer(
    name="flowcraft",
    help="Typed realtime channels from PostgreSQL commits to React components.",
    epilog=example(
        "flowcraft migrate app.realtime:realtime",
        "flowcraft serve app.realtime:realtime",
        done="all is well",
        failed="something was found or failed",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text: it is read by people and by scripts
    pretty_exceptions_enable=False,
)
app.add_typer(channel.app)
app.add_typer(codegen.app)
bench.add_to(app)
check.add_to(app)
doctor.add_to(app)
init.add_to(app)
migrate.add_to(app)
broadcast.add_to(app)
purge.add_to(app)
serve.add_to(app)
tail.add_to(app)
token.add_to(app)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flowcraft {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Typed realtime channels from PostgreSQL commits to React components."""


def main() -> None:
    """Run the command; the console's entry."""
    app(prog_name="flowcraft")


if __name__ == "__main__":
    main()
