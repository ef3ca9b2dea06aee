"""The pytest plugin: `realtime` in memory and `realtime_db` on a database, for your application's channels.

pytest loads the plugin wherever the package is installed, so it imports nothing until a fixture is used.
Its fixtures are not coroutines: they work with pytest-asyncio, anyio and other plugins that await tests.
"""

from __future__ import annotations

import functools
import inspect
import pkgutil
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from flowcraft.channels import Channels
    from flowcraft.testing.databases import DatabaseServer
    from flowcraft.testing.realtime import DatabaseRealtime, InMemoryRealtime, Tables
    from flowcraft.testing.under_test import RealtimeUnderTest

_HOW = (
    "name your channels with `flowcraft_channels = app:channels` in pytest's ini file, "
    "or with a fixture `realtime_channels` that returns them"
)
_lent = pytest.StashKey[list["RealtimeUnderTest"]]()
_R = TypeVar("_R", bound="RealtimeUnderTest")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("flowcraft_channels", "MODULE:ATTRIBUTE of your Channels or Realtime object", default="")
    parser.addini("flowcraft_timeout", "seconds that expect() waits for an event", default="5")


@pytest.fixture
def realtime_channels(pytestconfig: pytest.Config) -> Channels:
    """The channels of your application: override it, or set `flowcraft_channels`."""
    from flowcraft.channels import Channels

    target = str(pytestconfig.getini("flowcraft_channels"))
    if not target:
        raise pytest.UsageError(_HOW)
    try:
        found: object = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(f"flowcraft_channels = {target}: {error}; {_HOW}") from error
    channels: object = getattr(found, "channels", found)
    if not isinstance(channels, Channels):
        raise pytest.UsageError(f"flowcraft_channels = {target} is of type {type(found).__name__}; {_HOW}")
    return channels


@pytest.fixture
def realtime(
    realtime_channels: Channels, pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> Iterator[InMemoryRealtime]:
    """The real core on a log in memory: broadcast to it, subscribe, expect."""
    from flowcraft.testing.realtime import InMemoryRealtime

    yield from _lend(InMemoryRealtime(realtime_channels, timeout=_timeout(pytestconfig)), request)


@pytest.fixture
def realtime_tables() -> Tables:
    """SQL that creates your tables in an empty database, or a function of its address. Override it."""
    return ""


@pytest.fixture(scope="session")
def realtime_server() -> Iterator[DatabaseServer]:
    """The PostgreSQL of this run: the one that `FLOWCRAFT_TEST_DSN` names, or an embedded one."""
    from flowcraft.testing.databases import database_server

    with database_server() as server:
        yield server


@pytest.fixture
def realtime_db(
    realtime_channels: Channels,
    realtime_tables: Tables,
    realtime_server: DatabaseServer,
    pytestconfig: pytest.Config,
    request: pytest.FixtureRequest,
) -> Iterator[DatabaseRealtime]:
    """The real core on a database for this test, `realtime_db.dsn`, with your tables and triggers."""
    from flowcraft.testing.databases import database
    from flowcraft.testing.realtime import DatabaseRealtime

    with database(realtime_server) as dsn:
        made = DatabaseRealtime(
            realtime_channels, dsn, tables=realtime_tables, timeout=_timeout(pytestconfig)
        )
        yield from _lend(made, request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Close a test's realtime while its event loop still runs."""
    lent = item.stash.get(_lent, None)
    if lent is None or not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return (yield)
    test = item.obj
    item.obj = _closing(test, lent)
    try:
        return (yield)
    finally:
        item.obj = test


def _closing(
    test: Callable[..., Awaitable[None]], lent: list[RealtimeUnderTest]
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def closing(*arguments: object, **named: object) -> None:
        __tracebackhide__ = True
        try:
            await test(*arguments, **named)
        finally:
            for realtime in lent:
                await realtime.close()

    return closing


def _lend(made: _R, request: pytest.FixtureRequest) -> Iterator[_R]:
    request.node.stash.setdefault(_lent, []).append(made)
    yield made
    # Other fixtures may have used it outside the test; their loop, if it still exists, is idle now.
    loop = made.loop
    if loop is not None and not loop.is_closed() and not loop.is_running():
        loop.run_until_complete(made.close())


def _timeout(config: pytest.Config) -> float:
    return float(str(config.getini("flowcraft_timeout")))
