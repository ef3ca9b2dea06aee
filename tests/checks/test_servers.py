"""Servers that cannot carry the log, or not promptly: each is told what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowcraft import Channels
from flowcraft.adapters.postgres.inspection import DatabaseFacts, inspect
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import findings
from flowcraft.checking.rules import DATABASE
from tests.postgres.test_failover import standby_of_a_log
from tests.support.pooler import swallowing_notifications


def told(facts: DatabaseFacts) -> list[tuple[str, str]]:
    found = findings(Facts("app:channels", Channels(), database=facts), DATABASE)
    return [(one.rule.id, one.sentence) for one in found]


async def test_nothing_is_said_of_a_primary_that_rings(database: str) -> None:
    await migrate(database, Channels())
    facts = await inspect(database, Channels())
    assert (facts.notifies, told(facts)) == (True, [])


async def test_a_pooler_that_swallows_notifications_is_told(database: str, tmp_path: Path) -> None:
    await migrate(database, Channels())
    async with swallowing_notifications(database, tmp_path) as pooled:
        ((check, sentence),) = told(await inspect(pooled, Channels()))
    assert check == "FC053"
    assert "does not arrive (a pooler in transaction mode?)" in sentence
    assert "configure a direct connection" in sentence


async def test_a_standby_is_told_and_no_more() -> None:
    async with standby_of_a_log() as (dsn, _):
        ((check, sentence),) = told(await inspect(dsn, Channels()))
    assert (check, sentence.partition(",")[0]) == ("FC052", "this server is a standby")


@pytest.mark.parametrize("version", [(13, 22), (9, 6)])
def test_an_old_server_is_told_and_no_more(version: tuple[int, int]) -> None:
    ((check, sentence),) = told(DatabaseFacts(version=version))
    assert check == "FC051"
    assert sentence.startswith(f"PostgreSQL {version[0]}.{version[1]} is too old")
    assert sentence.endswith("upgrade to 14 or later")


async def test_an_address_that_is_none_is_told() -> None:
    ((check, _),) = told(await inspect("nonsense://", Channels()))
    assert check == "FC050"
