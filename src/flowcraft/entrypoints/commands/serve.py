"""`flowcraft serve`: run the dedicated server."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from flowcraft.entrypoints.commands.reporting import example, fail, failures_told
from flowcraft.entrypoints.commands.target import Target, realtime_of


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "serve",
        epilog=example("flowcraft serve app.realtime:realtime --host 0.0.0.0 --port 8400"),
    )(_serve)


def _serve(
    target: Target,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of IPv4.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8400,
) -> None:
    """Serve the channels to browsers.

    There is a WebSocket at /realtime, and /healthz and /readyz beside it.

    A Realtime object brings its settings and its authorizer; bare channels are served with the defaults.
    It ends on SIGTERM or SIGINT, after its clients were sent away to resume elsewhere.
    """
    from flowcraft.entrypoints.serve import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with failures_told():
        realtime = realtime_of(target)
        try:
            serve(realtime, host, port, announce=typer.echo)
        except OSError as error:
            reason = error.strerror or error
            fail(f"cannot listen on {host}:{port}: {reason}; see --host and --port")
