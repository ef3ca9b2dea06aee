"""A schema flowcraft in which another role can have left code is refused, with the SQL against it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from flowcraft.adapters.postgres.schema import migration_sql
from flowcraft.channels import Channels
from flowcraft.errors import SchemaNotOwned
from tests.support.rivals import CREATED, Place, declared, rivals


@pytest.fixture
async def place(database: str) -> AsyncIterator[Place]:
    async with rivals(database) as place:
        yield place


SCHEMAS = {
    "an empty schema": "create schema flowcraft",
    "a log with a trigger": """
        create schema flowcraft;
        create table flowcraft.migration (version int primary key, name text, applied_at timestamptz);
        create trigger spy before insert on flowcraft.migration for each row execute function public.evil();
        grant all on schema flowcraft to public; grant all on flowcraft.migration to public
    """,
    "a view in the place of a table": """
        create schema flowcraft;
        create view flowcraft.migration as
            select 1 + public.evil_value(1) as version, ''::text as name, now() as applied_at;
        grant all on schema flowcraft to public; grant all on flowcraft.migration to public
    """,
    "a rule on a table": """
        create schema flowcraft;
        create table flowcraft.migration (version int, name text, applied_at timestamptz);
        create rule spy as on insert to flowcraft.migration
            do also insert into public.ran select current_user where public.evil_value(1) = 0;
        grant all on schema flowcraft to public; grant all on flowcraft.migration to public
    """,
    "a default that calls a function": """
        create schema flowcraft;
        create table flowcraft.migration
            (version int, name text, applied_at int default public.evil_value(1));
        grant all on schema flowcraft to public; grant all on flowcraft.migration to public
    """,
    "a check that calls a function": """
        create schema flowcraft;
        create table flowcraft.migration
            (version int, name text check (public.evil_value(name) = 0), applied_at timestamptz);
        grant all on schema flowcraft to public; grant all on flowcraft.migration to public
    """,
}


@pytest.mark.parametrize("sql", SCHEMAS.values(), ids=SCHEMAS)
async def test_a_schema_that_another_role_made_first_is_refused_and_left_alone(
    place: Place, sql: str
) -> None:
    await place.attack(sql)
    before = await place.schema()
    for role in ("postgres", place.deployer):
        with pytest.raises(SchemaNotOwned) as caught:
            await place.deploy(declared(), role)
        assert (
            f"\n  schema flowcraft, of role {place.mallory}: alter schema flowcraft owner to {role};"
            in str(caught.value)
        )
        assert await place.ran_as() == set()
    assert await place.schema() == before


@pytest.mark.parametrize("sql", SCHEMAS.values(), ids=SCHEMAS)
async def test_the_script_for_psql_refuses_it_too(place: Place, sql: str) -> None:
    await place.attack(sql)
    before = await place.schema()
    with pytest.raises(Exception, match="does not migrate a schema flowcraft in which other roles"):
        await place.admin.execute(migration_sql(declared()))
    await place.admin.execute("rollback")
    assert (await place.ran_as(), await place.schema()) == (set(), before)


# What is planted, each line as the deployer, changes of an owner as a superuser; then what the refusal names,
# and what it offers. {m} is the attacker, {d} the deployer.
PLANTED: Mapping[str, tuple[str, str, str]] = {
    "a trigger": (
        "create trigger spy after insert on flowcraft.event for each row execute function public.evil()",
        "trigger spy on flowcraft.event, which calls public.evil(), of role {m}",
        "drop trigger spy on flowcraft.event",
    ),
    "a trigger on a partition": (
        "create trigger spy after insert on flowcraft.event_2 for each row execute function public.evil()",
        "trigger spy on flowcraft.event_2, which calls public.evil(), of role {m}",
        "drop trigger spy on flowcraft.event_2",
    ),
    "a trigger on what retention remembers": (
        "create trigger spy after update on flowcraft.slot for each row execute function public.evil()",
        "trigger spy on flowcraft.slot, which calls public.evil(), of role {m}",
        "drop trigger spy on flowcraft.slot",
    ),
    "a rule": (
        "create rule spy as on insert to flowcraft.slot do also select public.evil_value(1)",
        "rule spy on flowcraft.slot, of role {d}",
        "drop rule spy on flowcraft.slot",
    ),
    "a policy": (
        "create policy spy on flowcraft.event using (public.evil_value(id) = 0)",
        "policy spy on flowcraft.event, of role {d}",
        "drop policy spy on flowcraft.event",
    ),
    "a default": (
        "alter table flowcraft.event add extra int default public.evil_value(1)",
        (
            "default value for column extra of table flowcraft.event, which needs function "
            "public.evil_value(anyelement), of role {m}"
        ),
        "alter table flowcraft.event alter column extra drop default",
    ),
    "a generated column": (
        "alter table flowcraft.slot add extra int generated always as (public.evil_value(1)) stored",
        (
            "default value for column extra of table flowcraft.slot, which needs function "
            "public.evil_value(anyelement), of role {m}"
        ),
        "alter table flowcraft.slot alter column extra drop expression",
    ),
    "a check": (
        "alter table flowcraft.event add constraint spy check (public.evil_value(channel) = 0)",
        (
            "constraint spy on table flowcraft.event, which needs function "
            "public.evil_value(anyelement), of role {m}"
        ),
        "alter table flowcraft.event drop constraint spy",
    ),
    "an index": (
        "create index spy on flowcraft.slot (public.evil_value(slot))",
        "index flowcraft.spy, which needs function public.evil_value(anyelement), of role {m}",
        "drop index flowcraft.spy",
    ),
    "a column of a type": (
        "alter table flowcraft.event add extra public.evil_domain",
        "column extra of table flowcraft.event, which needs type public.evil_domain, of role {m}",
        "alter table flowcraft.event drop column extra",
    ),
    "a function that stands in for ours": (
        "alter function flowcraft.check_channel(text) owner to {m}",
        "function flowcraft.check_channel(pg_catalog.text), of role {m}",
        "drop schema flowcraft cascade",
    ),
    "a function with a name of ours and other arguments": (
        "create function flowcraft.check_channel(varchar) returns void language sql as ''",
        "function flowcraft.check_channel(character varying), of role {d}",
        "drop function flowcraft.check_channel(character varying)",
    ),
    "a function with a name of its own": (
        (
            "create function flowcraft.extra() returns int language sql as 'select 1'\n"
            "alter function flowcraft.extra() owner to {m}"
        ),
        "function flowcraft.extra(), of role {m}",
        "drop function flowcraft.extra() cascade",
    ),
    "an operator": (
        (
            "create operator flowcraft.=== (leftarg = text, rightarg = text, function = texteq)\n"
            "alter operator flowcraft.=== (text, text) owner to {m}"
        ),
        "operator flowcraft.===(pg_catalog.text,pg_catalog.text), of role {m}",
        "drop operator flowcraft.===(pg_catalog.text,pg_catalog.text) cascade",
    ),
    "a type": (
        "create type flowcraft.mood as enum ('sad')\nalter type flowcraft.mood owner to {m}",
        "type flowcraft.mood, of role {m}",
        "drop type flowcraft.mood cascade",
    ),
    "a composite type": (
        "create type flowcraft.pair as (a int)\nalter type flowcraft.pair owner to {m}",
        "type flowcraft.pair, of role {m}",
        "drop type flowcraft.pair cascade",
    ),
    "a view": (
        "create view flowcraft.news as select 1\nalter view flowcraft.news owner to {m}",
        "view flowcraft.news, of role {m}",
        "drop view flowcraft.news cascade",
    ),
    "a table": (
        "alter table flowcraft.slot owner to {m}",
        "table flowcraft.slot, of role {m}",
        "alter table flowcraft.slot owner to {d}",
    ),
    "a sequence": (
        "alter sequence flowcraft.event_slot owner to {m}",
        "sequence flowcraft.event_slot, of role {m}",
        "alter sequence flowcraft.event_slot owner to {d}",
    ),
    "a partition elsewhere": (
        (
            "create table public.spy partition of flowcraft.event for values in (9)\n"
            "alter table public.spy owner to {m}"
        ),
        "table public.spy, which inherits from flowcraft.event, of role {m}",
        "alter table flowcraft.event detach partition public.spy",
    ),
    "a key that refers to ours": (
        (
            "create table public.spy (slot smallint constraint spy_key references flowcraft.slot)\n"
            "alter table public.spy owner to {m}"
        ),
        "constraint spy_key on public.spy, of role {m}",
        "alter table public.spy drop constraint spy_key",
    ),
    "the right to create": (
        "grant create on schema flowcraft to {m}",
        "the right to create in schema flowcraft, of role {m}",
        "revoke create on schema flowcraft from {m} cascade",
    ),
    "the right of all to create": (
        "grant create on schema flowcraft to public",
        "the right to create in schema flowcraft, of role public",
        "revoke create on schema flowcraft from public cascade",
    ),
}


@pytest.mark.parametrize(("sql", "found", "remedy"), PLANTED.values(), ids=PLANTED)
async def test_what_another_role_has_in_the_log_is_refused_with_what_removes_it(
    place: Place, sql: str, found: str, remedy: str
) -> None:
    names = {"m": place.mallory, "d": place.deployer}
    found, remedy = found.format(**names), remedy.format(**names)
    await place.deploy(Channels())
    await place.plant(sql.format(**names))
    await place.forget()
    before = await place.schema()
    with pytest.raises(SchemaNotOwned) as caught:
        await place.deploy(declared())
    assert str(caught.value) == (
        f"role {place.deployer} does not migrate a schema flowcraft in which other roles may have left code; "
        "nothing was changed. An administrator runs this, or drops the schema if its events may go:"
        f"\n  {found}: {remedy};"
    )
    assert (await place.ran_as(), await place.schema()) == (set(), before)
    await place.admin.execute(remedy)
    assert (await place.deploy(declared()))[-1] == CREATED
