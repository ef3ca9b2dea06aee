"""Diagnosis: check the database and a server, and trace an event from its row to a subscriber."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from flowcraft.adapters.postgres.event_lookup import (
    EventLookup,
    FoundEvent,
    examine,
    find_events,
    new_transaction,
)
from flowcraft.adapters.postgres.held_locks import HeldLock
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor, Snapshot

Verdict: TypeAlias = Literal["ok", "note", "wrong"]
OPEN_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FULL_QUEUE = 0.25


@dataclass(frozen=True, slots=True)
class DiagnosisLine:
    """One line of the report: the subject, the verdict, and a sentence, with the next step if it is wrong."""

    about: str
    verdict: Verdict
    sentence: str


class ServerNotResponding(Exception):
    """The server does not respond as a FlowCraft server; the text describes its response."""


async def diagnose_database(dsn: str) -> list[DiagnosisLine]:
    """Check the database."""
    return list(_judge(await examine(dsn, open_seconds=OPEN_SECONDS)))


async def diagnose_server(
    dsn: str | None, url: str, token: str | None, *, opens: bool = True
) -> list[DiagnosisLine]:
    """Check a running server: its own report, and its lag behind the database if its WebSocket `opens`."""
    found = await _readiness(url, opens)
    if dsn is None or not opens:
        return found
    try:
        seconds = await _lag(dsn, url, token)
    except ServerNotResponding as error:
        return [*found, DiagnosisLine("lag", "wrong", str(error))]
    return [
        *found,
        DiagnosisLine("lag", "ok", f"a client is up to date {1000 * seconds:.0f} ms after a commit"),
    ]


async def trace_event(
    dsn: str, url: str | None, token: str | None, id_: int | None, xid: int | None
) -> list[DiagnosisLine]:
    """Trace the event with an id, or the events of a transaction, from the row to a subscriber."""
    events, outcome = await find_events(dsn, id_=id_, xid=xid)
    if not events:
        return [DiagnosisLine("row", "wrong", _why_no_row(id_, xid, outcome))]
    found = [
        DiagnosisLine(
            "row", "ok", f"event {e.id} on {e.channel} ({e.bytes} bytes) was committed by transaction {e.xid}"
        )
        for e in events
    ]
    if url is None:
        return [
            *found,
            DiagnosisLine(
                "subscriber", "note", "not checked; name a server with --url to trace the event further"
            ),
        ]
    for event in events:
        try:
            found.append(await _as_a_subscriber(dsn, url, token, event))
        except ServerNotResponding as error:
            found.append(DiagnosisLine("subscriber", "wrong", f"{event.channel}: {error}"))
    return found


def _judge(found: EventLookup) -> Iterator[DiagnosisLine]:
    if found.standby:
        yield DiagnosisLine(
            "database",
            "wrong",
            f"PostgreSQL {found.version}, a standby; name the primary, where servers read the log",
        )
    else:
        yield DiagnosisLine("database", "ok", f"PostgreSQL {found.version}, a primary")
    if found.log is None:
        yield DiagnosisLine("log", "wrong", "this database has no log; run `flowcraft migrate`")
    else:
        size = f"about {found.log.events:,} events, {found.log.bytes / 2**20:,.1f} MiB"
        yield DiagnosisLine("log", "ok", f"{size}, from transaction {found.log.floor} on")
        yield from _judge_migrations(found)
    for missed in found.skipped:
        yield DiagnosisLine(
            "skipped",
            "wrong",
            f"{missed.events:,} events on {missed.channel} could not be made, the last is {missed.last}: "
            f"{missed.reason}; run `flowcraft check` and `flowcraft migrate`",
        )
    if found.notifies:
        yield DiagnosisLine("notifications", "ok", "LISTEN and NOTIFY work on this connection")
    elif found.notifies is False:
        cause = "a pooler in transaction mode drops them" if found.pooled else "they do not arrive"
        yield DiagnosisLine(
            "notifications", "wrong", f"{cause}, so servers poll; configure a direct connection"
        )
    if found.readers:
        wakeups = (
            "one is reading and needs no NOTIFY" if found.awake else "each commit wakes them with NOTIFY"
        )
        readers = "1 server reads" if found.readers == 1 else f"{found.readers} servers read"
        yield DiagnosisLine("servers", "ok", f"{readers} the log; {wakeups}")
    else:
        yield DiagnosisLine(
            "servers", "wrong", "no server reads the log of this database; is one running, on this database?"
        )
    yield from map(_judge_lock, found.held)
    verdict: Verdict = "wrong" if found.queue > FULL_QUEUE else "ok"
    yield DiagnosisLine(
        "queue", verdict, f"PostgreSQL's notification queue is {100 * found.queue:.0f} % full"
    )
    for one in found.open:
        who = f"{one.who or 'an unnamed session'}, process {one.pid}" if one.pid else one.who
        yield DiagnosisLine(
            "open transaction",
            "note",
            f"{who}: {one.state} for {one.seconds:,.0f} s; its events arrive when it commits, and retention "
            "removes nothing from the log before that",
        )


_COSTS = {
    1: "so writers send no wakeups, and each event arrives up to a second later",
    2: "so servers cannot show writers that they read, and each event may arrive up to a second later",
    3: "so every migration waits",
    4: "so nothing is removed from the log, which grows",
    5: "so writers notify every server, and wait for as many reads of the log",
}


def _judge_lock(held: HeldLock) -> DiagnosisLine:
    name = f" ({held.name!r})" if held.name else ""
    if held.pid is None:
        who = f"prepared transaction {held.gid} of role {held.role}"
        run = f"rollback prepared '{held.gid}'"
    else:
        who = f"process {held.pid}{name} of role {held.role}"
        run = f"select pg_terminate_backend({held.pid})"
    return DiagnosisLine(
        "locks",
        "wrong",
        f"{who} holds advisory lock {held.lock} of FlowCraft without a use for it, {_COSTS[held.lock]}; "
        f"any role can: run `{run}`, and ask who it is",
    )


def _judge_migrations(found: EventLookup) -> Iterator[DiagnosisLine]:
    if found.missing:
        names = ", ".join(found.missing)
        yield DiagnosisLine("log", "wrong", f"the migration {names} was not applied: run `flowcraft migrate`")
    if found.differing:
        names = ", ".join(found.differing)
        sentence = f"another version of flowcraft-realtime migrated it: {names} in this version"
        yield DiagnosisLine("log", "wrong", f"{sentence}; use the version that migrated it")


def _why_no_row(id_: int | None, xid: int | None, outcome: str | None) -> str:
    if id_ is not None:
        return (
            f"the log has no event {id_}: its transaction has not committed or was rolled back, or the "
            "event was removed (retention, purge)"
        )
    match outcome:
        case "in progress":
            return f"transaction {xid} is still open; its events arrive when it commits"
        case "aborted":
            return f"transaction {xid} was rolled back"
        case "not begun":
            return f"no transaction {xid} has begun in this database yet"
        case "committed":
            return (
                f"transaction {xid} committed without an event in the log; does the changed table have a "
                "trigger (see `flowcraft check --dsn`), or was the event removed?"
            )
        case _:
            return f"transaction {xid} is too old: the database no longer has its status"


async def _readiness(url: str, opens: bool) -> list[DiagnosisLine]:
    """Read the report of a server: below its WebSocket in an application, beside it in `flowcraft serve`."""
    path = f"http{url.removeprefix('ws').partition('?')[0].rstrip('/')}"
    beside = path.rpartition("/")[0] if path.count("/") > 2 else path
    failure = ""
    for page in (f"{path}/readyz", f"{beside}/readyz"):
        try:
            health = await asyncio.to_thread(_read, page)
            return [
                DiagnosisLine("server", "ok" if good else "wrong", text)
                for good, text in _judge_health(health)
            ] + await _refusals(f"{page.removesuffix('/readyz')}/metrics")
        except (OSError, ValueError, LookupError, TypeError, HTTPException) as error:
            failure = f"{page} does not respond as a FlowCraft server: {str(error) or type(error).__name__}"
    return [DiagnosisLine("server", "note" if opens else "wrong", failure)]


_REFUSALS = re.compile(r'^flowcraft_refusals_total\{(?:[^}]*,)?by="(\w+)"[^}]*\} (\d+)', re.MULTILINE)


async def _refusals(page: str) -> list[DiagnosisLine]:
    """Return how many clients the server has refused, by its metrics."""
    try:
        metrics = await asyncio.to_thread(_read_text, page)
    except (OSError, ValueError, HTTPException):
        return []
    found: dict[str, int] = {}
    for by, number in _REFUSALS.findall(metrics):
        found[by] = found.get(by, 0) + int(number)
    listed = ", ".join(f"{number:,} by {by}" for by, number in found.items() if number)
    if not listed:
        return []
    return [DiagnosisLine("refused", "note", f"{listed} since the server's start; its log has the reasons")]


def _judge_health(health: dict[str, Any]) -> list[tuple[bool, str]]:
    summary = f"{health['state']}, {health['connections']:,} connections, "
    summary += f"{health['subscriptions']:,} subscriptions, "
    summary += f"{health['counts']['slow_closes']:,} closed as too slow, wakeups: {health['wakeup']}"
    errors = [(False, f"{name}: {error}") for name, error in health["errors"].items()]
    skipped = [
        # undeclared: another application may have its channels in this log
        (
            reason == "undeclared",
            f"{count:,} events of {channel} were not delivered ({reason}); the server's log names each",
        )
        for channel, reasons in health["counts"].get("skipped", {}).items()
        for reason, count in reasons.items()
    ]
    return [(bool(health["ready"]), summary), *errors, *skipped]


def _read(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_read_text(page))
    return found


def _read_text(page: str) -> str:
    try:
        with urllib.request.urlopen(page, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # what the user named
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        content = error.read()
    return content.decode()


async def _lag(dsn: str, url: str, token: str | None) -> float:
    """Return the seconds from the reply to a commit until the server reports the commit as settled."""
    async with _connected(url, token) as client:
        xid = await new_transaction(dsn)
        committed = time.monotonic()
        await client.send(json.dumps({"settle": str(xid)}))
        await _until(client, lambda frame: frame.get("settled") == str(xid))
        return time.monotonic() - committed


async def _as_a_subscriber(dsn: str, url: str, token: str | None, event: FoundEvent) -> DiagnosisLine:
    since = await _just_before(dsn, event.xid)
    async with _connected(url, token) as client:
        await client.send(json.dumps({"subscribe": [event.channel], "since": str(since), "ref": 1}))
        frame = await _until(
            client,
            lambda frame: (
                frame.get("id") == event.id or bool({"subscribed", "reset", "error"} & frame.keys())
            ),
        )
    if "error" in frame:
        refused = f"{event.channel}: the server refused the subscription: {frame['error']['message']}"
        return DiagnosisLine("subscriber", "wrong", refused)
    if "reset" in frame:
        return DiagnosisLine(
            "subscriber", "wrong", f"{event.channel}: event {event.id} cannot be replayed ({frame['reason']})"
        )
    if "subscribed" in frame:
        return DiagnosisLine(
            "subscriber",
            "wrong",
            f"{event.channel}: event {event.id} was not delivered; does the server use another database?",
        )
    return DiagnosisLine("subscriber", "ok", f"{event.channel}: a subscriber receives event {event.id}")


async def _just_before(dsn: str, xid: int) -> Cursor:
    log = PostgresLog(dsn)
    try:
        return Cursor((await log.position()).cursor.lineage, Snapshot(xid))
    finally:
        await log.close()


@asynccontextmanager
async def _connected(url: str, token: str | None) -> AsyncIterator[ClientConnection]:
    async with open_websocket(url) as client:
        if token is not None:
            await client.send(json.dumps({"auth": token}))
        yield client


@asynccontextmanager
async def open_websocket(url: str) -> AsyncIterator[ClientConnection]:
    """Connect to a server until the block ends.

    Raises:
        ServerNotResponding: there is no connection, or it ends, or its messages are no frames.
    """
    try:
        async with connect(url, open_timeout=ANSWER_SECONDS) as client:
            yield client
    except ConnectionClosed as error:
        reason = f" ({error.rcvd.code} {error.rcvd.reason})" if error.rcvd else ""
        raise ServerNotResponding(
            f"the server closed the connection{reason}; does it need a --token?"
        ) from None
    except (OSError, WebSocketException) as error:
        raise ServerNotResponding(f"no connection: {error}") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise ServerNotResponding(f"its messages are no frames of FlowCraft: {error}") from None


async def _until(client: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                frame: dict[str, Any] = json.loads(await client.recv())
                if wanted(frame):
                    return frame
    except TimeoutError:
        raise ServerNotResponding(
            f"no response within {ANSWER_SECONDS:.0f} s; does the server use another database?"
        ) from None
