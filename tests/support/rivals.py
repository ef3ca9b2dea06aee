"""Rivals: a database with a role that deploys, and one that wants its code run with the rights of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channels
from flowcraft.declarations import Table
from flowcraft.events import Event
from tests.support.postgres import connected

if TYPE_CHECKING:
    from tests.support.postgres import Plain


class RunUpdate(Event):
    """A run has changed."""

    id: int
    status: str


def declared(table: str = "public.runs") -> Channels:
    """Return channels with one table as their source."""
    channels = Channels()
    channels.declare("run_update", RunUpdate, source=Table(table))
    return channels


@dataclass(frozen=True, slots=True)
class Place:
    """A database with a table of the application, and two roles that may create in it; one attacks."""

    admin: Plain
    dsn: str
    deployer: str
    mallory: str

    async def ran_as(self) -> set[str]:
        """Return the roles that have run the attacker's code, also if that was rolled back."""
        ran = await self.admin.fetch(
            "select who from public.ran union "
            "select pg_get_userbyid(pg_sequence_last_value('public.escaped')::oid) "
        )
        return {row["who"] for row in ran} - {self.mallory, None}

    async def forget(self) -> None:
        """Forget who has run the attacker's code."""
        await self.admin.execute("truncate public.ran; alter sequence public.escaped restart")

    async def attack(self, sql: str) -> None:
        """Execute something as the attacker."""
        async with connected(self.dsn.replace("//postgres@", f"//{self.mallory}@")) as connection:
            await connection.execute(sql)

    async def plant(self, sql: str) -> None:
        """Do each line as the deployer, and what changes an owner as a superuser."""
        for line in sql.splitlines():
            if " owner to " not in line:
                await self.admin.execute(f"set role {self.deployer}; {line}; reset role")
            else:
                await self.admin.execute(line)

    async def deploy(self, channels: Channels, role: str | None = None) -> list[str]:
        """Migrate, as the deployer or another role."""
        return await migrate(self.dsn.replace("//postgres@", f"//{role or self.deployer}@"), channels)

    async def schema(self) -> list[tuple[object, ...]]:
        """Everything in the schema flowcraft, with what would change if it were touched."""
        query = """
            select p.oid::regprocedure::text, p.xmin::text from pg_proc as p
            where p.pronamespace = to_regnamespace('flowcraft')
            union all
            select c.oid::regclass::text, c.xmin::text from pg_class as c
            where c.relnamespace = to_regnamespace('flowcraft')
            order by 1
        """
        return [tuple(row) for row in await self.admin.fetch(query)]


CREATED = "run_update: created the triggers on public.runs (insert, update)"
EVIL = """
create function public.note() returns void language plpgsql as $$
begin
    insert into public.ran values (current_user);
    -- A roll-back does not take this back.
    if current_user not like 'mallory%' then
        perform setval('public.escaped', current_user::regrole::oid::bigint);
    end if;
end $$;
create function public.evil() returns trigger language plpgsql as $$
begin
    perform public.note();
    return case when tg_op = 'DELETE' then old else new end;
end $$;
create function public.evil_value(anyelement) returns int language plpgsql as $$
begin perform public.note(); return 0; end $$;
alter function public.evil_value(anyelement) immutable;
create domain public.evil_domain as int check (public.evil_value(value) = 0);
"""


@asynccontextmanager
async def rivals(database: str) -> AsyncIterator[Place]:
    """Lend a database with both roles; nothing of them stays."""
    async with connected(database) as admin:
        name = await admin.fetchval("select current_database()")
        roles = deployer, mallory, _ = [f"{role}_of_{name}" for role in ("deployer", "mallory", "owners")]
        for role in roles:
            await admin.execute(f"create role {role} login; grant create on database {name} to {role}")
        await admin.execute(
            f"create table runs (id int, status text); alter table runs owner to {deployer};"
            "create table ran (who text); create sequence escaped;"
            "grant all on ran, escaped to public; grant create on schema public to public"
        )
        try:
            found = Place(admin, database, deployer, mallory)
            await found.attack(EVIL)
            yield found
        finally:
            await admin.execute("drop schema if exists flowcraft cascade")
            for role in roles:
                await admin.execute(f"drop owned by {role} cascade")
            await admin.execute(f"drop role {', '.join(roles)}")
