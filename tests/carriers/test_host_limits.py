"""What an ASGI server accepts of a client is limited before an application sees it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from flowcraft.adapters import asgi
from flowcraft.adapters.asgi import Receive, Scope, Send
from flowcraft.adapters.host_limits import HostLimits
from flowcraft.entrypoints.asgi import RealtimeApp
from tests.carriers.test_carriers import closing, opened
from tests.support.carriers import Started, uvicorn_with

LIMIT = 128 * 1024


@pytest.fixture(autouse=True)
def _no_warning_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "host_limits", HostLimits())


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "flowcraft.adapters.host_limits"]


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])
async def test_uvicorn_refuses_a_long_message_itself_and_the_log_names_its_flags_once(
    ws: str, compression: Any, caplog: pytest.LogCaptureFixture
) -> None:
    started, longest = Started(), 0
    ours = RealtimeApp(started, None, "/live")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receiver() -> Any:
            nonlocal longest
            message = await receive()
            longest = max(longest, len(message.get("text") or ""))
            return message

        await ours(scope, receiver, send)

    async with uvicorn_with(app, ws=ws) as (_, port):
        for _ in range(2):
            # Without `async with`: websockets ends by aborting the transport, and that of asyncio in Python
            # 3.11 raises AttributeError if it was closed while bytes waited and they were sent afterwards.
            client = await connect(f"ws://127.0.0.1:{port}/live", compression=compression, max_size=None)
            await opened(client, "ping_update")
            with suppress(ConnectionClosed, AttributeError):  # it is refused before all of it was sent
                await client.send("x" * 1_000_000)
            assert (await closing(client))[0] == 1009
    assert longest < LIMIT
    expected = "uvicorn accepts messages of 16777216 bytes, compressed ones too, before a token; 65536 bytes "
    expected += "are enough here: start it with --ws-max-size 65536 --ws-per-message-deflate false"
    assert warned(caplog) == [expected]
    await started.stop()


async def test_with_these_flags_there_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    started = Started()
    app = RealtimeApp(started, None, "/live")
    async with (
        uvicorn_with(app, ws_max_size=LIMIT // 2, ws_per_message_deflate=False) as (_, port),
        connect(f"ws://127.0.0.1:{port}/live") as client,
    ):
        await opened(client, "ping_update")
    assert warned(caplog) == []
    await started.stop()


class Stream:
    """As Hypercorn has it."""

    def __init__(self) -> None:
        self.buffer = SimpleNamespace(max_length=16 * 2**20)

    async def app_send(self, message: object) -> None: ...


async def test_the_limits_of_hypercorn_and_daphne_are_set_for_each_websocket() -> None:
    stream, protocol = Stream(), SimpleNamespace(maxMessagePayloadSize=0, sendMessage=print)
    HostLimits().set(stream.app_send, LIMIT // 2)
    HostLimits().set(partial(print, protocol), LIMIT // 2)
    assert (stream.buffer.max_length, protocol.maxMessagePayloadSize) == (LIMIT, LIMIT)


@pytest.mark.parametrize("send", [None, print, partial(print, 1), object()])
async def test_an_unknown_server_is_left_alone(send: object, caplog: pytest.LogCaptureFixture) -> None:
    HostLimits().set(send, LIMIT)
    assert warned(caplog) == []


class Autobahn:
    """A protocol as Daphne has it: one limit, for what it receives and for what it sends."""

    def __init__(self, limit: int) -> None:
        self.maxMessagePayloadSize = limit
        self.sent: list[bytes] = []

    def sendMessage(self, payload: bytes, binary: bool = False) -> None:  # noqa: N802
        if 0 < self.maxMessagePayloadSize < len(payload):
            raise ValueError("exceeds the payload limit")
        assert not binary
        self.sent.append(payload)


@pytest.mark.parametrize("own", [0, LIMIT - 1, 10 * LIMIT])
async def test_the_limit_of_daphne_is_for_what_it_receives(own: int) -> None:
    protocol = Autobahn(own)
    for _ in range(2):
        HostLimits().set(partial(print, protocol), LIMIT // 2)
        assert protocol.maxMessagePayloadSize == min(own or LIMIT, LIMIT)
        protocol.sendMessage(b"x" * (own or 5 * LIMIT), binary=False)
        assert protocol.maxMessagePayloadSize == min(own or LIMIT, LIMIT)
    if own:  # what the server itself does not allow
        with pytest.raises(ValueError, match="exceeds"):
            protocol.sendMessage(b"x" * (own + 1))
        assert protocol.maxMessagePayloadSize == min(own, LIMIT)
