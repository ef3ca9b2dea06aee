"""Task writers: statements of every kind on the table behind rows, and the history that judges pages.

A trigger of rows writes into the history what the table has under each key that a statement has touched.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from flowcraft.cursors import Cursor

if TYPE_CHECKING:
    Plain = asyncpg.Connection[asyncpg.Record]

TEAMS = 4
KEYS = 40
TASK_TABLES = f"""
create table teams (id int primary key);
insert into teams select n from generate_series(1, {TEAMS + 2}) as n;
create table tasks (
    id int primary key, team int references teams on delete cascade, title text not null default '',
    hidden bool not null default false, noise int not null default 0,
    pad text not null default repeat('x', 2000));
create index on tasks (team);
create table task_history (
    place bigserial primary key, xid xid8 not null default pg_current_xact_id(), id int, now jsonb);
create function note_task() returns trigger language plpgsql as $$
declare
    key int;
begin
    if tg_op = 'TRUNCATE' then
        insert into task_history (id) values (null);
        return null;
    end if;
    for key in select distinct k from unnest(array[
        case when tg_op <> 'INSERT' then old.id end, case when tg_op <> 'DELETE' then new.id end]) as k
        where k is not null
    loop
        insert into task_history (id, now)
            select key, (select to_jsonb(t) - 'pad' from tasks as t where t.id = key);
    end loop;
    return null;
end $$;
create trigger zz_note after insert or update or delete on tasks for each row execute function note_task();
create trigger zz_note_truncate after truncate on tasks for each statement execute function note_task();
-- Writes the same row again, or takes it away, in the middle of a statement.
create function nested() returns trigger language plpgsql as $$
begin
    if new.noise % 7 = 3 then
        update tasks set team = 1 + (coalesce(team, 0) + 1) % {TEAMS}, noise = noise + 1
        where id = new.id;
    elsif new.noise % 11 = 5 then
        delete from tasks where id = new.id;
    end if;
    return null;
end $$;
create trigger aa_nested after insert or update on tasks for each row when (pg_trigger_depth() < 3)
    execute function nested();
"""
STATEMENTS = tuple(
    """
