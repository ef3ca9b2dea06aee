"""Doctoring: from a row to a subscriber, and where it ends if it does."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from flowcraft.adapters.postgres.event_lookup import (
    EventLookup,
    FoundEvent,
    examine,
    find_events,
    new_transaction,
)
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.cursors import Cursor, Snapshot

Verdict: TypeAlias = Literal["ok", "note", "wrong"]
OPEN_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FULL_QUEUE = 0.25


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """One line of the report: what was looked at, how it is, and what to do next if it is not well."""

    about: str
    verdict: Verdict
    sentence: str


class ServerNotResponding(Exception):
    """The server does not answer as one of ours; the text says what it does."""


async def look_at_database(dsn: str) -> list[ServerAnswer]:
    """Examine the database."""
    return list(_judge(await examine(dsn, open_seconds=OPEN_SECONDS)))


async def look_at_server(dsn: str, url: str, token: str | None) -> list[ServerAnswer]:
    """Examine a server that runs: its own report, and how far behind the database it is."""
    found = [ServerAnswer("server", "ok" if good else "wrong", text) for good, text in await _readiness(url)]
    try:
        seconds = await _lag(dsn, url, token)
    except ServerNotResponding as error:
        return [*found, ServerAnswer("lag", "wrong", str(error))]
    return [*found, ServerAnswer("lag", "ok", f"a commit is known to a client {1000 * seconds:.0f} ms later")]


async def follow_event(
    dsn: str, url: str | None, token: str | None, id_: int | None, xid: int | None
) -> list[ServerAnswer]:
    """Follow the event with an id, or those of a transaction, as far as a subscriber."""
    events, outcome = await find_events(dsn, id_=id_, xid=xid)
    if not events:
        return [ServerAnswer("row", "wrong", _why_no_row(id_, xid, outcome))]
    found = [
        ServerAnswer(
            "row", "ok", f"event {e.id} of transaction {e.xid} on {e.channel}, {e.bytes} bytes: committed"
        )
        for e in events
    ]
    if url is None:
        return [*found, ServerAnswer("subscriber", "note", "name a server by --url to follow it further")]
    for event in events:
        try:
            found.append(await _as_a_subscriber(dsn, url, token, event))
        except ServerNotResponding as error:
            found.append(ServerAnswer("subscriber", "wrong", f"{event.channel}: {error}"))
    return found


def _judge(found: EventLookup) -> Iterator[ServerAnswer]:
    if found.standby:
        yield ServerAnswer(
            "database", "wrong", f"PostgreSQL {found.version} is a standby: follow the log on its primary"
        )
    else:
        yield ServerAnswer("database", "ok", f"PostgreSQL {found.version}, a primary")
    if found.log is None:
        yield ServerAnswer("log", "wrong", "there is none in this database: run `flowcraft migrate`")
    else:
        size = f"about {found.log.events:,} events, {found.log.bytes / 2**20:,.1f} MiB"
        yield ServerAnswer("log", "ok", f"{size}, from transaction {found.log.floor} on")
        yield from _judge_migrations(found)
    if found.notifies:
        yield ServerAnswer("notifications", "ok", "LISTEN and NOTIFY work over this address")
    elif found.notifies is False:
        pooled = "a pooler in transaction mode swallows them" if found.pooled else "they do not come through"
        yield ServerAnswer(
            "notifications", "wrong", f"{pooled}: servers poll instead; give them a direct connection"
        )
    if found.readers:
        bell = "one is busy and needs no rings" if found.awake else "writers ring them"
        follow = "one follows" if found.readers == 1 else f"{found.readers} follow"
        yield ServerAnswer("servers", "ok", f"{follow} the log; {bell}")
    else:
        yield ServerAnswer(
            "servers", "wrong", "none follows the log of this database: is one running, on this database?"
        )
    verdict: Verdict = "wrong" if found.queue > FULL_QUEUE else "ok"
    yield ServerAnswer(
        "queue", verdict, f"PostgreSQL's queue of notifications is {100 * found.queue:.0f} % full"
    )
    for one in found.open:
        who = f"{one.who or 'somebody'}, process {one.pid}" if one.pid else one.who
        yield ServerAnswer(
            "open transaction",
            "note",
            f"{who}: {one.state} for {one.seconds:,.0f} s; its events arrive when it commits, and nothing is "
            "removed from the log before",
        )


def _judge_migrations(found: EventLookup) -> Iterator[ServerAnswer]:
    if found.missing:
        names = ", ".join(found.missing)
        yield ServerAnswer("log", "wrong", f"the migration {names} was not applied: run `flowcraft migrate`")
    if found.differing:
        names = ", ".join(found.differing)
        sentence = f"another version of flowcraft-realtime migrated it: {names} in this version"
        yield ServerAnswer("log", "wrong", f"{sentence}; use the version that migrated it")


def _why_no_row(id_: int | None, xid: int | None, outcome: str | None) -> str:
    if id_ is not None:
        return (
            f"no event {id_} is in the log: its transaction has not committed or was rolled back, or the "
            "event was removed (retention, purge)"
        )
    match outcome:
        case "in progress":
            return f"transaction {xid} is still open: it has to commit first"
        case "aborted":
            return f"transaction {xid} was rolled back"
        case "not begun":
            return f"there has been no transaction {xid} in this database yet"
        case "committed":
            return (
                f"transaction {xid} committed and stated no event: is there a trigger on the table that it "
                "changed (`flowcraft check --dsn`), or was the event removed?"
            )
        case _:
            return f"transaction {xid} is too old for the database to know what became of it"


async def _readiness(url: str) -> list[tuple[bool, str]]:
    page = f"http{url.removeprefix('ws').partition('?')[0].removesuffix('/realtime')}/readyz"
    try:
        health = await asyncio.to_thread(_read, page)
    except (OSError, ValueError) as error:
        return [(False, f"{page} does not answer: {error}")]
    told = f"{health['state']}, {health['connections']:,} connections, "
    told += f"{health['subscriptions']:,} subscriptions, "
    told += f"{health['counts']['slow_closes']:,} closed as too slow, wakeups: {health['wakeup']}"
    errors = [(False, f"{name}: {error}") for name, error in health["errors"].items()]
    return [(bool(health["ready"]), told), *errors]


def _read(page: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(page, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # what the user named
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
    return found


async def _lag(dsn: str, url: str, token: str | None) -> float:
    """Seconds from the answer to a commit until a client has been told that all before it has been told."""
    async with _connected(url, token) as client:
        xid = await new_transaction(dsn)
        committed = time.monotonic()
        await client.send(json.dumps({"settle": str(xid)}))
        await _until(client, lambda frame: frame.get("settled") == str(xid))
        return time.monotonic() - committed


async def _as_a_subscriber(dsn: str, url: str, token: str | None, event: FoundEvent) -> ServerAnswer:
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
        refused = f"{event.channel}: the server refuses: {frame['error']['message']}"
        return ServerAnswer("subscriber", "wrong", refused)
    if "reset" in frame:
        return ServerAnswer(
            "subscriber", "wrong", f"{event.channel}: {frame['reason']}: it is too old to be told again"
        )
    if "subscribed" in frame:
        return ServerAnswer(
            "subscriber", "wrong", f"{event.channel}: event {event.id} is not told; another database?"
        )
    return ServerAnswer("subscriber", "ok", f"{event.channel}: whoever subscribes is told event {event.id}")


async def _just_before(dsn: str, xid: int) -> Cursor:
    log = PostgresLog(dsn)
    try:
        return Cursor((await log.position()).cursor.lineage, Snapshot(xid))
    finally:
        await log.close()


@asynccontextmanager
async def _connected(url: str, token: str | None) -> AsyncIterator[ClientConnection]:
    try:
        async with connect(url, open_timeout=ANSWER_SECONDS) as client:
            if token is not None:
                await client.send(json.dumps({"auth": token}))
            yield client
    except (OSError, InvalidHandshake) as error:
        raise ServerNotResponding(f"no connection: {error}") from None
    except ConnectionClosed as error:
        reason = f" ({error.rcvd.code} {error.rcvd.reason})" if error.rcvd else ""
        raise ServerNotResponding(
            f"the server closed the connection{reason}; does it want a --token?"
        ) from None


async def _until(client: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                frame: dict[str, Any] = json.loads(await client.recv())
                if wanted(frame):
                    return frame
    except TimeoutError:
        raise ServerNotResponding(
            f"no answer in {ANSWER_SECONDS:.0f} s: does the server follow another database?"
        ) from None
