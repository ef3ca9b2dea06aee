"""Bad input has one clear outcome each, on every carrier: a reply, or a close code."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from websockets.asyncio.client import connect

from flowcraft import Settings
from flowcraft.adapters.jwt import JwtAuthorizer
from tests.support.carriers import SECRET, OpenStage, Stage, dedicated, mounted, on_uvicorn
from tests.support.event_streams import listening

CARRIERS: dict[str, OpenStage] = {
    "dedicated": dedicated,
    "direct": mounted,
    "direct by wsproto": on_uvicorn("wsproto"),
    "messages": on_uvicorn("websockets-sansio", direct=False),
    "messages by wsproto": on_uvicorn("wsproto", direct=False),
}
ON_WSPROTO = (CARRIERS["direct by wsproto"], CARRIERS["messages by wsproto"])
EMPTY_MASK = bytes(4)
STREAMS: dict[str, OpenStage] = {"dedicated": dedicated, "asgi": mounted}
EVERY_STREAM = pytest.mark.parametrize("carrier", STREAMS.values(), ids=STREAMS)
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
    "a member twice": ('{"subscribe":["ping_update"],"subscribe":[]}', BAD, '"subscribe": expected once'),
    "a member twice, once escaped": ('{"settle":"1","\\u0073ettle":"2"}', BAD, '"settle": expected once'),
    "a token twice": ('{"auth":"a","auth":"b"}', BAD, '"auth": expected once'),
    "a position twice": ('{"subscribe":[],"since":null,"since":"x:"}', BAD, '"since": expected once'),
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
        for kind, (message, _, _) in MESSAGES.items():
            await client.send(message)
            check_answer(kind, json.loads(await client.recv()))
        await client.send('{"subscribe":["ping_update"]}')
        assert "subscribed" in json.loads(await client.recv())


def check_answer(kind: str, answer: dict[str, Any]) -> None:
    _, code, text = MESSAGES[kind]
    error = answer.get("error", answer)
    assert (kind, error.get("code")) == (kind, code)
    assert text in error["message"], kind
    assert len(error["message"]) < 400, kind
    assert "x" * 65 not in json.dumps(error), kind


@EVERY_STREAM
@pytest.mark.parametrize("wants_tokens", [False, True], ids=["public", "with tokens"])
async def test_a_line_of_a_post_that_is_wrong_is_answered_and_the_stream_stays(
    carrier: OpenStage, wants_tokens: bool
) -> None:
    """Also of a client that sends its token in the first line."""
    settings = Settings(drain_seconds=0.01, messages_at_once=1000, joins_per_second=10_000)
    lines = [*(message for message, _, _ in MESSAGES.values()), '{"subscribe":["ping_update"]}']
    if wants_tokens:
        lines.insert(0, json.dumps({"auth": token()}))
    authorizer = JwtAuthorizer(SECRET, required=True) if wants_tokens else None
    body = "\n".join(lines)
    async with carrier(settings, authorizer) as stage, listening(stage, "", body=body) as stream:
        assert "hello" in await stream.next()
        if wants_tokens:
            assert "authenticated" in await stream.next()
        for kind in MESSAGES:
            check_answer(kind, await stream.next())
        assert (await stream.next())["subscribed"] == ["ping_update"]
        await stage.ping(7)
        assert (await stream.until("channel"))["payload"]["n"] == 7


def token(**claims: object) -> str:
    return jwt.encode({"sub": "bob", "exp": 2**33, **claims}, SECRET)


PARAMETERS = {
    "an unknown channel": "nothing_update",
    "a guarded channel": "private.ada",
    "a name outside the grammar": "Ping.Update",
    "a long name": "x" * 1000,
}
"""By their row in the table of messages: names that may stand in a URL."""


@asynccontextmanager
async def asked_by_url(stage: Stage, query: str, *, is_stream: bool) -> AsyncIterator[AsyncIterator[Any]]:
    """The frames that answer a GET: of a stream, or of a WebSocket."""
    if is_stream:
        async with listening(stage, query) as stream:

            async def events() -> AsyncIterator[Any]:
                while True:
                    yield await stream.next()

            yield events()
    else:
        async with connect(stage.address + query) as client:
            yield (json.loads(message) async for message in client)


@pytest.mark.parametrize("is_stream", [False, True], ids=["websocket", "stream"])
@EVERY_STREAM
@pytest.mark.parametrize("kind", PARAMETERS)
async def test_a_name_in_a_url_that_is_wrong_is_answered_beside_the_others(
    carrier: OpenStage, is_stream: bool, kind: str
) -> None:
    query = "?" + urlencode([("channel", PARAMETERS[kind]), ("channel", "ping_update")])
    async with (
        carrier(Settings(drain_seconds=0.01), None) as stage,
        asked_by_url(stage, query, is_stream=is_stream) as frames,
    ):
        assert "hello" in await anext(frames)
        check_answer(kind, await anext(frames))
        assert (await anext(frames))["subscribed"] == ["ping_update"]


@pytest.mark.parametrize("is_stream", [False, True], ids=["websocket", "stream"])
@EVERY_STREAM
async def test_a_url_with_too_many_names_is_answered_and_the_connection_stays(
    carrier: OpenStage, is_stream: bool
) -> None:
    query = "?" + urlencode([("channel", f"a.{n}") for n in range(300)])
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.1)
    async with carrier(settings, None) as stage, asked_by_url(stage, query, is_stream=is_stream) as frames:
        assert "hello" in await anext(frames)
        check_answer("too many names", await anext(frames))
        assert (await anext(frames))["n"] == 0


TOKENS: dict[str, tuple[str, int]] = {
    "of another key": (jwt.encode({"sub": "bob", "exp": 2**33}, "x" * 32), 4500),
    "of no algorithm": (jwt.encode({"sub": "bob", "exp": 2**33}, "", algorithm="none"), 4500),
    "without an end": (jwt.encode({"sub": "bob"}, SECRET), 4500),
    "with an end that is text": (token(exp="soon"), 4500),
    "of nobody": (jwt.encode({"exp": 2**33}, SECRET), 4500),
    "of a number": (jwt.encode({"sub": 7, "exp": 2**33}, SECRET), 4500),
    "expired": (token(exp=1), 4401),
    "not yet valid": (token(nbf=2**32), 4401),
    "nothing": ("", 4500),
    "nonsense": ("nonsense", 4500),
    "a long one": ("x" * 9000, 4500),
}


@EVERY_CARRIER
@pytest.mark.parametrize("kind", TOKENS)
async def test_a_token_that_is_wrong_closes_with_its_code(carrier: OpenStage, kind: str) -> None:
    text, code = TOKENS[kind]
    async with carrier(Settings(drain_seconds=0.01), JwtAuthorizer(SECRET, required=True)) as stage:
        async with connect(stage.address) as client:
            await client.recv()
            await client.send(json.dumps({"auth": text}))
            await client.wait_closed()
        assert client.close_code == code


@EVERY_STREAM
@pytest.mark.parametrize("place", ["header of a GET", "header of a POST", "content"])
@pytest.mark.parametrize("kind", TOKENS)
async def test_a_wrong_token_of_a_stream_has_the_code_of_a_websocket(
    carrier: OpenStage, place: str, kind: str
) -> None:
    """In the header it is refused before the stream, in the content the stream ends."""
    text, code = TOKENS[kind]
    bearer = {"Authorization": f"Bearer {text}".strip()} if place.startswith("header") else {}
    query = "?channel=ping_update" if place == "header of a GET" else ""
    lines = [] if bearer else [json.dumps({"auth": text})]
    body = None if query else "\n".join([*lines, '{"subscribe":["ping_update"]}'])
    async with (
        carrier(Settings(drain_seconds=0.01), JwtAuthorizer(SECRET, required=True)) as stage,
        listening(stage, query, body=body, **bearer) as stream,
    ):
        if bearer:
            assert stream.response.status_code == 401
            refused = json.loads(await stream.response.aread())
        else:
            assert stream.response.status_code == 200
            refused = await stream.until("code")
            assert stream.name == "close"
        assert refused["code"] == code


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


@EVERY_STREAM
@pytest.mark.parametrize("place", ["since", "Last-Event-ID", "content"])
@pytest.mark.parametrize("cursor", [cursor for cursor in CURSORS if len(cursor) < 1000])
async def test_a_stream_from_a_cursor_that_cannot_be_used_begins_with_a_reset(
    carrier: OpenStage, place: str, cursor: str
) -> None:
    query = "" if place == "content" else "?channel=ping_update"
    if place == "since":
        query += "&" + urlencode({"since": cursor})
    headers = {"Last-Event-ID": cursor} if place == "Last-Event-ID" else {}
    body = json.dumps({"subscribe": ["ping_update"], "since": cursor}) if place == "content" else None
    async with (
        carrier(Settings(drain_seconds=0.01), None) as stage,
        listening(stage, query, body=body, **headers) as stream,
    ):
        await stream.next()
        answer = await stream.next()
        if place == "Last-Event-ID" and not cursor:  # an empty header is none (WHATWG HTML §9.2.4)
            assert answer["subscribed"] == ["ping_update"]
        else:
            assert (answer["reset"], answer["reason"]) == (["ping_update"], CURSORS[cursor])
        assert answer["cursor"] == stream.last_id
