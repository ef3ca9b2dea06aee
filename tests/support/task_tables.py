"""Tables of tasks in every form, other triggers on them, and random writes."""

from __future__ import annotations

import random

from flowcraft.events import Event


class Task(Event):
    id: int
    part: int
    team: int | None
    title: str | None


COLUMNS = "part int default 0, team int, title text, noise int"
TABLES = {
    "a plain table": f"create table tasks (id int primary key, {COLUMNS})",
    "a key of two columns": f"create table tasks (id int, {COLUMNS}, primary key (part, id))",
    "a unique index": f"""
        create table tasks (id int not null, {COLUMNS}); create unique index on tasks (id) include (title)""",
    "partitions": f"""
        create table tasks (id int, {COLUMNS}, primary key (id, part)) partition by list (part);
        create table tasks_0 partition of tasks for values in (0);
        create table tasks_1 (noise int, title text, part int not null, id int not null, team int);
        alter table tasks attach partition tasks_1 for values in (1)""",
    "a generated column": """
        create table tasks (id int primary key, part int default 0, team int, noise int,
            title text generated always as (case when noise > 3 then 'many' end) stored)""",
}
FUNCTION = "create function nested() returns trigger language plpgsql as $$ begin %s return %s; end $$;"
TRIGGER = "create trigger %s on tasks for each %s execute function nested()"
ONE = FUNCTION % ("update tasks set team = 2 where id = new.id and team = 1;", "null")
ALL = FUNCTION % ("update tasks set team = 2 where team = 1;", "null")
STATEMENT = "statement when (pg_trigger_depth() < 2)"
NESTED = {
    "no other trigger": "",
    "a row trigger that updates": ONE + TRIGGER % ("a after insert or update", "row"),
    "a statement trigger that updates": ALL + TRIGGER % ("z after insert or update", STATEMENT),
    "a statement trigger before ours": ALL + TRIGGER % ("a after insert or update", STATEMENT),
    "a deferred trigger": ONE
    + "create constraint trigger d after insert or update on tasks deferrable initially deferred "
    "for each row execute function nested()",
    "a trigger before": FUNCTION % ("if new.team = 1 then new.team := 2; end if;", "new")
    + TRIGGER % ("b before insert or update", "row"),
    "a trigger that deletes": FUNCTION % ("delete from tasks where id = new.id and team = 1;", "null")
    + TRIGGER % ("a after insert or update", "row"),
    "a trigger that inserts again": FUNCTION
    % ("insert into tasks (id, part, team) values (old.id, old.part, 3) on conflict do nothing;", "null")
    + TRIGGER % ("a after delete", "row when (old.team = 4)"),
}
MERGE = """merge into tasks using (values ({n}), ({m} + 30)) as v(k) on tasks.id = v.k
when matched and team = 3 then delete when matched then update set team = {team}
when not matched then insert (id, part, team) values (k, 0, {team})"""
STATEMENTS = [
    *["insert into tasks (id, part, team) values ({n}, {part}, {team}), ({m}, 0, 1) on conflict do nothing"]
    * 3,
    *["update tasks set team = {team} where id in ({n}, {m})"] * 2,
    *["update tasks set {title} where id < {m}", "update tasks set noise = noise + 1 where id < {n}"],
    "insert into tasks (id, team) values ({n}, {team}), ({n} + 7, 1) {conflict}",
    *["delete from tasks where id = {n}", "update tasks set id = id + 20 where id = {n}"],
    *["update tasks set id = 100 - id where id > {m}", "delete from tasks where id > 15", "truncate tasks"],
    "with x as (delete from tasks where id = {n} returning *) update tasks set team = {team} where id = {m}",
    "begin; update tasks set team = {team}; savepoint s; update tasks set {title}; rollback to s; commit",
    "begin; update tasks set team = {team} where id in ({n}, {m}); rollback",
    "begin; delete from tasks where id = {n}; insert into tasks (id, team) values ({n}, {team}); commit",
    *["update tasks set team = team", MERGE],
]


def statement(chance: random.Random, table: str) -> str:
    """Return a random write: of a few rows, of all, of none, by another way, or in a savepoint."""
    plain = "primary key, part" in table
    return chance.choice(STATEMENTS).format(
        n=chance.randint(1, 6),
        m=chance.randint(1, 9),
        part=chance.choice([0, 0, 1]),
        team=chance.choice(["null", "1", "2", "3", "4"]),
        title="noise = 5" if "generated" in table else f"title = 't{chance.randint(1, 9)}'",
        conflict="on conflict (id) do update set team = excluded.team" if plain else "on conflict do nothing",
    )
