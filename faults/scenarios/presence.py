"""Presence: no ghost, and no flicker (I26)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from faults.outcomes import Outcome, judged, scenario
from faults.programs import ServerProgram, until
from faults.rows_page import RowsPage
from faults.stage import Stage
from faults.tokens import Login

CHANNEL = "room_members.1"
PEOPLE = 6
AWAY_SECONDS = 30.0
LEASE_SECONDS = 15.0
BEAT_SECONDS = 5.0
GRACE_SECONDS = 5.0
SLACK_SECONDS = 3.0
"""For commits, reconnects and a busy machine."""
EVENTS = "select kind::text, payload from flowcraft.event where channel = $1 and id > $2 order by id"
NEWEST = "select coalesce(max(id), 0) from flowcraft.event where channel = $1"


class Page:
    """A page of one person, which connects again until it is closed."""

    def __init__(self, person: str, address: str, token: str, seed: str) -> None:
        self.person = person
        self.page = RowsPage(CHANNEL, present=True)
        self._address = address
        self._token = token
        self._chance = random.Random(seed)
        self._client: ClientConnection | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def shown(self) -> set[str]:
        """Who is there, as the page shows it now; empty without a connection."""
        return {str(key[0]) for key in self.page.rows[CHANNEL]} if CHANNEL in self.page.live else set()

    async def reload(self) -> None:
        """Lose the connection, and come back soon."""
        if self._client is not None:
            await self._client.close()

    async def close(self) -> None:
        """Go, and do not come back."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with connect(self._address, max_size=2**24, open_timeout=2) as client:
                    self._client = client
                    await client.send(json.dumps({"auth": self._token}))
                    for frame in self.page.requests():
                        await client.send(json.dumps(frame))
                    async for message in client:
                        for frame in self.page.received(message):
                            await client.send(json.dumps(frame))
            self.page.lost()
            await asyncio.sleep(self._chance.uniform(0, 0.3))


@dataclass(slots=True)
class Room:
    """The pages of everybody, and the events about them."""

    stage: Stage
    login: Login
    scale: float
    pages: list[Page]

    @property
    def grace(self) -> float:
        """Long enough for a server that recovers with a backoff of a second."""
        return max(2.0, GRACE_SECONDS * self.scale)

    async def serve(self) -> ServerProgram:
        """Start a server whose presence is that much faster."""
        return await self.stage.serve(
            jwks=self.login.url,
            settings={"presence_grace_seconds": self.grace},
            damage={"presence_scale": self.scale},
        )

    def open(self, person: str) -> Page:
        """Open another page of a person."""
        token = self.login.token(person, kid="a")
        page = Page(person, self.stage.address, token, f"{self.stage.seed} {len(self.pages)}")
        self.pages.append(page)
        return page

    async def all_show(self, people: Iterable[str], seconds: float) -> bool:
        """Wait until every page shows just these; whether it did in time."""
        wanted = set(people)
        return await until(lambda: all(page.shown == wanted for page in self.pages), seconds)

    async def newest(self) -> int:
        """Return the id of the last event about the members."""
        async with self.stage.connection() as connection:
            return int(await connection.fetchval(NEWEST, CHANNEL))

    async def events(self, after: int) -> list[str]:
        """Return who came and who left since."""
        async with self.stage.connection() as connection:
            rows = await connection.fetch(EVENTS, CHANNEL, after)
        return [f"{row['kind']} {json.loads(row['payload'])['id']}" for row in rows]


@scenario("I26")
async def who_is_there_is_shown(stage: Stage) -> list[Outcome]:
    """Reloads, two tabs, a rolling deploy, a killed server, and a database that is away."""
    async with Login.open("a") as login:
        room = Room(stage, login, 1.0 if stage.size.name == "long" else 0.2, [])
        try:
            return [await _played(room)]
        finally:
            await asyncio.gather(*(page.close() for page in room.pages))


async def _played(room: Room) -> Outcome:
    stage, people = room.stage, [f"p{n}" for n in range(PEOPLE)]
    servers = [await room.serve(), await room.serve()]
    for person in people:
        room.open(person)
    joined = await room.all_show(people, 10)
    start = await room.newest()
    await _come_and_go(room)
    for server in servers:
        await server.stop()
        await server.start()
    returned = await room.all_show(people, 10)
    calm = await room.events(start)
    leavers, killed = people[:2], time.monotonic()
    await servers[0].kill()
    for page in [page for page in room.pages if page.person in leavers]:
        room.pages.remove(page)
        await page.close()
    # The pages of the two were on either server: some leave by the grace, and some by the lease.
    limit = (LEASE_SECONDS + BEAT_SECONDS) * room.scale + room.grace + SLACK_SECONDS
    gone = await room.all_show(people[2:], limit)
    ghosts_seconds = time.monotonic() - killed
    left = await room.events(start)
    await servers[0].start()
    # Now the pages are on both servers again, and each person on one of them.
    await asyncio.gather(*(page.reload() for page in room.pages))
    await asyncio.sleep(room.grace + 0.5)
    kept = await room.all_show(people[2:], 10) and await _database_away(room, people[2:])
    outage = (await room.events(start))[len(left) :]
    await asyncio.gather(*(page.close() for page in room.pages))
    empty = await _is_empty(stage, room.grace + SLACK_SECONDS)
    return judged(
        "I26",
        {
            "all were shown": joined and returned,
            "reloads, tabs and a deploy are no events": calm == [],
            "who left is gone": gone and sorted(left) == sorted(f"g {person}" for person in leavers),
            "an outage of the database is no event": outage == [] and kept,
            "no member stays": empty,
        },
        {
            "flickers": len(calm) + len(outage),
            "ghosts": 0 if gone and empty else 1,
            "gone_after_s": ghosts_seconds,
        },
    )


async def _come_and_go(room: Room) -> None:
    """Reload every page, and open and close more tabs of one person."""
    for _ in range(2):
        await asyncio.gather(*(page.reload() for page in room.pages))
        await asyncio.sleep(room.grace / 4)
    # Of three pages behind two servers, two are on one.
    tabs = [room.open(room.pages[0].person) for _ in range(2)]
    await until(lambda: all(tab.shown for tab in tabs), 5)
    for tab in tabs:
        room.pages.remove(tab)
        await tab.close()
    await asyncio.sleep(room.grace + 0.5)


async def _database_away(room: Room, people: list[str]) -> bool:
    """Cut the servers off from the database, and have pages reload meanwhile; whether all are shown again."""
    room.stage.wire.refuse()
    room.stage.wire.reset()
    await asyncio.sleep(AWAY_SECONDS * room.scale / 2)
    await asyncio.gather(*(page.reload() for page in room.pages[::2]))
    await asyncio.sleep(AWAY_SECONDS * room.scale / 2)
    room.stage.wire.heal()
    back = await room.all_show(people, 15)
    await asyncio.sleep(room.grace + 1)
    return back and await room.all_show(people, 1)


async def _is_empty(stage: Stage, seconds: float) -> bool:
    end = time.monotonic() + seconds
    async with stage.connection() as connection:
        while await connection.fetchval("select count(*) from flowcraft.member"):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.1)
    return True
