"""What the fault harness serves: `flowcraft serve faults.app:realtime`, on DATABASE_URL.

FLOWCRAFT_HARNESS holds, as JSON, the settings of this server and the damage that it is to do to itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

import asyncpg
import msgspec

from faults.damage import Damage
from faults.tokens import AUDIENCE
from flowcraft import Channels, Event, Int64, Jwks, JwtAuthorizer, Realtime, Settings, Table, Viewer


class Change(Event):
    """A row as a commit left it; `row` and `version` distinguish one event from all others of its channel."""

    row: int | str
    version: int
    pad: str = ""


class Task(Event):
    """A row of the table that pages show."""

    id: int
    team: int | None
    title: str
    pad: str


class Person(Event):
    """One who is present."""

    id: str


class Tree(msgspec.Struct, frozen=True):
    """A value within a value."""

    name: str
    below: Tree | None = None


class Document(Event):
    """A payload with everything that JSON can spoil on its way."""

    row: int | str
    version: int
    text: str
    number: int
    large: Int64
    nested: Tree | None = None


channels = Channels()
item_update = channels.declare("item_update", Change, source=Table("items", row="id"))
lane = channels.declare("lanes.{lane}", Change, params={"lane": int})
bulk_update = channels.declare("bulk_update", Change)
document_update = channels.declare("document_update", Document)
task_rows = channels.rows("task_rows", Task, table="tasks", key="id", where="not hidden")
team_task_rows = channels.rows(
    "team_task_rows.{team}", Task, table="tasks", key="id", params={"team": int}, where="not hidden"
)
dashboard = channels.declare("dashboard", Change, conflate="row")
team = channels.declare("teams.{team}", Change, params={"team": int})
room = channels.declare("room.{room}", Change, params={"room": int}, presence=Person)
tenant = channels.declare("tenants.{tenant}", Change, params={"tenant": str})


class Members:
    """The table that a guard reads; it answers after a while, as one does that has far to go."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def has(self, person: str, team: int) -> bool:
        """Return whether a person is a member of a team."""
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=8)
        found = await self._pool.fetchval(MEMBER, person, team)
        await asyncio.sleep(random.random() * LONGEST_ANSWER_SECONDS)
        return bool(found)


MEMBER = "select exists (select from members where person = $1 and team = $2 and role <> 'out')"
LONGEST_ANSWER_SECONDS = 0.02
members = Members()


@team.guard(depends_on=Table("members", columns={"person": "person", "team": "team"}))
async def is_member(viewer: Viewer, team: int) -> bool:
    """Ask the table."""
    return await members.has(viewer.subject, team)


@room.present
def who(viewer: Viewer) -> Person:
    """Show everybody."""
    return Person(id=viewer.subject)


@tenant.guard
def is_of_tenant(viewer: Viewer, tenant: str) -> bool:
    """Compare with the claim of the token."""
    return viewer.claims.get("tenant") == tenant


harness = msgspec.json.decode(os.environ.get("FLOWCRAFT_HARNESS", "{}"))
# All clients of a run have one address and one viewer, and races subscribe as fast as they can.
MANY = {"connections_per_address": 100_000, "connections_per_viewer": 100_000, "messages_at_once": 100_000}
RATES = {"messages_per_second": 10_000.0, "joins_per_second": 10_000.0, "received_bytes_per_second": 1e9}
settings = msgspec.convert({"any_origin": True, **MANY, **RATES, **harness.get("settings", {})}, Settings)


def now() -> float:
    """Return the time, also where damage has turned the clock."""
    return time.time()


authorizer = (
    JwtAuthorizer(
        keys=Jwks(harness["jwks"], keep_seconds=1.0, retry_seconds=0.2),
        algorithms=("EdDSA",),
        audience=AUDIENCE,
        required=False,
        leeway_seconds=0.0,
        clock=now,
    )
    if "jwks" in harness
    else None
)
realtime = Realtime(channels, dsn=os.environ.get("DATABASE_URL"), settings=settings, authorizer=authorizer)
msgspec.convert(harness.get("damage", {}), Damage).inflict()
