"""What is left of a client once it has gone: nothing, also without a garbage collection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowcraft.adapters.asgi import AsgiConnection
from flowcraft.adapters.event_stream import EventStreamConnection
from flowcraft.adapters.websocket import WebSocketConnection
from flowcraft.core.session import Session
from flowcraft.runtime.decisions import Decision
from flowcraft.runtime.gateway import Gateway
from flowcraft.viewers import Viewer
from tests.support.carriers import QUICK, OpenStage, channels, until
from tests.support.strangers import (
    AUTH,
    KIB,
    Answering,
    Made,
    everywhere,
    for_an_hour,
    framed,
    never,
    post,
    settle,
    stranger,
    streams,
)

pytestmark = pytest.mark.asyncio
KINDS = (Session, Gateway, Decision, WebSocketConnection, EventStreamConnection, AsgiConnection)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch, *KINDS)


class Stubborn:
    """Code that is cancelled and goes on."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self) -> Viewer:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        return await for_an_hour()


@asynccontextmanager
async def without_collecting() -> AsyncIterator[None]:
    """What is freed is freed because nothing refers to it: no garbage collection comes to help."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@everywhere
@pytest.mark.parametrize("doing", ["nothing", "waiting", "half a message", "checked", "accepted"])
async def test_of_a_connection_that_has_gone_nothing_is_kept(
    carrier: OpenStage, doing: str, kept: Made
) -> None:
    authorizer = Answering(for_an_hour if doing == "accepted" else never)
    async with carrier(QUICK, authorizer) as stage, without_collecting():
        async with stranger(stage) as (reader, writer):
            match doing:
                case "waiting":
                    writer.write(framed(settle(4 * KIB)))
                case "half a message":
                    writer.write(framed(settle(4 * KIB), 0x01))
                case "checked":
                    writer.write(framed(AUTH) + framed(settle(64 * KIB)))
                    await authorizer.asked.wait()
                case "accepted":
                    writer.write(framed(AUTH) + framed(settle(64 * KIB)))
                    await reader.readuntil(b"settled")
                case _:
                    pass
            assert {"Session", "Gateway"} <= set(kept.names())
        await until(lambda: kept.names() == [])


@everywhere
async def test_code_that_ignores_its_cancellation_keeps_no_connection(carrier: OpenStage, kept: Made) -> None:
    stubborn = Stubborn()
    authorizer = Answering(stubborn)
    async with carrier(QUICK, authorizer) as stage, without_collecting():
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH))
            await authorizer.asked.wait()
        await until(lambda: kept.names() == ["Decision"])
        stubborn.released.set()
        await until(lambda: kept.names() == [])


@everywhere
async def test_a_guard_that_never_answers_ends_with_its_connection(
    carrier: OpenStage, monkeypatch: pytest.MonkeyPatch, kept: Made
) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def guard(viewer: Viewer, user: str) -> bool:  # what a guard is asked
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return True

    async with carrier(QUICK, Answering(for_an_hour)) as stage, without_collecting():
        declaration, _ = channels.resolve("private.ada")
        monkeypatch.setattr(declaration, "guard", guard)
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH) + framed('{"subscribe":["private.ada"]}') + framed(settle(64 * KIB)))
            await asked.wait()
        await ended.wait()
        await until(lambda: kept.names() == [])


@everywhere
async def test_a_connection_that_goes_as_its_token_comes_leaves_no_question_behind(
    carrier: OpenStage, recwarn: pytest.WarningsRecorder, kept: Made
) -> None:
    authorizer = Answering(never)
    async with carrier(QUICK, authorizer) as stage:
        async with stranger(stage) as (_, writer):
            writer.write(framed(AUTH) + framed(settle()) * 257)
        await until(lambda: stage.node.report().connections == 0)
        gc.collect()
        await until(lambda: kept.names() == [])
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


@streams
@pytest.mark.parametrize("lines", [[AUTH], [settle(3 * KIB), AUTH], [AUTH, settle(64 * KIB)]])
async def test_of_an_event_stream_that_has_gone_nothing_is_kept(
    carrier: OpenStage, lines: list[str], kept: Made
) -> None:
    async with carrier(QUICK, Answering(never)) as stage, without_collecting():
        async with stranger(stage, post(*lines)) as (reader, _):
            await reader.readuntil(b'"hello":{')
            assert {"Session", "Gateway"} <= set(kept.names())
        await until(lambda: kept.names() == [])
