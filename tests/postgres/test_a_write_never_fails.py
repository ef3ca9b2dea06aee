"""A write of the application succeeds whatever became of its table; what cannot be sent is skipped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

import asyncpg
import pytest

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class Task(Event):
    id: int
    team: str
    state: Literal["open", "done"] | None = None
    note: str | None = None


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Plain]:
    async with connected(database) as connection:
        await connection.execute("create table tasks (id int primary key, team text, state text, note text)")
        yield connection


def declared(table: str = "tasks") -> Channels:
    channels = Channels()
    channels.declare("task_update", Task, source=Table(table))
    channels.declare("teams.{team}", Task, params={"team": str}, source=Table(table))
    return channels


async def records(connection: Plain) -> list[tuple[str, str, object]]:
    """Return the kind, the channel and what is of interest of each record, and remove them."""
    rows = await connection.fetch("select kind, channel, payload from flowcraft.event order by channel, id")
    await connection.execute("truncate flowcraft.event")
    return [(row["kind"].decode(), row["channel"], json.loads(row["payload"])) for row in rows]


STATES = {
    "a column more": ("alter table tasks add x int", "e"),
    "a column of another width": ("alter table tasks alter id type bigint", "e"),
    "a column that became an enum": (
        "create type st as enum ('open', 'done'); alter table tasks alter state type st using state::st",
        "e",
    ),
    "a column that became a domain": (
        "create domain key as int; alter table tasks alter id type key",
        "value",
    ),
    "a key that is gone": ("alter table tasks drop constraint tasks_pkey", "e"),
    "a renamed table": ("alter table tasks rename to others", "e"),
    "a table in another schema": ("create schema app; alter table tasks set schema app", "e"),
    "a table that has taken the name": (
        "alter table tasks rename to others; create table tasks (id text, team json, state int, note int)",
        "e",
    ),
    "a view that has taken the name": (
        "alter table tasks rename to others; create view tasks as select 1 / 0 as id",
        "e",
    ),
    "a renamed column": ("alter table tasks rename state to status", "s"),
    "a dropped column": ("alter table tasks drop note", "s"),
    "a renamed key": ("alter table tasks rename id to task_id", "s"),
    "a key that is json": ("alter table tasks drop id, add id json default '1'", "s"),
    "no right to read": (
        "revoke select on tasks from current_user; revoke all on tasks from current_user",
        "e",
    ),
}


@pytest.mark.parametrize(("ddl", "kind"), STATES.values(), ids=STATES)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_table_that_was_changed_since_the_migration(
    connection: Plain, database: str, ddl: str, kind: str, role: str
) -> None:
    await migrate(connection, declared())
    async with connected(database) as live:
        await live.execute(f"set session_replication_role = {role}")
        await live.execute("insert into tasks values (1, 'a', 'open', 'n')")
        await records(live)
        await connection.execute(ddl)
        name = await live.fetchval(
            "select t.tgrelid::regclass::text from pg_trigger as t where t.tgname like 'flowcraft%' limit 1"
        )
        for sql in (
            "insert into {} (team) select 'b' where false",
            "update {} set team = 'c'",
            "delete from {}",
        ):
            await live.execute(sql.format(name))
        found = await records(live)
    assert {one[0] for one in found if one[0] not in "gr"} == {"e" if kind == "e" else "s"}
    for _, channel, reason in found if kind == "s" else []:
        assert channel in {"task_update", "teams.*"}
        assert isinstance(reason, dict)
        assert (reason["reason"], reason["table"]) == ("error", f"public.{name}")


NAMES = {
    "ok": "e",
    "v1.2": "s",
    "me@x.org": "s",
    "a b": "s",
    "": "s",
    "x" * 64: "e",
    "x" * 65: "s",
    "ünï": "s",
}


async def test_a_value_that_is_no_name_of_a_channel_is_skipped_on_the_name_of_all(connection: Plain) -> None:
    await migrate(connection, declared())
    for number, (team, kind) in enumerate(NAMES.items()):
        await connection.execute("insert into tasks values ($1, $2)", number, team)
        last = (await records(connection))[-1]
        wanted = (
            ("s", "teams.*", {"reason": "channel_name"}) if kind == "s" else ("e", f"teams.{team}", last[2])
        )
        assert last == wanted
    await connection.execute("insert into tasks values (100, null)")
    assert [channel for _, channel, _ in await records(connection)] == ["task_update"]
    await connection.execute("update tasks set team = 'v1.2' where id = 0")
    assert [one[:2] for one in await records(connection)] == [
        ("e", "task_update"), ("s", "teams.*"), ("g", "teams.ok"),
    ]  # fmt: skip


async def test_a_payload_over_256_kib_is_skipped_on_its_channel(connection: Plain) -> None:
    await migrate(connection, declared())
    await connection.execute(
        "insert into tasks values (1, 'a', 'open', repeat('x', 262144)), (2, 'a', 'open', 'n')"
    )
    found = await records(connection)
    assert [one[:2] for one in found] == [
        ("s", "task_update"), ("e", "task_update"), ("s", "teams.a"), ("e", "teams.a"),
    ]  # fmt: skip
    assert found[0][2] == {"reason": "too_large"}


async def test_an_error_of_the_log_has_no_values_in_its_reason(connection: Plain) -> None:
    channels = Channels()
    channels.declare("task_update", Task, source=Table("tasks"))
    await migrate(connection, channels)
    await connection.execute("alter table tasks drop note")
    await connection.execute("insert into tasks values (1, 'secret', 'open')")
    ((_, _, payload),) = await records(connection)
    assert isinstance(payload, dict)
    assert payload["sqlstate"] == "42703"
    assert "note" in payload["message"]
    assert "secret" not in json.dumps(payload)


async def test_a_statement_of_any_size_is_sent_and_the_next_small_one_is_as_fast(connection: Plain) -> None:
    channels = Channels()
    channels.declare("task_update", Task, source=Table("tasks"))
    await migrate(connection, channels)
    insert = "insert into tasks select n, 'a', 'open', 'n' from generate_series({}, {}) as n"
    for first, last in ((1, 3), (4, 10_003), (10_004, 20_004)):  # 3, 10,000 and 10,001 rows
        await connection.execute(insert.format(first, last))
        assert await count(connection) == {"e": last - first + 1}
    await connection.execute("update tasks set note = 'm' where id = 7")
    assert await count(connection) == {"e": 1}
    await connection.execute("update tasks set note = 'o'")
    assert await count(connection) == {"e": 20_004}
    await connection.execute("update tasks set note = 'p' where id = 7; update tasks set note = note")
    assert await count(connection) == {"e": 1}
    await connection.execute("delete from tasks where id > 3")
    assert await count(connection) == {"g": 20_001}


async def test_a_session_that_began_with_a_small_table_does_not_scan_it_when_it_is_large(
    connection: Plain,
) -> None:
    await migrate(connection, declared())
    await connection.execute("insert into tasks values (0, 'a')")
    await connection.execute("analyze tasks")
    await connection.execute(
        "begin; insert into tasks values (1, 'a'); update tasks set note = 'n' where id = 1"
    )
    await connection.execute("insert into tasks select n, 'a' from generate_series(2, 5000) as n")
    scans = "select pg_stat_get_xact_numscans('tasks'::regclass)"
    before = await connection.fetchval(scans)
    await connection.execute("insert into tasks values (5001, 'a')")
    assert await connection.fetchval(scans) == before


async def test_a_large_table_whose_key_is_gone_is_not_scanned_for_each_row(connection: Plain) -> None:
    await connection.execute("insert into tasks select n, 'a' from generate_series(1, 10000) as n")
    await migrate(connection, declared())
    await connection.execute("update tasks set note = 'n' where id = 1; insert into tasks values (0, 'a')")
    await records(connection)
    await connection.execute("alter table tasks drop constraint tasks_pkey")
    scans = "select pg_stat_get_xact_numscans('tasks'::regclass)"
    await connection.execute("begin")
    before = await connection.fetchval(scans)
    await connection.execute("insert into tasks values (1, 'a')")
    assert await connection.fetchval(scans) == before
    await connection.execute("commit")
    assert {(kind, channel) for kind, channel, _ in await records(connection)} == {
        ("s", "task_update"), ("s", "teams.*"),
    }  # fmt: skip
    await connection.execute("delete from tasks where id = 1; alter table tasks add primary key (id)")
    await records(connection)
    await connection.execute("insert into tasks values (1, 'a')")
    assert [one[0] for one in await records(connection)] == ["e", "e"]


async def count(connection: Plain) -> dict[str, int]:
    rows = await connection.fetch("select kind, count(*) as n from flowcraft.event group by kind")
    await connection.execute("truncate flowcraft.event")
    return {row["kind"].decode(): row["n"] for row in rows}


async def test_truncate_sends_the_rows_that_are_gone_or_a_reset(connection: Plain) -> None:
    await migrate(connection, declared())
    insert = "insert into tasks select n, 'a' from generate_series(1, {}) as n"
    await connection.execute(insert.format(3))
    await records(connection)
    await connection.execute("truncate tasks; truncate tasks")
    gone = [("g", "task_update", {"id": n}) for n in (1, 2, 3)]
    families = [("g", "teams.a", {"id": n}) for n in (1, 2, 3)]
    assert await records(connection) == [*gone, *families]
    resets = [("r", "task_update", {"reason": "truncated"}), ("r", "teams.*", {"reason": "truncated"})]
    await connection.execute(insert.format(10_001))
    await records(connection)
    await connection.execute("truncate tasks")
    assert await records(connection) == resets
    await connection.execute(insert.format(3))
    await records(connection)
    await connection.execute("begin isolation level repeatable read; select 1; truncate tasks; commit")
    assert await records(connection) == resets


WRITES = {
    "insert into tasks values (1, 'a')": {"e": 1},
    "insert into tasks values (2, 'a'); update tasks set note = 'n'; delete from tasks": {"e": 2, "g": 1},
    "insert into tasks select n, 'a' from generate_series(1, 10001) as n": {"e": 10_001},
    "truncate tasks": {"g": 1},
    "alter table tasks drop note; insert into tasks values (2, 'a')": {"s": 1},
    "insert into members values ('ada')": {"w": 1},
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_wakeup_that_fails_fails_no_write_and_loses_no_record(
    connection: Plain, write: str, role: str
) -> None:
    """As where the table of locks is full, or the stack is too deep."""
    channels = Channels()
    tasks = channels.declare("task_update", Task, source=Table("tasks"))
    tasks.guard(depends_on=Table("members", person="person"))(lambda viewer: True)
    await connection.execute("create table members (person text)")
    await migrate(connection, channels)
    await connection.execute(
        "create or replace function flowcraft.wake() returns void language plpgsql as "
        "$$ begin raise exception 'out of shared memory' using errcode = 'out_of_memory'; end $$"
    )
    await connection.execute("insert into tasks values (0, 'a')")
    expected = WRITES[write]
    await connection.execute(f"truncate flowcraft.event; set session_replication_role = {role}")
    if "delete from" in write:
        expected = {"e": 3, "g": 2}
    await connection.execute(f"begin; set synchronous_commit = off; {write}")
    assert await connection.fetchval("select current_setting('synchronous_commit')") == "local"
    await connection.execute("commit")
    assert await count(connection) == expected


async def test_a_table_without_a_key_sends_rows_and_a_reset_for_truncate(connection: Plain) -> None:
    await connection.execute("create table plain (id int, team text, state text, note text)")
    await migrate(connection, declared("plain"))
    await connection.execute(
        "insert into plain values (1, 'a'); update plain set note = 'n'; delete from plain"
    )
    assert [one[:2] for one in await records(connection)] == [("e", "task_update")] * 2 + [
        ("e", "teams.a")
    ] * 2
    await connection.execute("truncate plain")
    assert [one[:2] for one in await records(connection)] == [("r", "task_update"), ("r", "teams.*")]


async def test_an_event_that_is_declared_for_deletes_has_the_old_row(connection: Plain) -> None:
    class Removed(Event):
        id: int
        note: str | None

    channels = Channels()
    sources = [Table("tasks", event=Task), Table("tasks", event=Removed, on=["delete"])]
    channels.declare("task_update", Task | Removed, source=sources)
    await migrate(connection, channels)
    await connection.execute("insert into tasks values (1, 'a', 'open', 'n'), (2, 'a', 'open', 'm')")
    await records(connection)
    await connection.execute("delete from tasks where id = 1; update tasks set id = 3; truncate tasks")
    first, *moved, last = await records(connection)
    assert first == ("e", "task_update", {"type": "Removed", "id": 1, "note": "n"})
    assert sorted(moved, key=str) == [
        ("e", "task_update", {"type": "Task", "id": 3, "team": "a", "state": "open", "note": "m"}),
        ("g", "task_update", {"type": "Task", "id": 2}),
    ]
    assert last == ("e", "task_update", {"type": "Removed", "id": 3, "note": "m"})


async def test_rows_of_one_key_in_two_tables_of_a_channel_are_gone_with_their_type(connection: Plain) -> None:
    class Note(Event):
        id: int
        team: str | None

    channels = Channels()
    sources = [Table("tasks", event=Task), Table("notes", event=Note)]
    channels.declare("teams.{team}", Task | Note, params={"team": str}, source=sources)
    await connection.execute("create table notes (id int primary key, team text)")
    await migrate(connection, channels)
    await connection.execute(
        "insert into tasks values (1, 'a'), (2, 'a'); insert into notes values (1, 'a'), (2, 'a')"
    )
    for role in ("origin", "replica"):
        await records(connection)
        await connection.execute(f"set session_replication_role = {role}")
        await connection.execute("update notes set team = 'b' where id = 2; delete from notes where id = 1")
        assert [one for one in await records(connection) if one[0] == "g"] == [
            ("g", "teams.a", {"type": "Note", "id": 2}), ("g", "teams.a", {"type": "Note", "id": 1}),
        ]  # fmt: skip
        await connection.execute(
            "insert into notes values (1, 'a'); update notes set team = 'a' where id = 2"
        )
    await connection.execute("reset session_replication_role; truncate notes")
    found = [one for one in await records(connection) if one[:2] == ("g", "teams.a")]
    assert sorted(found[-2:], key=str) == [
        ("g", "teams.a", {"type": "Note", "id": 1}), ("g", "teams.a", {"type": "Note", "id": 2}),
    ]  # fmt: skip


async def test_sessions_that_replicate_send_what_others_send(connection: Plain) -> None:
    await migrate(connection, declared())
    await connection.execute("set session_replication_role = replica")
    await connection.execute(
        "insert into tasks values (1, 'a'), (2, 'b'); update tasks set team = 'c' where id = 1;"
        "update tasks set note = note; delete from tasks where id = 2"
    )
    assert [one[:2] for one in await records(connection)] == [
        *[("e", "task_update")] * 3, ("g", "task_update"),
        ("e", "teams.a"), ("g", "teams.a"), ("e", "teams.b"), ("g", "teams.b"), ("e", "teams.c"),
    ]  # fmt: skip


async def test_triggers_that_were_disabled_and_enabled_send_nothing_twice(connection: Plain) -> None:
    await migrate(connection, declared())
    # As people do it around an import; it enables the triggers of rows for every session.
    await connection.execute("alter table tasks disable trigger user; alter table tasks enable trigger user")
    await connection.execute("insert into tasks values (9, null); delete from tasks")
    assert [one[0] for one in await records(connection)] == ["e", "g"]
    assert len(await migrate(connection, declared())) == 2
    assert await migrate(connection, declared()) == []
    await connection.execute("set session_replication_role = replica; insert into tasks values (1, 'a')")
    assert [one[0] for one in await records(connection)] == ["e", "e"]


async def test_partitions_and_children_that_are_written_directly_send_events(connection: Plain) -> None:
    await connection.execute(
        "create table parted (id int primary key, team text, state text, note text) partition by range (id);"
        "create table low partition of parted for values from (0) to (10);"
        "create table high partition of parted for values from (10) to (20) partition by range (id);"
        "create table higher partition of high for values from (10) to (15);"
        "create table parent (id int primary key, team text, state text, note text);"
        "create table child () inherits (parent)"
    )
    for table in ("parted", "parent"):
        await migrate(connection, declared(table), prune=False)
        assert await migrate(connection, declared(table), prune=False) == []
    await connection.execute(
        "insert into low values (1, 'a'); insert into higher values (11, 'a'); update low set note = 'n';"
        "delete from high; insert into parted values (2, 'a'); truncate low"
    )
    found = [one for one in await records(connection) if one[1] == "task_update"]
    assert [(kind, payload["id"]) for kind, _, payload in found] == [  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
        ("e", 1), ("e", 11), ("e", 1), ("g", 11), ("e", 2), ("g", 1), ("g", 2),
    ]  # fmt: skip
    await connection.execute(
        "insert into child values (1, 'a'); update parent set note = 'n'; truncate parted"
    )
    assert [one[0] for one in await records(connection)] == ["e", "e", "e", "e"]


async def test_each_tenant_source_and_application_has_its_triggers(connection: Plain) -> None:
    await connection.execute(
        "create schema a; create schema b; create table a.t (id int); create table b.t (id int)"
    )
    tenants, other, inserts = Channels(), Channels(), Channels()

    class Thing(Event):
        id: int

    tenants.declare("t_update", Thing, source=Table("t"))
    other.declare("other_update", Thing, source=Table("tasks"))
    both = [Table("tasks", on=["insert"]), Table("tasks", on=["delete"])]
    inserts.declare("both_update", Thing, source=both)
    done = list[list[str]]()
    for _ in range(2):
        for channels, schema in ((tenants, "a"), (tenants, "b"), (other, "public"), (inserts, "public")):
            await connection.execute(f"set search_path to {schema}")
            done.append(await migrate(connection, channels))
    assert done[0][-1] == "t_update: created the triggers on a.t (insert, update)"
    assert done[1:4] == [
        ["t_update: created the triggers on b.t (insert, update)"],
        ["other_update: created the triggers on public.tasks (insert, update)"],
        ["both_update: created the triggers on public.tasks (insert)",
         "both_update: created the triggers on public.tasks (delete)"],
    ]  # fmt: skip
    assert done[4:] == [[], [], [], []]
    await connection.execute("insert into a.t values (1); insert into b.t values (2)")
    await connection.execute("insert into tasks values (3, 'a'); delete from tasks")
    assert [(one[0], one[1]) for one in await records(connection)] == [
        ("e", "both_update"), ("e", "both_update"), ("e", "other_update"), ("g", "other_update"),
        ("e", "t_update"), ("e", "t_update"),
    ]  # fmt: skip


async def test_a_role_that_may_only_make_triggers_makes_what_it_can(connection: Plain) -> None:
    name = await connection.fetchval("select current_database()")
    role = f"deployer_of_{name}"
    await connection.execute(
        f"create role {role}; grant create on database {name} to {role}; grant trigger on tasks to {role};"
        f"revoke temporary on database {name} from public"
    )
    try:
        await connection.execute(f"set role {role}")
        with pytest.raises(
            asyncpg.InsufficientPrivilegeError, match=f"run `grant temporary on database {name} to"
        ):
            await migrate(connection, declared())
        await connection.execute(f"reset role; grant temporary on database {name} to {role}; set role {role}")
        assert len(await migrate(connection, declared())) > 2
        assert await migrate(connection, declared()) == []
        await connection.execute(
            "reset role; insert into tasks values (1, 'a'); delete from tasks; truncate tasks"
        )
        assert [one[0] for one in await records(connection)] == ["e", "r", "r", "e"]
        await connection.execute(f"grant select on tasks to {role}; set role {role}")
        assert len(await migrate(connection, declared())) == 2
        await connection.execute("reset role; insert into tasks values (1, 'a'); delete from tasks")
        assert [one[0] for one in await records(connection)] == ["e", "g", "e", "g"]
        # The triggers read with its rights: what hides rows from it is no reason to fail a write.
        await connection.execute(
            "alter table tasks enable row level security; insert into tasks values (1, 'a')"
        )
        assert [one[0] for one in await records(connection)] == ["s", "s"]
        await connection.execute(f"set role {role}")
        assert len(await migrate(connection, declared())) == 2
        assert await migrate(connection, declared()) == []
        await connection.execute("reset role; update tasks set note = 'n'; delete from tasks")
        assert [one[0] for one in await records(connection)] == ["e", "e"]
    finally:
        await connection.execute(f"reset role; drop owned by {role} cascade; drop role {role}")
