"""`flowcraft doctor`: diagnose a running installation, or why an event did not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import asyncpg
import click
import msgspec

from flowcraft.adapters.postgres.address import NoDatabase
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import (
    address_of,
    dsn_option,
    realtime_here,
    target_argument,
    websocket_url,
)
from flowcraft.entrypoints.diagnosis import (
    DiagnosisLine,
    ServerNotResponding,
    diagnose_database,
    diagnose_server,
    trace_event,
)
from flowcraft.entrypoints.login_check import check_login
from flowcraft.entrypoints.proxy_check import check_way
from flowcraft.entrypoints.realtime import NotOnPostgres, Realtime
from flowcraft.errors import LogUnavailable, RealtimeError
from flowcraft.origins import is_allowed, parse_origin
from flowcraft.settings import LOG_URL
from flowcraft.xids import LARGEST_XID

LOG_NUMBER = click.IntRange(1, LARGEST_XID)
MARKS = {"ok": "  ok", "note": "note", "wrong": "  !!"}


@click.command(
    "doctor",
    epilog=example(
        "flowcraft doctor --dsn postgresql://localhost/app --url ws://127.0.0.1:8400/realtime",
        "flowcraft doctor --url https://app.example/realtime --token eyJ… --origin https://app.example",
        "flowcraft doctor --event 4711 --url ws://127.0.0.1:8400/realtime",
        done="no problem found",
        failed="a problem found",
    ),
)
@target_argument
@click.option(
    "--url",
    metavar="URL",
    help="The WebSocket of a running server to diagnose too; http://localhost:8000 has it at /realtime.",
)
@click.option(
    "--origin", metavar="URL", help="The origin of the page that connects, such as https://app.example."
)
@click.option("--event", metavar="ID", help="Trace the event with this id in the log.", type=LOG_NUMBER)
@click.option("--xid", metavar="XID", help="Trace the events of this transaction.", type=LOG_NUMBER)
@click.option("--token", help="The token to authenticate with at the server.")
@click.option(
    "--log-url",
    envvar=LOG_URL,
    metavar="URL",
    help="Where NATS is, as nats://host:4222, to diagnose relays as an edge sees them.",
)
@click.option("--quick", help="Do not wait for two heartbeats to find time-outs of a proxy.", is_flag=True)
@click.option("--json", "as_json", help="Print the report as JSON.", is_flag=True)
@dsn_option
def command(  # noqa: PLR0913  # options
    *,
    target: str | None,
    url: str | None,
    event: int | None,
    xid: int | None,
    token: str | None,
    origin: str | None,
    log_url: str | None,
    quick: bool,
    as_json: bool,
    dsn: str | None,
) -> None:
    """Diagnose the database and a server, or trace an event from its row to a subscriber.

    With --url, also what a proxy between does wrong, and with --token and --origin why a client is refused;
    for that alone no database is needed. It takes two heartbeats of the server (50 s), or with --quick none.
    Broadcasts nothing and changes nothing.
    """
    if event is not None and xid is not None:
        fail("--event and --xid exclude each other; choose one", USAGE)
    if url is None and (token or origin):
        fail("--token and --origin need a server to connect to; name it with --url", USAGE)
    url = None if url is None else websocket_url("--url", url)
    if origin is not None and parse_origin(origin) is None:
        fail(f"--origin: {origin!r} is not an origin such as https://app.example", USAGE)
    tracing = event is not None or xid is not None
    with exit_on_error():
        realtime = realtime_here(target)
    database = _database(dsn, realtime, optional=bool(url or log_url) and not tracing)
    try:
        if tracing:
            report = asyncio.run(trace_event(database or "", url, token, event, xid))
        else:
            report = asyncio.run(_report(database, url, _Caller(token, origin, realtime), quick=quick))
            report += asyncio.run(_relays(log_url, database)) if log_url else []
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fail(f"the database cannot be reached: {str(error) or type(error).__name__}; see --dsn")
    except ValueError as error:  # of asyncpg, which reads the rest of the address
        fail(f"the database's address cannot be used: {error}; see --dsn")
    except RealtimeError as error:
        fail(str(error))
    except Exception as error:  # noqa: BLE001  # a diagnosis never ends in a traceback
        fail(f"the diagnosis ended with {type(error).__name__}: {error}; please report it")
    _print(report, as_json)
    if any(line.verdict == "wrong" for line in report):
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who connects, and the project's Realtime object if there is one."""

    token: str | None
    origin: str | None
    realtime: Realtime | None


def _database(dsn: str | None, realtime: Realtime | None, *, optional: bool) -> str | None:
    """Return the address of the database; None if it is optional and there is none."""
    with exit_on_error():
        try:
            return address_of(dsn, realtime)
        except (NoDatabase, NotOnPostgres):
            if not optional:
                raise
    return None


async def _report(dsn: str | None, url: str | None, client: _Caller, *, quick: bool) -> list[DiagnosisLine]:
    no_database = DiagnosisLine("database", "note", "not checked; name it with --dsn")
    report = [no_database] if dsn is None else await diagnose_database(dsn)
    if url is not None:
        way = await check_way(url, idle=not quick, origin=client.origin, token=client.token)
        if client.origin is not None and client.realtime is not None:
            way.append(_settings_of_origin(client.origin, client.realtime))
        opens = any(line.about == "websocket" and line.verdict == "ok" for line in way)
        refuses_page = client.token is not None and any(line.sentence.startswith("403") for line in way)
        login = await _login(url, client) if opens or refuses_page else None
        enters = opens and (login is None or login.verdict == "ok")
        report += [*way, *([login] if login else [])]
        report += await diagnose_server(dsn if enters else None, url, client.token, opens=opens)
    return report


async def _relays(log_url: str, dsn: str | None) -> list[DiagnosisLine]:
    from flowcraft.entrypoints.relay_diagnosis import diagnose_relays

    database = None
    if dsn is not None:
        log = PostgresLog(dsn)
        try:
            lineage = (await log.position()).cursor.lineage
            database = (lineage.system, lineage.database)
        except LogUnavailable:
            database = None  # the report has that already
        finally:
            await log.close()
    return await diagnose_relays(log_url, database)


async def _login(url: str, client: _Caller) -> DiagnosisLine | None:
    realtime = client.realtime
    authorizer = None if realtime is None else realtime.authorizer
    try:
        return await check_login(url, client.token, authorizer, ours=realtime is not None)
    except (ServerNotResponding, TimeoutError) as error:
        return DiagnosisLine("login", "wrong", str(error) or "the server does not answer the token")


def _settings_of_origin(origin: str, realtime: Realtime) -> DiagnosisLine:
    allowed, every = realtime.settings.allowed_origins, realtime.settings.any_origin
    if every or is_allowed(origin, None, allowed, any_origin=every):
        return DiagnosisLine("origin", "ok", f"the settings of this project allow pages of {origin}")
    listed = ", ".join(map(repr, allowed)) or "none, so pages of the server's own origin only"
    return DiagnosisLine("origin", "note", f"the allowed_origins of this project: {listed}")


def _print(report: Sequence[DiagnosisLine], as_json: bool) -> None:
    if as_json:
        encoded = msgspec.json.encode([asdict(line) for line in report])
        click.echo(msgspec.json.format(encoded).decode())
        return
    for line in report:
        click.echo(f"{MARKS[line.verdict]}  {line.about}: {line.sentence}")
