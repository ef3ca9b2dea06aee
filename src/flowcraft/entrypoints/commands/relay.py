"""`flowcraft relay`: read the log of the database, and publish it for edges."""

from __future__ import annotations

import click

from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.log_format import LogFormat, log_format_option, log_to_stderr
from flowcraft.entrypoints.commands.target import dsn_option, realtime_of, target_argument
from flowcraft.settings import LOG_URL


@click.command(
    "relay",
    epilog=example(
        "flowcraft relay app.realtime:realtime --log-url nats://nats:4222",
        done="stopped by SIGTERM or SIGINT",
        failed="the relay cannot start",
    ),
)
@target_argument
@click.option(
    "--log-url",
    envvar=LOG_URL,
    metavar="URL",
    help="Where NATS is, as nats://host:4222; several hosts as nats://a,b,c. With ?stream=NAME, JetStream "
    "keeps the newest batches; storage=memory or file, seconds, bytes and replicas are for its creation.",
)
@dsn_option
@click.option(
    "--host", help="The address of the page for probes; 0.0.0.0 for all IPv4 addresses.", default="127.0.0.1"
)
@click.option(
    "--port",
    help="A port for /healthz, /readyz and /metrics; keep it private.",
    type=click.IntRange(min=0, max=65535),
)
@log_format_option
def command(  # an option each
    *, target: str | None, log_url: str | None, dsn: str | None, host: str, port: int | None, log_format: str
) -> None:
    """Publish the log of the database, for edges: servers that have FLOWCRAFT_LOG_URL and no database.

    Run two or three near the database: one publishes, the others stand by. It reads as one server does, and
    answers what edges ask: replays, rows, and broadcasts. While NATS or the database is away it waits.
    """
    with exit_on_error():
        if not log_url:
            fail(f"where is NATS? pass --log-url nats://host:4222, or set {LOG_URL}", USAGE)
        from flowcraft.adapters.nats.address import LogAddress
        from flowcraft.adapters.nats.connection import require_nats
        from flowcraft.entrypoints.relaying import serve_relay

        require_nats()
        address = LogAddress.parse(log_url)
        realtime = realtime_of(target, dsn, kind="Realtime")
        _ = realtime.dsn
        log_to_stderr(LogFormat(log_format))
        pages = None if port is None else (host, port)
        try:
            serve_relay(realtime.channels, realtime.database, address, realtime.settings, pages)
        except OSError as error:
            fail(f"cannot listen on {host}:{port}: {error.strerror or error}; see --host and --port")
