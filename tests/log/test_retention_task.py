"""The task that keeps a server's log to its window, with no more rights than it is granted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.retention import PostgresRetention
from flowcraft.adapters.postgres.statements import statement
from flowcraft.channels import Channels
from flowcraft.entrypoints.realtime import Realtime
from flowcraft.errors import LogUnavailable
from flowcraft.settings import Settings
from tests.support.postgres import AppendablePostgresLog, connected, migrated


@pytest.fixture
async def log(database: str) -> AsyncIterator[AppendablePostgresLog]:
    async with migrated(database) as log:
        yield log


async def test_the_task_looks_at_once_and_tells_that_it_has(
    database: str, log: AppendablePostgresLog
) -> None:
    ticks = asyncio.Queue[None]()
    retention = PostgresRetention(database, keep_seconds=0.1, ticked=lambda: ticks.put_nowait(None))
    task = asyncio.create_task(retention.run())
    try:
        async with connected(database) as connection, asyncio.timeout(10):
            await ticks.get()
            while await connection.fetchval("select last_value from flowcraft.event_slot") == 0:
                await ticks.get()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await retention.close()


async def test_a_log_that_is_not_there_yet_cannot_be_rotated(database: str) -> None:
    retention = PostgresRetention(database, keep_seconds=1, ticked=lambda: None)
    with pytest.raises(LogUnavailable, match="run `flowcraft migrate`"):
        await retention.tick()
    await retention.close()


class Reports(logging.Handler):
    """Waits for what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = asyncio.Queue[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.put_nowait(record.getMessage())

    async def until(self, beginning: str) -> None:
        async with asyncio.timeout(10):
            while not (await self.messages.get()).startswith(beginning):
                pass


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Iterator[Reports]:
    caplog.set_level(logging.INFO, "flowcraft")
    reports = Reports()
    logging.getLogger("flowcraft").addHandler(reports)
    yield reports
    logging.getLogger("flowcraft").removeHandler(reports)


async def test_a_server_sees_to_it_and_serves_on_while_it_cannot(
    database: str, log: AppendablePostgresLog, reports: Reports
) -> None:
    settings = Settings(retention_seconds=0.1)
    async with (
        connected(database) as owner,
        Realtime(Channels(), dsn=database, settings=settings) as realtime,
    ):
        await owner.execute("alter function flowcraft.rotate rename to away")
        node = await realtime.start()
        await node.until_accepting()
        await reports.until("retention stopped (LogUnavailable: the database has no schema flowcraft")
        health = node.report()
        assert (health.ready, [*health.errors]) == (True, ["retention"])
        await owner.execute("alter function flowcraft.away rename to rotate")
        await reports.until("retention: opened event_1")
        assert node.report().errors == {}


@pytest.fixture
async def granted(database: str, log: AppendablePostgresLog) -> AsyncIterator[str]:
    """The address for a role that has what the comment in the schema grants to the server."""
    grants = statement("0006_databases").split("the server:")[1].split("an operator")[0].replace("--", "")
    async with connected(database) as superuser:
        role = f"realtime_of_{await superuser.fetchval('select current_database()')}"
        await superuser.execute(f"create role {role} login; {grants.replace('to realtime', f'to {role}')}")
        yield database.replace("//postgres@", f"//{role}@")
        await superuser.execute(f"drop owned by {role} cascade; drop role {role}")


async def test_a_server_with_no_more_than_its_grants_reads_and_rotates(
    granted: str, log: AppendablePostgresLog
) -> None:
    served = PostgresLog(granted)
    retention = PostgresRetention(granted, keep_seconds=0.001, ticked=lambda: None)
    try:
        start = (await served.position()).cursor
        assert (await served.tail(start)).records == ()
        assert (await served.rewound(start)).cursor != start
        assert await retention.tick() == "opened event_1"
        with pytest.raises(LogUnavailable, match="permission denied"):
            await served.trim(before=1)
    finally:
        await served.close()
        await retention.close()
