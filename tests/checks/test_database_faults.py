"""Each fault is planted into a database that fits the example, found, and explained."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import pytest

from examples.flowcraft.api.adapters.postgres.migrate import migrate as migrate_product
from examples.flowcraft.api.core.domain.channels import channels
from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.adapters.postgres.triggers import table_sources
from tests.checks.project import API, Project
from tests.support.postgres import connected

CHANNELS = f"{API}/core/domain/channels.py"
FLOWS = function_name(table_sources(channels)[0])
TRIGGER = f"flowcraft_{FLOWS[-8:]}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the database; then the checks that find it, where, and words they say."""

    sql: str
    checks: frozenset[str]
    at: str | None
    says: str


def fault(sql: str, checks: str, at: str | None, says: str) -> Fault:
    return Fault(sql, frozenset(checks.split()), at, says)


FAULTS = {
    "no log at all": fault(
        "drop schema flowcraft cascade",
        "FC054 FC060",
        None,
        "the database has no schema flowcraft; run `flowcraft",
    ),
    "a migration that is missing": fault(
        "delete from flowcraft.migration where version = 1", "FC054", None, "lacks the migration 0001_log"
    ),
    "a migration of a later version": fault(
        "insert into flowcraft.migration values (9999, '9999_later')",
        "FC055",
        None,
        "has the migration 9999_later",
    ),
    "a migration of another version": fault(
        "update flowcraft.migration set hash = repeat('0', 64) where version = 2",
        "FC069",
        None,
        "migrated this database: 0002_retention has the hash 000000000000, not ",
    ),
    "a log of another database system": fault(
        "update flowcraft.state set system = 1", "FC054", None, "the log was restored from a dump or upgraded"
    ),
    "a table that is gone": fault(
        "drop table steps cascade", "FC056", "step_rows = channels", "has no table steps; create it first"
    ),
    "a view in the place of a table": fault(
        "alter table flows rename to flows_kept; create view flows as select * from flows_kept",
        "FC056 FC063",
        "flow_rows = ",
        "public.flows is not a table",
    ),
    "a column that is gone": fault(
        "alter table flows drop column description cascade",
        "FC057",
        "flow_rows = ",
        "table public.flows has no column description for the field description of FlowUpdate; it has id,",
    ),
    "a text for a truth": fault(
        "drop view flow_states; alter table flows alter paused drop default, alter paused type text",
        "FC058 FC061",
        "flow_rows = ",
        "column public.flows.paused is text, which does not fit the boolean that FlowUpdate.paused takes",
    ),
    "a day for a moment": fault(
        "drop view step_states; alter table steps alter started_at type date",
        "FC058 FC061",
        "step_rows = channels",
        "column public.steps.started_at is date, which does not fit the date-time",
    ),
    "a fraction for a count": fault(
        "drop view step_states; alter table steps alter attempt type double precision",
        "FC058 FC061",
        "step_rows = channels",
        "column public.steps.attempt is double precision, which does not fit the integer",
    ),
    "a number for an id": fault(
        "drop view step_states; alter table steps drop run_id cascade, add run_id bigint not null",
        "FC058 FC061 FC072 FC075",
        "step_rows = channels",
        "column public.steps.run_id is bigint, which does not fit the uuid",
    ),
    "a null that the event does not foresee": fault(
        "alter table flows alter name drop not null",
        "FC059",
        "flow_rows = ",
        "public.flows.name may be null, but FlowUpdate.name may not; add `| None`",
    ),
    "triggers that were dropped": fault(
        f"drop function flowcraft.{FLOWS}() cascade",
        "FC060",
        "flow_rows = ",
        "the trigger on public.flows is not installed, so its rows become no events; run `flowcraft migrate",
    ),
    "a function without its triggers": fault(
        "; ".join(
            f"drop trigger {TRIGGER}_{name} on flows"
            for operation in ("insert", "update", "delete")
            for name in (operation, f"{operation}_replica")
        )
        + f"; drop trigger {TRIGGER}_truncate on flows",
        "FC060",
        "flow_rows = ",
        "is not installed",
    ),
    "one trigger of two": fault(
        f"drop trigger {TRIGGER}_insert on flows",
        "FC061",
        "flow_rows = ",
        "fires on delete, truncate, update, but is declared for delete, insert, truncate, update",
    ),
    "a trigger that somebody edited": fault(
        f"create or replace function flowcraft.{FLOWS}() returns trigger language plpgsql security definer "
        "set search_path = pg_catalog, pg_temp as 'begin return null; end'",
        "FC061",
        "flow_rows = ",
        "differs from the declaration Table(public.flows)",
    ),
    "a trigger that is disabled": fault(
        "alter table flows disable trigger user",
        "FC062",
        "flow_rows = ",
        "is disabled, so its rows become no events; run `alter table public.flows enable trigger",
    ),
    "a partition without the triggers": fault(
        "create table flows_more () inherits (flows)",
        "FC061 FC070 FC072",
        "flow_rows = ",
        "public.flows_more, a part of public.flows, has no triggers: if it is written to directly, its rows",
    ),
    "a table that is a part of another": fault(
        "create table flows_all (like flows); alter table flows inherit flows_all",
        "FC071",
        "flow_rows = ",
        "public.flows is a part of public.flows_all: if it is written to through public.flows_all, its rows",
    ),
    "a table without a key": fault(
        "alter table flows drop constraint flows_pkey cascade",
        "FC061 FC072",
        "flow_rows = ",
        "the key (id) is no key of public.flows: there is no primary key and no unique index",
    ),
    "a trigger of a source that is gone": fault(
        "create function flowcraft.old_123() returns trigger language plpgsql "
        "set search_path = pg_catalog, pg_temp as 'begin return null; end'; "
        "comment on function flowcraft.old_123() is 'flowcraft:1'; "
        "create trigger old after insert on flows for each statement execute function flowcraft.old_123()",
        "FC063",
        None,
        "flowcraft.old_123: the triggers on public.flows of a source that is not declared",
    ),
    "a function that searches where its caller says": fault(
        "alter function flowcraft.broadcast(text, json) reset search_path",
        "FC064",
        None,
        "run `alter function flowcraft.broadcast(text,json) set search_path = pg_catalog, pg_temp`",
    ),
    "a function that searches for tables among temporary ones first": fault(
        "alter function flowcraft.wake() set search_path = pg_catalog",
        "FC064",
        None,
        "run `alter function flowcraft.wake() set search_path = pg_catalog, pg_temp`",
    ),
    "a name that two schemas have": fault(
        "create schema app; create table app.flows (like public.flows); "
        "do $$ begin execute format('alter database %I set search_path = public, app', current_database()); "
        "end $$",
        "FC056",
        "flow_rows = ",
        'public.flows and app.flows on the search_path have the name flows; write Table("public.flows") or',
    ),
    "a trigger on the log": fault(
        "create function spy() returns trigger language plpgsql as 'begin return null; end'; "
        "create trigger spy after insert on flowcraft.event for each statement execute function spy()",
        "FC068",
        None,
        "trigger spy on flowcraft.event, which calls public.spy() is of role postgres, whose code could run "
        "with the rights of the role that migrates; run `drop trigger spy on flowcraft.event`",
    ),
    "a schema in which all may create": fault(
        "grant create on schema flowcraft to public",
        "FC068",
        None,
        "the right to create in schema flowcraft is of role public, whose code could run with the rights of "
        "the role that migrates; run `revoke create on schema flowcraft from public cascade`",
    ),
}


