"""`flowcraft serve`: run the dedicated server."""

from __future__ import annotations

import logging
import os
from enum import Enum
from typing import Annotated

import typer

from flowcraft.adapters.json_logs import JsonLines
from flowcraft.entrypoints.commands.reporting import example, fail, failures_told
from flowcraft.entrypoints.commands.target import Target, realtime_of
from flowcraft.entrypoints.compose import Realtime

_LOG_FORMAT = "FLOWCRAFT_LOG_FORMAT"


class LogFormat(Enum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


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
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all of IPv4.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8400,
    workers: Annotated[
        int, typer.Option(min=1, help="Server processes that share the port; one for each core to use.")
    ] = 1,
    log_format: Annotated[
        LogFormat, typer.Option(envvar=_LOG_FORMAT, help="Log lines for people, or one JSON object a line.")
    ] = LogFormat.TEXT,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Serve the channels to browsers.

    There is a WebSocket at /realtime, and /healthz, /readyz and /metrics beside it.

    A Realtime object brings its settings and its authorizer; bare channels are served with the defaults.
    It ends on SIGTERM or SIGINT, after its clients were sent away to resume elsewhere. With several workers
    one that dies is started again, and SIGHUP replaces them one after another, with the present code.
    """
    with failures_told():
        realtime = realtime_of(target)
        if worker:
            _work(realtime, worker, log_format)
            return
        os.environ[_LOG_FORMAT] = log_format.value  # of the workers too
        _log_to_stderr(log_format)
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


def _work(realtime: Realtime, place: str, log_format: LogFormat) -> None:
    from flowcraft.entrypoints.worker import WorkerSlot, work

    given = WorkerSlot.parse(place)
    _log_to_stderr(log_format, worker=given.number)
    work(realtime, given)


def _log_to_stderr(log_format: LogFormat, **who: int) -> None:
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonLines(**who))
    else:
        name = "".join(f" {what} {number}" for what, number in who.items())
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s %(name)s{name}: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