insert into tasks (id, team, title) values ({n}, {team}, '{word}'), ({m}, {team}, '') on conflict do nothing
insert into tasks (id, team) values ({n}, {team}) on conflict (id) do update set team = {team}, noise = {word}
insert into tasks (id, team) select k, {team} from generate_series({n}, {n} + 5) as k on conflict do nothing
update tasks set team = {team} where id in ({n}, {m})
update tasks set hidden = not hidden where id in ({n}, {m})
update tasks set title = '{word}' where id = {n}
update tasks set noise = {word} where id between {n} and {n} + 3
update tasks set noise = noise where id < {n}
update tasks set id = id + 100, team = {team} where id = {n}
update tasks set id = id - 100 where id > 100 and not exists (select from tasks as o where o.id = {n})
delete from tasks where id in ({n}, {m})
with x as (delete from tasks where id = {n} returning *) update tasks set title = '{word}' where id = {m}
begin; update tasks set team = {team}; savepoint s; delete from tasks where id = {m}; rollback to s; commit
begin; update tasks set team = {team} where id = {n}; delete from tasks where id = {m}; rollback
begin; delete from tasks where id = {n}; insert into tasks (id, team) values ({n}, {team}); commit
""".strip().splitlines()
)
RARE = (
    f"delete from teams where id = {TEAMS + 1}; insert into teams values ({TEAMS + 1})",
    "truncate tasks",
    "begin isolation level repeatable read; truncate tasks; insert into tasks (id) values ({n}); commit",
    "alter table tasks add column extra{word} int; alter table tasks drop column extra{word}",
    "update tasks set team = {team}",
)
MERGE = (
    "merge into tasks using (values ({n}), ({m})) as v(k) on tasks.id = v.k "
    "when matched and team = 3 then delete when matched then update set team = {team} "
    "when not matched then insert (id, team) values (k, {team})"
)
HISTORY = "select place, xid::text::bigint as xid, id, now::text from task_history order by place"
_EXPECTED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
    asyncpg.SerializationError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.DuplicateColumnError,
    asyncpg.CardinalityViolationError,
)


class TaskWriters:
    """Writers at random, each with a connection of its own."""

    def __init__(self, dsn: str, *, count: int, seed: int) -> None:
        self._dsn = dsn
        self._count = count
        self._seed = seed
        self.done: Counter[str] = Counter()
        """Statements by their first words, and by the class of their error."""

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write for as long as the block runs."""
        tasks = [asyncio.create_task(self._write(number)) for number in range(self._count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        for one in found:
            if isinstance(one, Exception) and not isinstance(one, asyncio.CancelledError):
                raise one

    async def _write(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        connection: Plain = await asyncpg.connect(self._dsn, server_settings={"lock_timeout": "2s"})
        try:
            merges = connection.get_server_version().major >= 15
            while True:
                statement = chance.choice(
                    RARE if chance.random() < 0.01 else (*STATEMENTS, *[MERGE] * merges)
                )
                await self._execute(
                    connection,
                    statement.format(
                        n=chance.randint(1, KEYS),
                        m=chance.randint(1, KEYS),
                        team=chance.choice(["null", *range(1, TEAMS + 2)]),
                        word=chance.randint(1, 10_000),
                    ),
                )
                await asyncio.sleep(chance.uniform(0, 0.02))
        finally:
            connection.terminate()

    async def _execute(self, connection: Plain, statement: str) -> None:
        try:
            await connection.execute(statement)
            self.done[" ".join(statement.split()[:2])] += 1
        except _EXPECTED as error:
            self.done[type(error).__name__] += 1
            with suppress(asyncpg.PostgresError):
                await connection.execute("rollback")


@dataclass(frozen=True, slots=True)
class Observed:
    """What a page showed at a cursor."""

    page: str
    channel: str
    cursor: str
    rows: str


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history: what the table had under a key; without a key, a TRUNCATE."""

    place: int
    xid: int
    id: int | None
    now: dict[str, object] | None


async def history(connection: Plain) -> list[Change]:
    """Return the whole history."""
    rows = await connection.fetch(HISTORY)
    return [
        Change(r["place"], r["xid"], r["id"], None if r["now"] is None else json.loads(r["now"]))
        for r in rows
    ]


def shown(rows: Iterable[dict[str, object]]) -> str:
    """Return rows as one text that is equal for equal rows."""
    kept = [{name: row[name] for name in ("id", "team", "title")} for row in rows]
    return json.dumps(sorted(kept, key=lambda row: str(row["id"])), sort_keys=True)


def differences(changes: list[Change], observed: Iterable[Observed]) -> list[str]:
    """Return a sentence for each observation that differs from the table at its cursor.

    The cursors of one primary are nested, so the history is applied to one table, from the oldest on.
    """
    by_cursor: dict[str, list[Observed]] = {}
    for one in observed:
        by_cursor.setdefault(one.cursor, []).append(one)
    cursors = sorted(
        map(Cursor.parse, by_cursor), key=lambda c: (c.snapshot.xmax, -sum(1 for _ in c.snapshot.xip))
    )
    table: dict[int, Change] = {}
    cleared, wrong = 0, list[str]()
    by_xid = sorted(changes, key=lambda change: change.xid)
    reached, waiting = 0, list[Change]()
    for cursor in cursors:
        begun = reached
        while reached < len(by_xid) and by_xid[reached].xid < cursor.snapshot.xmax:
            reached += 1
        waiting += by_xid[begun:reached]
        seen = [change for change in waiting if cursor.covers(change.xid)]
        waiting = [change for change in waiting if not cursor.covers(change.xid)]
        for change in seen:
            if change.id is None:
                cleared = max(cleared, change.place)
            elif change.id not in table or table[change.id].place < change.place:
                table[change.id] = change
        rows = [
            c.now for c in table.values() if c.place > cleared and c.now is not None and not c.now["hidden"]
        ]
        for one in by_cursor[str(cursor)]:
            team = one.channel.partition(".")[2]
            expected = shown([row for row in rows if not team or str(row["team"]) == team])
            if one.rows != expected:
                wrong.append(f"{one.page} at {one.cursor} on {one.channel}: {one.rows}, not {expected}")
    return wrong
