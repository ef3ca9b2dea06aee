"""`flowcraft serve`: run the dedicated server."""

from __future__ import annotations

import os

import click

from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.log_format import (
    LOG_FORMAT,
    LogFormat,
    log_format_option,
    log_to_stderr,
)
from flowcraft.entrypoints.commands.target import find_target, realtime_of, target_argument
from flowcraft.entrypoints.pages import ADMIN_TOKEN, check_admin_token
from flowcraft.entrypoints.realtime import Realtime


@click.command(
    "serve",
    epilog=example(
        "flowcraft serve app.realtime:realtime --host 0.0.0.0 --port 8400",
        done="stopped by SIGTERM or SIGINT",
        failed="the server cannot start",
    ),
)
@target_argument
@click.option("--host", help="The address to listen on; 0.0.0.0 for all IPv4 addresses.", default="127.0.0.1")
@click.option(
    "--port",
    help="The port to listen on; 0 for a free one.",
    type=click.IntRange(min=0, max=65535),
    default=8400,
)
@click.option(
    "--workers",
    help="Server processes that share the port; one for each CPU core to use.",
    type=click.IntRange(min=1),
    default=1,
)
@log_format_option
@click.option(
    "--admin-port",
    help="A port whose /readyz and /metrics also have channel names and errors; keep it private.",
    type=click.IntRange(min=0, max=65535),
)
@click.option("--worker", hidden=True, default="")
def command(  # an option each
    *,
    target: str | None,
    host: str,
    port: int,
    workers: int,
    log_format: str,
    admin_port: int | None,
    worker: str,
) -> None:
    """Serve the channels to browsers.

    The WebSocket is at /realtime; /healthz, /readyz and /metrics are beside it.

    A Realtime object has its own settings and authorizer; a Channels object is served with the defaults.
    On SIGTERM or SIGINT the server drains its clients, which resume elsewhere, and stops. With several
    workers, one that dies is restarted, and SIGHUP replaces them one after another with the current code.
    """
    with exit_on_error():
        found = find_target(target, kind="Realtime")
        realtime = realtime_of(found)
        if worker:
            _work(realtime, worker, LogFormat(log_format))
            return
        os.environ[LOG_FORMAT] = log_format  # for the workers too
        log_to_stderr(LogFormat(log_format))
        try:
            _listen(found.name, realtime, (host, port), workers, admin_port)
        except OSError as error:
            fail(f"cannot listen on {host}:{port}: {error.strerror or error}; see --host and --port")


def _listen(
    target: str, realtime: Realtime, at: tuple[str, int], workers: int, admin_port: int | None
) -> None:
    try:
        check_admin_token()
    except ValueError as error:
        fail(str(error), USAGE)
    if workers > 1 and admin_port is not None:
        fail(f"--admin-port is for one process; with --workers set {ADMIN_TOKEN}", USAGE)
    if workers == 1:
        from flowcraft.entrypoints.serve import serve

        serve(realtime, *at, announce=click.echo, admin_port=admin_port)
    else:
        from flowcraft.entrypoints.workers import serve_by_workers

        serve_by_workers(target, workers, at, realtime.settings, announce=click.echo)


def _work(realtime: Realtime, place: str, log_format: LogFormat) -> None:
    from flowcraft.entrypoints.worker import WorkerSlot, work

    given = WorkerSlot.parse(place)
    log_to_stderr(log_format, worker=given.number)
    work(realtime, given)