@pytest.fixture
def product(database: str) -> str:
    """A database that has all that the example declares."""

    async def prepare() -> None:
        await migrate_product(database)
        await migrate(database, channels)

    asyncio.run(prepare())
    return database


def execute(dsn: str, sql: str) -> None:
    async def run() -> None:
        async with connected(dsn) as connection:
            await connection.execute(sql)

    asyncio.run(run())


def test_nothing_is_found_in_the_database_of_the_example(service: Project, product: str) -> None:
    assert service.findings("--dsn", product) == []


def test_a_check_leaves_nothing_behind(service: Project, product: str) -> None:
    async def catalog() -> list[tuple[object, ...]]:
        async with connected(product) as connection:
            rows = await connection.fetch("select oid, xmin::text, proname from pg_proc order by 1")
            return [tuple(row) for row in rows]

    before = asyncio.run(catalog())
    service.findings("--dsn", product)
    assert asyncio.run(catalog()) == before


@pytest.mark.parametrize("planted", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_database_is_found_and_explained(
    service: Project, product: str, planted: Fault
) -> None:
    execute(product, planted.sql)
    found = service.findings("--dsn", product)
    assert {one["id"] for one in found} == planted.checks, found
    first = next(one for one in found if planted.says in one["message"])
    line = None if planted.at is None else service.line_of(CHANNELS, planted.at)
    assert (first["file"], first["line"]) == (None if planted.at is None else CHANNELS, line)


def test_a_source_that_was_declared_otherwise_since_the_migration_is_told(
    service: Project, product: str
) -> None:
    service.edit(
        CHANNELS,
        'source=Table("runs", run_id="id")',
        'source=Table("runs", run_id="id", on=("insert", "delete"))',
    )
    (found,) = service.findings("--dsn", product)
    assert (found["id"], found["line"]) == ("FC061", service.line_of(CHANNELS, "run_update = "))
    assert (
        "fires on delete, insert, truncate, update, but is declared for delete, insert, truncate"
        in found["message"]
    )


NO_TEMPORARY = "execute format('revoke temporary on database %I from public', current_database())"


@pytest.mark.parametrize(
    "usage",
    ["", "grant usage on schema flowcraft to {name}", f"do $$ begin {NO_TEMPORARY}; end $$"],
    ids=["at all", "but usage", "nor temporary functions"],
)
def test_a_role_without_grants_is_told_which_it_lacks(service: Project, product: str, usage: str) -> None:
    name = f"stranger_{os.getpid()}"
    become = f"execute format('alter database %I set role = {name}', current_database())"
    execute(product, f"create role {name}; {usage.format(name=name)}")
    try:
        execute(product, f"do $$ begin {become}; end $$")
        listed = service.findings("--dsn", product)
        found = {
            id_: "\n".join(one["message"] for one in listed if one["id"] == id_)
            for id_ in {one["id"] for one in listed}
        }
    finally:
        execute(product, f"set role none; drop owned by {name}; drop role {name}")
    assert sorted(found) == ["FC065", "FC066", "FC067"]
    assert f"role {name} may not broadcast" in found["FC065"]
    assert f"flowcraft.broadcast, flowcraft.broadcast_ephemeral, flowcraft.cursor to {name}" in found["FC065"]
    assert (
        "flowcraft.reached, flowcraft.changes, flowcraft.measured, flowcraft.proofs, flowcraft.renew, "
        "flowcraft.wake, flowcraft.rotate, flowcraft.purges, flowcraft.ephemeral_key, "
        f"flowcraft.rows to {name}" in found["FC066"]
    )
    present = "flowcraft.beat, flowcraft.attend, flowcraft.forget, flowcraft.members"
    assert f"role {name} may not write who is present" in found["FC066"]
    assert f"{present} to {name}" in found["FC066"]


def test_a_database_that_does_not_answer_is_told(service: Project) -> None:
    (found,) = service.findings("--dsn", "postgresql://127.0.0.1:1/nothing")
    assert (found["id"], found["file"]) == ("FC050", None)
    assert found["message"].startswith("the database cannot be reached: ")
