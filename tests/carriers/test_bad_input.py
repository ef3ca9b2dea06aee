"""Bad input has one clear outcome each, on every carrier: a reply, or a close code."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from websockets.asyncio.client import connect

from flowcraft import Settings
from tests.support.carriers import OpenStage, dedicated, mounted, on_uvicorn

CARRIERS: dict[str, OpenStage] = {
    "dedicated": dedicated,
    "direct": mounted,
    "direct by wsproto": on_uvicorn("wsproto"),
    "messages": on_uvicorn("websockets-sansio", direct=False),
    "messages by wsproto": on_uvicorn("wsproto", direct=False),
}
ON_WSPROTO = (CARRIERS["direct by wsproto"], CARRIERS["messages by wsproto"])
EMPTY_MASK = bytes(4)
EVERY_CARRIER = pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)


def raw(first: int, data: bytes = b"", *, masked: bool = True) -> bytes:
    size = len(data)
    mask = 0x80 if masked else 0
    if size < 126:
        length = struct.pack("!B", mask | size)
    else:
        length = (
            struct.pack("!BH", mask | 126, size) if size < 2**16 else struct.pack("!BQ", mask | 127, size)
        )
    return bytes([first]) + length + (EMPTY_MASK if masked else b"") + data


FIN, TEXT, BINARY, PING = 0x80, 1, 2, 9
FRAMES: dict[str, tuple[bytes, set[int]]] = {
    "unmasked": (raw(FIN | TEXT, b"{}", masked=False), {1002}),
    "a reserved bit": (raw(FIN | 0x20 | TEXT, b"{}"), {1002}),
    "an unknown opcode": (raw(FIN | 3, b""), {1002}),
    "a fragmented ping": (raw(PING, b""), {1002}),
    "a long ping": (raw(FIN | PING, b"x" * 126), {1002}),
    "a continuation of nothing": (raw(FIN, b"x"), {1002}),
    "text that is no UTF-8": (raw(FIN | TEXT, b"\xff\xfe"), {1007}),
    "binary": (raw(FIN | BINARY, b"x"), {1003}),
    "70,000 bytes": (raw(FIN | TEXT, b" " * 70_000), {1009}),
    "70,000 bytes in two fragments": (raw(TEXT, b" " * 40_000) + raw(FIN, b" " * 30_000), {1009}),
}


@EVERY_CARRIER
@pytest.mark.parametrize("kind", FRAMES)
async def test_a_frame_that_breaks_the_protocol_closes_with_its_code(carrier: OpenStage, kind: str) -> None:
    data, codes = FRAMES[kind]
    if carrier in ON_WSPROTO and not codes & {1003, 1009}:
        codes = {1006}  # uvicorn ends the connection without a close frame
    async with carrier(Settings(drain_seconds=0.01), None) as stage, connect(stage.address) as other:
        await other.recv()
        async with connect(stage.address) as client:
            await client.recv()
            client.transport.write(data)
            await client.wait_closed()
        assert client.close_code in codes
        await other.send('{"subscribe":["ping_update"]}')
        assert "subscribed" in json.loads(await other.recv())


BAD = "bad_request"
MESSAGES: dict[str, tuple[str, str, str]] = {
    "no JSON": ("hello", BAD, "not JSON"),
    "nothing": (" ", BAD, "not JSON"),
    "NaN": ('{"settle":NaN}', BAD, "not JSON"),
    "a list": ("[]", BAD, "object"),
    "a lone surrogate": ('{"subscribe":["\\ud800"]}', BAD, "not JSON"),
    "deeper than a stack": ("[" * 5000 + "]" * 5000, BAD, "not"),
    "an unknown member": ('{"subscribe":["ping_update"],"more":1}', BAD, "more"),
    "no member": ("{}", BAD, "exactly one of"),
    "two frames": ('{"subscribe":[],"settle":"1"}', BAD, "exactly one of"),
    "a mistyped member": ('{"subscribe":"ping_update"}', BAD, "subscribe"),
    "a mistyped name": ('{"subscribe":["ping_update",7]}', BAD, "subscribe"),
    "a mistyped number": ('{"settle":1}', BAD, "settle"),
    "a number that is none": ('{"settle":"x"}', BAD, "settle"),
    "a reference beyond 2^53": ('{"subscribe":["ping_update"],"ref":9007199254740993}', BAD, "ref"),
    "an unknown channel": ('{"subscribe":["nothing_update"]}', "forbidden", "not declared, or you may not"),
    "a guarded channel": ('{"subscribe":["private.ada"]}', "forbidden", "not declared, or you may not"),
    "a name outside the grammar": ('{"subscribe":["Ping.Update"]}', "bad_channel", "<entity>"),
    "a long name": ('{"subscribe":["' + "x" * 1000 + '"]}', "bad_channel", "<entity>"),
    "too many names": (json.dumps({"subscribe": [f"a.{n}" for n in range(300)]}), "limit_exceeded", "256"),
}


@EVERY_CARRIER
async def test_a_message_that_is_wrong_is_answered_and_the_connection_stays(carrier: OpenStage) -> None:
    settings = Settings(drain_seconds=0.01, messages_at_once=1000, joins_per_second=10_000)
    async with carrier(settings, None) as stage, connect(stage.address) as client:
        await client.recv()
        for kind, (message, code, text) in MESSAGES.items():
            await client.send(message)
            error: dict[str, Any] = json.loads(await client.recv())["error"]
            assert (kind, error["code"]) == (kind, code)
            assert text in error["message"], kind
            assert len(error["message"]) < 400, kind
            assert "x" * 65 not in json.dumps(error), kind
        await client.send('{"subscribe":["ping_update"]}')
        assert "subscribed" in json.loads(await client.recv())


@EVERY_CARRIER
async def test_what_is_done_twice_or_for_nothing_changes_nothing(carrier: OpenStage) -> None:
    async with carrier(Settings(drain_seconds=0.01), None) as stage, connect(stage.address) as client:
        await client.recv()
        await client.send('{"unsubscribe":["ping_update","latest_update"]}')
        for ref in (1, 2):
            await client.send(f'{{"subscribe":["ping_update","ping_update"],"ref":{ref}}}')
            answer = json.loads(await client.recv())
            assert (answer["subscribed"], answer["ref"]) == (["ping_update"], ref)
        await stage.ping(1)
        event, point = json.loads(await client.recv()), json.loads(await client.recv())
        assert (event["payload"]["n"], point["n"]) == (1, 1)


CURSORS: dict[str, str] = {
    "malformed": "malformed",
    "": "malformed",
    "1/1.0/" + "9" * 60 + ":": "malformed",
    "x" * 10_000: "malformed",
    "99/1.0/5:": "other_database",
}


@EVERY_CARRIER
async def test_a_cursor_that_cannot_be_used_is_answered_by_a_reset_with_its_reason(
    carrier: OpenStage,
) -> None:
    async with carrier(Settings(drain_seconds=0.01), None) as stage, connect(stage.address) as client:
        await client.recv()
        for cursor, reason in CURSORS.items():
            await client.send(json.dumps({"subscribe": ["ping_update"], "since": cursor}))
            answer = json.loads(await client.recv())
            assert (answer["reset"], answer["reason"]) == (["ping_update"], reason)
            assert answer["cursor"]
