"""`flowcraft serve`: run the dedicated server."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from flowcraft.entrypoints.commands.reporting import example, fail, failures_told
from flowcraft.entrypoints.commands.target import Target, realtime_of
from flowcraft.entrypoints.compose import Realtime


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "serve",
        epilog=example(
            "flowcraft serve app.realtime:realtime --host 0.0.0.0 --port 8400",
            done="it was told to end",
            failed="it cannot serve",
        ),
    )(_serve)


def _serve(
    target: Target,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of IPv4.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8400,
    workers: Annotated[
        int, typer.Option(min=1, help="Server processes that share the port; one for each core to use.")
    ] = 1,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Serve the channels to browsers.

    There is a WebSocket at /realtime, and /healthz and /readyz beside it.

    A Realtime object brings its settings and its authorizer; bare channels are served with the defaults.
    It ends on SIGTERM or SIGINT, after its clients were sent away to resume elsewhere. With several workers
    one that dies is started again, and SIGHUP replaces them one after another, with the present code.
    """
    with failures_told():
        realtime = realtime_of(target)
        if worker:
            _work(realtime, worker)
            return
        _log_to_stderr("%(name)s")
        try:
            _listen(target, realtime, host, port, workers)
        except OSError as error:
            fail(f"cannot listen on {host}:{port}: {error.strerror or error}; see --host and --port")


def _listen(target: str, realtime: Realtime, host: str, port: int, workers: int) -> None:
    if workers == 1:
        from flowcraft.entrypoints.serve import serve

        serve(realtime, host, port, announce=typer.echo)
    else:
        from flowcraft.entrypoints.workers import serve_by_workers

        serve_by_workers(target, workers, (host, port), realtime.settings, announce=typer.echo)


def _work(realtime: Realtime, place: str) -> None:
    from flowcraft.entrypoints.worker import Place, work

    given = Place.parse(place)
    _log_to_stderr(f"%(name)s worker {given.number}")
    work(realtime, given)


def _log_to_stderr(who: str) -> None:
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {who}: %(message)s")
