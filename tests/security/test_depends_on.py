"""Guards that depend on a table: a change of its rows has them asked again, in commit order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from flowcraft import Channels, Event, Realtime, Table
from flowcraft.adapters.postgres.inspection import inspect
from flowcraft.adapters.postgres.schema import migrate, migration_sql
from flowcraft.errors import DeclarationError
from flowcraft.runtime.node import Node
from flowcraft.viewers import Viewer
from tests.support.kept_frames import Client, Everyone
from tests.support.postgres import connected


class Said(Event):
    """Something that members may read."""

    team_id: int
    n: int


class Told(Event):
    """Something with a parameter of another type."""

    key: str
    n: int


MEMBERS = Table("members", columns={"person": "person", "team_id": "team"})
TABLES = """
    create table members (id int generated always as identity primary key, person text, team int, role text);
    insert into members (person, team, role) values ('ada', 7, ''), ('ada', 8, ''), ('bob', 7, '');
"""


class Team:
    """A node whose guard reads the table of members."""

    def __init__(self, dsn: str, depends_on: Table = MEMBERS) -> None:
        self.dsn = dsn
        self.channels = Channels()
        self.teams = self.channels.declare("teams.{team_id}", Said, params={"team_id": int})
        self.asked: list[tuple[str, int]] = []
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        self.clients: dict[str, Client] = {}

        @self.teams.guard(depends_on=depends_on)
        async def is_member(viewer: Viewer, team_id: int) -> bool:
            self.asked.append((viewer.subject, team_id))
            found = await self.guards.fetchval(
                "select exists (select from members where person = $1 and team = $2 and role <> 'out')",
                viewer.subject,
                team_id,
            )
            if self.before_answer is not None:
                await self.before_answer()
            return bool(found)

    guards: Any
    node: Node
    connection: Any

    async def member(self, person: str, *teams: int) -> Client:
        client = self.clients[person] = Client()
        client.gateway = self.node.connect(client, [f"teams.{team}" for team in teams])
        client.gateway.received(f'{{"auth":"{person}"}}')
        await client.until(lambda: client.count("subscribed") or client.refused or client.closed)
        return client

    async def say(self, n: int, *teams: int) -> None:
        for team in teams:
            await self.connection.execute(
                "select flowcraft.broadcast($1, json_build_object('team_id', $2::int, 'n', $3::int))",
                f"teams.{team}",
                team,
                n,
            )

    def got(self, person: str, n: int) -> set[int]:
        """Return the teams whose event n, or whose refusal, a person has received."""
        payloads = [frame["payload"] for frame in self.clients[person].frames if "payload" in frame]
        refused = {int(name.partition(".")[2]) for name in self.clients[person].refused}
        return {one["team_id"] for one in payloads if one["n"] == n} | refused


@asynccontextmanager
async def team(dsn: str, depends_on: Table = MEMBERS, tables: str = TABLES) -> AsyncIterator[Team]:
    it = Team(dsn, depends_on)
    async with connected(dsn) as it.connection, asyncpg.create_pool(dsn, min_size=2) as it.guards:
        await it.connection.execute(tables)
        await migrate(dsn, it.channels)
        async with Realtime(it.channels, dsn=dsn, authorizer=Everyone()) as realtime:
            it.node = await realtime.start()
            await it.node.until_accepting()
            yield it


EVERYONE = {("ada", 7), ("ada", 8), ("bob", 7)}
CHANGES: dict[str, tuple[str, set[tuple[str, int]]]] = {
    "a column that only the guard knows": (
        "update members set role = 'out' where person = 'ada' and team = 7",
        {("ada", 7)},
    ),
    "deleted": ("delete from members where person = 'ada' and team = 7", {("ada", 7)}),
    "deleted and added again": (
        (
            "delete from members where person = 'ada'; "
            "insert into members (person, team, role) values ('ada', 7, ''), ('ada', 8, '')"
        ),
        {("ada", 7), ("ada", 8)},
    ),
    "moved": (
        "update members set team = 8 where person = 'ada' and team = 7",
        {("ada", 7), ("ada", 8)},
    ),
    "another person's now": (
        "update members set person = 'bob' where person = 'ada' and team = 7",
        {("ada", 7), ("bob", 7)},
    ),
    "a second membership": (
        "insert into members (person, team, role) values ('bob', 7, 'chair')",
        {("bob", 7)},
    ),
    "of someone who is not there": ("insert into members (person, team, role) values ('eve', 7, '')", set()),
    "by copy": ("copy members (person, team, role) from program 'printf \"bob\\t7\\tx\\n\"'", {("bob", 7)}),
    "no row": ("update members set role = '' where person = 'eve'", set()),
    "all of them": ("delete from members", EVERYONE),
    "truncated": ("truncate members", EVERYONE),
    "a person that is null": ("insert into members (team, role) values (7, '')", {("ada", 7), ("bob", 7)}),
    "a team that is null": (
        "insert into members (person, role) values ('ada', '')",
        {("ada", 7), ("ada", 8)},
    ),
    "more than a thousand": (
        "insert into members (person, team, role) select 'p' || n, 1, '' from generate_series(1, 1001) as n",
        EVERYONE,
    ),
    "a thousand of one person": (
        "insert into members (person, team, role) select 'ada', 8, '' from generate_series(1, 5000)",
        {("ada", 8)},
    ),
    "a name that no token has room for": (
        "insert into members (person, team, role) values (repeat('x', 20000), 7, '')",
        set(),
    ),
    "by a replication subscriber": (
        "set local session_replication_role = replica; delete from members where person = 'ada' and team = 7",
        {("ada", 7)},
    ),
    "after the table was renamed": (
        (
            "alter table members rename to people; create view members as table people; "
            "delete from people where person = 'ada' and team = 7"
        ),
        {("ada", 7)},
    ),
    "after the column was renamed": (
        (
            "alter table members rename person to who; alter table members add person text; "
            "update members set person = who"
        ),
        EVERYONE,
    ),
    "after the type of a column has changed": (
        (
            "alter table members alter person type varchar(40); "
            "delete from members where person = 'ada' and team = 7"
        ),
        EVERYONE,
    ),
    "merged": (
        (
            "merge into members as m using (values ('ada', 7)) as v(p, t) on m.person = v.p and m.team = v.t"
            " when matched then delete"
        ),
        {("ada", 7)},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_a_row_has_the_guard_asked_again_for_its_person_and_channel(
    database: str, change: str
) -> None:
    sql, expected = CHANGES[change]
    async with team(database) as it:
        if change == "merged" and it.connection.get_server_version().major < 15:
            pytest.skip("MERGE came with PostgreSQL 15")
        await it.member("ada", 7, 8)
        await it.member("bob", 7)
        await it.say(1, 7, 8)
        await it.clients["ada"].until(lambda: it.got("ada", 1) == {7, 8})
        it.asked.clear()
        async with it.connection.transaction():
            await it.connection.execute(sql)
            await it.say(2, 7, 8)
        await it.clients["ada"].until(lambda: it.got("ada", 2) == {7, 8})
        await it.clients["bob"].until(lambda: it.got("bob", 2) == {7})
        assert set(it.asked) == expected
        members = {tuple(row) for row in await it.connection.fetch(MEMBERSHIPS)} & EVERYONE
        heard = {
            (person, frame["payload"]["team_id"])
            for person, client in it.clients.items()
            for frame in client.frames
            if frame.get("payload", {}).get("n") == 2
        }
        assert heard == members


MEMBERSHIPS = "select person, team from members where role <> 'out'"


async def test_a_change_that_is_rolled_back_asks_no_guard(database: str) -> None:
    async with team(database) as it:
        ada = await it.member("ada", 7)
        it.asked.clear()
        transaction = it.connection.transaction()
        await transaction.start()
        await it.connection.execute("truncate members")
        await transaction.rollback()
        await it.say(1, 7)
        await ada.until(lambda: ada.events == [1])
        assert it.asked == []


async def test_a_guard_that_was_asked_before_a_change_and_answers_after_it_is_asked_again(
    database: str,
) -> None:
    async with team(database) as it:
        bob = await it.member("bob", 7)
        asked, answer = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            asked.set()
            await answer.wait()

        it.asked.clear()
        it.before_answer = hold
        joining = asyncio.create_task(it.member("ada", 7))
        await asyncio.wait_for(asked.wait(), 10)  # the guard has read that ada is a member
        async with it.connection.transaction():
            await it.connection.execute("delete from members where person = 'ada'")
            await it.say(1, 7)
        await bob.until(lambda: bob.events == [1])  # the server has applied the withdrawal
        it.before_answer = None
        answer.set()
        ada = await joining
        assert (it.asked, ada.refused, ada.count("subscribed"), ada.events) == (
            [("ada", 7), ("ada", 7)],
            ["teams.7"],
            0,
            [],
        )


async def test_events_are_held_back_while_the_guard_decides_and_none_is_lost_if_it_allows(
    database: str,
) -> None:
    async with team(database) as it:
        ada, bob = await it.member("ada", 7), await it.member("bob", 7)
        asked, answer = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            asked.set()
            await answer.wait()

        it.before_answer = hold
        async with it.connection.transaction():
            await it.say(1, 7)
            await it.connection.execute("update members set role = 'chair' where person = 'ada'")
            await it.say(2, 7)
        await asyncio.wait_for(asked.wait(), 10)
        await it.say(3, 7)
        await bob.until(lambda: bob.events == [1, 2, 3])
        assert ada.events == []
        it.before_answer = None
        answer.set()
        await ada.until(lambda: ada.events == [1, 2, 3])
        assert ada.refused == []


@pytest.mark.parametrize(
    ("columns", "change", "expected"),
    [
        ({"person": "person"}, "team = 7 and person = 'ada'", {("ada", 7), ("ada", 8)}),
        ({"team_id": "team"}, "team = 7 and person = 'ada'", {("ada", 7), ("bob", 7)}),
        ({"team_id": "team"}, "team = 8", {("ada", 8)}),
    ],
)
async def test_a_row_that_names_no_person_or_no_channel_concerns_all_of_them(
    database: str, columns: dict[str, str], change: str, expected: set[tuple[str, int]]
) -> None:
    async with team(database, Table("members", columns=columns)) as it:
        await it.member("ada", 7, 8)
        await it.member("bob", 7)
        it.asked.clear()
        async with it.connection.transaction():
            await it.connection.execute(f"update members set role = 'chair' where {change}")
            await it.say(2, 7, 8)
        await it.clients["ada"].until(lambda: it.got("ada", 2) == {7, 8})
        await it.clients["bob"].until(lambda: it.got("bob", 2) == {7})
        assert set(it.asked) == expected


async def test_on_without_insert_leaves_inserts_out_and_nothing_else(database: str) -> None:
    only = Table("members", columns={"person": "person", "team_id": "team"}, on=("update",))
    async with team(database, only) as it:
        ada = await it.member("ada", 7)
        it.asked.clear()
        await it.connection.execute("insert into members (person, team, role) values ('ada', 7, 'x')")
        await it.say(1, 7)
        await ada.until(lambda: ada.events == [1])
        assert it.asked == []
        await it.connection.execute("delete from members where person = 'ada'")
        await ada.until(lambda: ada.refused == ["teams.7"])


MEMBERS_TABLE = "create table members (person text, team int, role text)"


@pytest.mark.parametrize(
    "table",
    [
        f"{MEMBERS_TABLE} partition by list (team); create table part partition of members default;",
        f"{MEMBERS_TABLE}; create table part () inherits (members);",
    ],
    ids=["partition", "child"],
)
async def test_a_part_of_the_table_may_be_written_directly(database: str, table: str) -> None:
    rows = " insert into part values ('ada', 7, ''), ('bob', 7, '');"
    async with team(database, tables=table + rows) as it:
        await it.member("ada", 7)
        bob = await it.member("bob", 7)
        it.asked.clear()
        async with it.connection.transaction():
            await it.connection.execute("delete from part where person = 'ada'")
            await it.say(1, 7)
        await bob.until(lambda: bob.events == [1])
        await it.clients["ada"].until(lambda: it.clients["ada"].refused)
        assert it.asked == [("ada", 7)]


LOOSE = "create table loose (person text, team int, role text); insert into loose values ('ada', 7, '')"
COMING = {
    "attached": (
        f"{MEMBERS_TABLE} partition by list (team);create table part partition of members for values in (8);",
        f"{LOOSE}; alter table members attach partition loose for values in (7)",
        "alter table members detach partition loose",
        "drop table loose",
    ),
    "inherited": (
        f"{MEMBERS_TABLE}; create table part () inherits (members);",
        f"{LOOSE}; alter table loose inherit members",
        "alter table loose no inherit members",
        "drop table loose",
    ),
}


@pytest.mark.parametrize(
    "depends_on", [MEMBERS, Table("members", person="person"), Table("members", team_id="team")]
)
@pytest.mark.parametrize("kind", COMING)
@pytest.mark.parametrize("leaves_by", [0, 1], ids=["detached", "dropped"])
async def test_rows_that_come_and_go_with_their_table_have_the_guards_asked_again(
    database: str, kind: str, leaves_by: int, depends_on: Table
) -> None:
    tables, comes, *leaves = COMING[kind]
    async with team(database, depends_on, tables=tables + " insert into part values ('bob', 8, '')") as it:
        ada, bob = await it.member("ada", 7), await it.member("bob", 8)
        assert ada.refused == ["teams.7"]
        async with it.connection.transaction():
            await it.connection.execute(comes)
            await it.say(1, 7, 8)
        await bob.until(lambda: bob.events == [1])
        ada = await it.member("ada", 7)
        assert ada.refused == []
        it.asked.clear()
        async with it.connection.transaction():
            await it.connection.execute(leaves[leaves_by])
            await it.say(2, 7, 8)
        await bob.until(lambda: bob.events == [1, 2])
        await ada.until(lambda: ada.refused == ["teams.7"])
        assert (ada.events, ada.count("reset"), bob.count("reset")) == ([], 0, 0)
        assert set(it.asked) == {("ada", 7), ("bob", 8)}


async def test_a_migration_that_makes_the_triggers_again_has_the_guards_asked_again(database: str) -> None:
    """Nothing saw what was changed while there were none."""
    async with team(database) as it:
        ada, bob = await it.member("ada", 7), await it.member("bob", 7)
        await it.connection.execute(
            "alter table members disable trigger user; delete from members where person = 'ada'"
        )
        await it.say(1, 7)
        await ada.until(lambda: ada.events == [1])
        await it.connection.execute("drop table members")
        await it.connection.execute(TABLES.replace("('ada', 7, ''), ", ""))
        assert await migrate(database, it.channels) != []
        await ada.until(lambda: ada.refused == ["teams.7"])
        await it.say(2, 7)
        await bob.until(lambda: bob.events == [1, 2])
        assert ada.events == [1]


async def test_the_role_that_changes_a_row_needs_no_right_to_withdraw(database: str) -> None:
    async with team(database) as it:
        ada = await it.member("ada", 7)
        role = f"clerk_{database.rpartition('/')[2].partition('?')[0]}"
        await it.connection.execute(f'create role "{role}"; grant select, delete on members to "{role}"')
        try:
            async with it.connection.transaction():
                await it.connection.execute(f'set local role "{role}"')
                await it.connection.execute("delete from members where person = 'ada'")
            await ada.until(lambda: ada.refused == ["teams.7"])
        finally:
            await it.connection.execute(f'drop owned by "{role}"; drop role "{role}"')


VALUES: list[tuple[type, str, str, str]] = [
    (UUID, "uuid", "00000000-0000-0000-0000-00000000002A", "things.00000000-0000-0000-0000-00000000002a"),
    # Another spelling of the same id: the withdrawal is for the family.
    (UUID, "text", "00000000-0000-0000-0000-00000000002A", "things.*"),
    (int, "text", "007", "things.*"),
    (int, "bigint", "-7", "things.-7"),
    (str, "text", "a_B-9", "things.a_B-9"),
    (str, "text", "no name", "things.*"),
    (str, "text", "", "things.*"),
    (str, "mood", "happy", "things.happy"),
]


@pytest.mark.parametrize(("kind", "column", "value", "channel"), VALUES)
async def test_the_channel_of_a_row_is_written_as_clients_name_it(
    database: str, kind: type, column: str, value: str, channel: str
) -> None:
    channels = Channels()
    things = channels.declare("things.{key}", Told, params={"key": kind})
    owners = Table("owners", person="owner", key="thing")
    things.guard(depends_on=owners)(lambda _viewer, key: True)
    async with connected(database) as connection:
        await connection.execute(
            f"create type mood as enum ('happy'); create table owners (owner int, thing {column})"
        )
        await migrate(database, channels)
        await connection.execute("truncate flowcraft.event")
        await connection.execute(f"insert into owners values (42, '{value}')")
        rows = await connection.fetch("select kind, channel, payload from flowcraft.event")
        assert [(row["kind"], row["channel"]) for row in rows] == [(b"w", "*")]
        expected = f'{{"viewer" : "42", "channel" : "{channel}", "ask" : true}}'
        assert [row["payload"] for row in rows] == [expected]


BAD_DECLARATIONS: list[tuple[Any, str]] = [
    ("members", r"depends_on takes Table\(\.\.\.\), got str"),
    ([MEMBERS, "teams"], r"depends_on takes Table\(\.\.\.\), got str"),
    (
        Table("members"),
        r'does not name the columns .* write columns=\{"person": "<column>", "team_id": "<column>"\}',
    ),
    (Table("members", viewer="person"), r"unknown field 'viewer'; write columns=\{\"person\""),
    (Table("members", person="person", event=Said), r"makes no events; remove event="),
]


@pytest.mark.parametrize(("depends_on", "sentence"), BAD_DECLARATIONS)
def test_a_declaration_that_cannot_work_is_refused(depends_on: Any, sentence: str) -> None:
    channels = Channels()
    teams = channels.declare("teams.{team_id}", Said, params={"team_id": int})
    with pytest.raises(DeclarationError, match=sentence):
        teams.guard(depends_on=depends_on)


def test_a_parameter_named_person_is_refused() -> None:
    inbox = Channels().declare("inbox.{person}", Told, params={"person": str})
    with pytest.raises(DeclarationError, match="rename the parameter"):
        inbox.guard(depends_on=Table("mail", person="owner"))


BAD_TABLES: list[tuple[str, str]] = [
    ("select 1", r"there is no table \"?members"),
    ("create view members as select ''::text as person, 7 as team", r"is not a table"),
    ("create table members (person text)", r"has no column team for team_id; it has person: write columns="),
    *(
        (f"create table members (person {kind}, team int)", r"its text may differ .* leave person out")
        for kind in ("numeric", "float8", "timestamptz", "char(8)", "bytea", "jsonb", "text[]")
    ),
]


@pytest.mark.parametrize(("table", "sentence"), BAD_TABLES)
async def test_a_table_that_does_not_fit_is_refused_by_migrate_and_found_by_check(
    database: str, table: str, sentence: str
) -> None:
    it = Team(database)
    await migrate(database, Channels())
    async with connected(database) as connection:
        await connection.execute(table)
    with pytest.raises(DeclarationError, match=sentence):
        await migrate(database, it.channels)
    (found,) = (await inspect(database, it.channels)).sources
    assert not found.exists or not found.is_table or found.refused is not None


async def test_triggers_of_guards_are_made_once_compared_and_dropped_with_the_declaration(
    database: str,
) -> None:
    it = Team(database)
    async with connected(database) as connection:
        await connection.execute(TABLES)
        done = await migrate(database, it.channels)
        assert done[-1] == "teams.{team_id}: created the triggers on public.members (insert, update, delete)"
        assert await migrate(database, it.channels) == []
        await connection.execute(migration_sql(it.channels))
        assert await migrate(database, it.channels) == []
        (found,) = (await inspect(database, it.channels)).sources
        assert (found.same, found.operations, found.disabled) == (
            True,
            ("delete", "insert", "truncate", "update"),
            (),
        )
        await connection.execute("alter table members alter person type varchar(9)")
        (found,) = (await inspect(database, it.channels)).sources
        assert found.same is False
        assert await migrate(database, it.channels) == [
            "teams.{team_id}: replaced the triggers on public.members (insert, update, delete)"
        ]
        without = Channels()
        without.declare("teams.{team_id}", Said, params={"team_id": int})
        (dropped,) = await migrate(database, without)
        assert dropped.startswith("dropped the triggers of flowcraft.teams_")


async def test_a_channel_without_a_parameter_and_two_tables(database: str) -> None:
    channels = Channels()
    news = channels.declare("news_update", Told)
    news.guard(depends_on=[Table("staff", person="login"), Table("bans", person="login")])(
        lambda _viewer: True
    )
    async with connected(database) as connection:
        await connection.execute("create table staff (login text); create table bans (login text)")
        await migrate(database, channels)
        await connection.execute("truncate flowcraft.event")
        await connection.execute("insert into bans values ('ada')")
        await connection.execute("truncate staff")
        payloads = [
            row["payload"]
            for row in await connection.fetch("select payload from flowcraft.event order by id")
        ]
        assert payloads == [
            '{"viewer" : "ada", "channel" : "news_update", "ask" : true}',
            '{"viewer" : null, "channel" : "news_update", "ask" : true}',
        ]
