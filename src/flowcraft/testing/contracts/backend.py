"""BackendContract: the guarantees of a backend's parts together, on a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from flowcraft.ports import Backend
from flowcraft.records import Ephemeral
from flowcraft.runtime.node import Node
from flowcraft.runtime.serving import Serving
from flowcraft.settings import Settings
from flowcraft.testing.contracts.service import Stepped, contract_channels, ephemeral_update, stepped_update
from flowcraft.testing.inbox import Inbox

_SECONDS = 20.0
_SETTINGS = Settings(safety_poll_seconds=60.0, drain_seconds=0.01)
"""A safety interval longer than the tests: an event that arrives came with a wakeup."""


class BackendContract:
    """The guarantees of `ports.Backend`, with a node on it. Its tables exist already."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError("override this fixture: return the backend, not open")

    async def until_ephemeral(self, backend: Backend) -> None:
        """Wait until an open backend delivers events outside the log; override if that is not immediate."""

    async def test_a_broadcast_reaches_a_subscriber(self, backend: Backend) -> None:
        async with _running(backend) as node:
            inbox = await _subscribed(node, "stepped_update")
            await backend.service.broadcast(stepped_update, Stepped(step=1))
            await _until(inbox, 1)
            assert _payloads(inbox) == [_stepped(1)]

    async def test_a_client_resumes_after_the_backend_was_closed_and_opened_again(
        self, backend: Backend
    ) -> None:
        async with _running(backend) as node:
            inbox = await _subscribed(node, "stepped_update")
            await backend.service.broadcast(stepped_update, Stepped(step=1))
            await _until(inbox, 1)
            since = inbox.cursor
        await backend.service.broadcast(stepped_update, Stepped(step=2))
        async with _running(backend) as node:
            await backend.service.broadcast(stepped_update, Stepped(step=3))
            inbox = await _subscribed(node, "stepped_update", since=since)
            await _until(inbox, 2)
            assert _payloads(inbox) == [_stepped(2), _stepped(3)]

    async def test_an_event_outside_the_log_is_delivered_once(self, backend: Backend) -> None:
        async with _running(backend) as node:
            await self.until_ephemeral(backend)
            inbox = await _subscribed(node, "ephemeral_update", "stepped_update")
            await backend.service.broadcast(ephemeral_update, Stepped(step=1))
            await _until(inbox, 1)
            await backend.service.broadcast(stepped_update, Stepped(step=2))
            await _until(inbox, 2)
            assert inbox.received[0] == Ephemeral("ephemeral_update", _stepped(1))
            assert _payloads(inbox) == [_stepped(1), _stepped(2)]

    async def test_its_upkeep_runs_and_reports_no_error(self, backend: Backend) -> None:
        async with _running(backend) as node:
            inbox = await _subscribed(node, "stepped_update")
            await backend.service.broadcast(stepped_update, Stepped(step=1))
            await _until(inbox, 1)
            report = node.report()
            assert (report.ready, report.errors) == (True, {})
            assert {task.restarts for task in report.tasks.values()} == {0}

    async def test_it_can_be_closed_twice_and_before_it_is_opened(self, backend: Backend) -> None:
        await backend.close()
        await backend.close()
        async with _running(backend):
            await backend.service.broadcast(stepped_update, Stepped(step=1))
        await backend.close()


@asynccontextmanager
async def _running(backend: Backend) -> AsyncIterator[Node]:
    serving = Serving(contract_channels, backend, settings=_SETTINGS)
    try:
        async with asyncio.timeout(_SECONDS):
            serving.start()
            await serving.node.until_accepting()
            yield serving.node
    finally:
        await serving.stop()
        await backend.close()


async def _subscribed(node: Node, *channels: str, since: str | None = None) -> Inbox:
    inbox = Inbox()
    request: dict[str, object] = {"subscribe": channels}
    node.connect(inbox).received(
        msgspec.json.encode(request if since is None else {**request, "since": since}).decode()
    )
    while inbox.answer is None:
        await inbox.news()
    assert inbox.answer == "subscribed"
    return inbox


async def _until(inbox: Inbox, count: int) -> None:
    while len(inbox.received) < count:
        await inbox.news()


def _payloads(inbox: Inbox) -> list[str]:
    return [event.payload for event in inbox.received]


def _stepped(step: int) -> str:
    return msgspec.json.encode({"type": "Stepped", "step": step}).decode()
