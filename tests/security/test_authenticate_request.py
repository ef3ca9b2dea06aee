"""The request may prove the viewer, by a cookie or a header; an event stream answers 401 before it begins."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.errors import TokenExpired, TokenInvalid
from flowcraft.settings import Settings
from flowcraft.viewers import Handshake, Viewer
from tests.support.carriers import QUICK, SECRET, OpenStage, Stage, dedicated, mounted, on_uvicorn

pytestmark = pytest.mark.asyncio
LISTED = "https://app.example.com"
LISTING = Settings(drain_seconds=0.01, allowed_origins=(LISTED, "https://*.shop.example", "null"))
ANY = Settings(drain_seconds=0.01, any_origin=True)
TOKEN = jwt.encode({"sub": "ann", "exp": 2**33}, SECRET)
DOORS: dict[str, OpenStage] = {
    "dedicated": dedicated,
    "direct": mounted,
    "messages": on_uvicorn("websockets-sansio", direct=False),
}
everywhere = pytest.mark.parametrize("door", DOORS)
Frames = list[dict[str, Any]]


class BySession(JwtAuthorizer):
    """The session's cookie, or a header of a trusted proxy, else a token."""

    def __init__(self, answer: Callable[[Handshake], Viewer | None] | None = None) -> None:
        super().__init__(SECRET)
        self.seen: list[Handshake] = []
        self._answer = answer

    async def authenticate_request(self, request: Handshake) -> Viewer | None:
        self.seen.append(request)
        if self._answer is not None:
            return self._answer(request)
        subject = request.cookies.get("session") or request.headers.get("X-Remote-User")
        return None if subject is None else Viewer(subject)


@asynccontextmanager
async def socket(stage: Stage, query: str = "", **fields: str) -> AsyncIterator[ClientConnection]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with connect(stage.address + query, additional_headers=headers) as client:
        yield client


async def frames_until(client: ClientConnection, member: str) -> Frames:
    frames: Frames = []
    while not frames or member not in frames[-1]:
        frames.append(json.loads(await asyncio.wait_for(client.recv(), 10)))
    return frames


async def close_of(client: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await frames_until(client, "no such member")
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@asynccontextmanager
async def streamed(
    stage: Stage, channel: str = "private.ann", body: str | None = None, **fields: str
) -> AsyncIterator[httpx.Response]:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    address = stage.http("/realtime/events" + (f"?channel={channel}" if body is None else ""))
    method = "GET" if body is None else "POST"
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream(method, address, headers=headers, content=body) as response,
    ):
        yield response


async def events_until(response: httpx.Response, member: str) -> Frames:
    frames: Frames = []
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            frames.append(json.loads(line.removeprefix("data: ")))
            if member in frames[-1]:
                break
    return frames


def members(frames: Frames) -> list[str]:
    return [next(iter(frame)) for frame in frames]


@everywhere
async def test_a_cookie_proves_the_viewer_before_the_first_message(door: str) -> None:
    authorizer = BySession()
    async with DOORS[door](LISTING, authorizer) as stage:
        fields = {"Cookie": "a=b; session=ann", "Origin": LISTED}
        async with socket(stage, "?channel=private.ann&channel=private.bob", **fields) as client:
            frames = await frames_until(client, "subscribed")
            assert members(frames) == ["hello", "authenticated", "error", "subscribed"]
            assert frames[1] == {"authenticated": {"expires_in": None}}
            assert frames[3]["subscribed"] == ["private.ann"]
        async with streamed(stage, **fields) as response:
            assert response.status_code == 200
            frames = await events_until(response, "subscribed")
            assert members(frames) == ["hello", "authenticated", "subscribed"]
        for request, path in zip(authorizer.seen, ("/realtime", "/realtime/events"), strict=True):
            assert (request.path, request.origin) == (path, LISTED)
            assert request.cookies == {"a": "b", "session": "ann"}
            assert request.headers["COOKIE"] == request.headers["cookie"] == "a=b; session=ann"
            assert request.address.startswith("127.0.0.1:")
            assert "ann" not in repr(request)


OWN = {"Origin": "http://{host}"}
COOKIES: dict[str, tuple[Settings, dict[str, str], bool]] = {
    "listed": (LISTING, {"Origin": LISTED}, True),
    "by pattern": (LISTING, {"Origin": "https://a.shop.example"}, True),
    "own host": (QUICK, OWN, True),
    "own host beside any": (ANY, OWN, True),
    "GET of a page to its own host": (QUICK, {"Sec_Fetch_Site": "same-origin"}, True),
    "missing": (LISTING, {}, False),
    "missing, without a list": (QUICK, {}, False),
    "missing, of the same site": (QUICK, {"Sec_Fetch_Site": "same-site"}, False),
    "missing, from the address bar": (QUICK, {"Sec_Fetch_Site": "none"}, False),
    "null, although listed": (LISTING, {"Origin": "null"}, False),
    "null, with Sec-Fetch-Site": (ANY, {"Origin": "null", "Sec_Fetch_Site": "same-origin"}, False),
    "any page": (ANY, {"Origin": "https://evil.example"}, False),
    "another port of the own host": (ANY, {"Origin": "http://127.0.0.1:1"}, False),
}


@everywhere
@pytest.mark.parametrize("case", COOKIES)
async def test_cookies_count_only_of_listed_pages_and_those_of_the_own_host(door: str, case: str) -> None:
    settings, fields, counts = COOKIES[case]
    authorizer = BySession()
    async with DOORS[door](settings, authorizer) as stage:
        host = stage.http("").removeprefix("http://")
        named = {name: value.format(host=host) for name, value in fields.items()}
        async with streamed(stage, Cookie="session=ann", **named) as response:
            assert response.status_code == (200 if counts else 401)
        async with socket(stage, Cookie="session=ann", **named) as client:
            if counts:
                await frames_until(client, "authenticated")
            else:  # a token may follow, as ever
                await client.send(json.dumps({"auth": TOKEN}))
                await frames_until(client, "authenticated")
        assert [dict(request.cookies) for request in authorizer.seen] == [
            {"session": "ann"} if counts else {}
        ] * 2
        assert all(("cookie" in request.headers) == counts for request in authorizer.seen)


@everywhere
async def test_a_header_proves_the_viewer(door: str) -> None:
    async with DOORS[door](QUICK, BySession()) as stage:
        async with socket(stage, X_Remote_User="ann") as client:
            await client.send('{"subscribe":["private.ann"]}')
            assert members(await frames_until(client, "subscribed")) == [
                "hello",
                "authenticated",
                "subscribed",
            ]
        async with streamed(stage, X_Remote_User="ann") as response:
            assert members(await events_until(response, "subscribed"))[1:] == ["authenticated", "subscribed"]


@everywhere
async def test_a_token_in_band_is_of_the_viewer_of_the_request(door: str) -> None:
    async with DOORS[door](QUICK, BySession()) as stage:
        async with socket(stage, X_Remote_User="ann") as client:
            await client.send(json.dumps({"auth": TOKEN}))
            frames = await frames_until(client, "authenticated") + await frames_until(client, "authenticated")
            assert [frame["authenticated"]["expires_in"] is None for frame in frames[1:]] == [True, False]
        async with socket(stage, X_Remote_User="bob") as client:
            await client.send(json.dumps({"auth": TOKEN}))
            assert await close_of(client) == (4401, "the token is of another viewer; reconnect")
        async with streamed(stage, X_Remote_User="bob", Authorization=f"Bearer {TOKEN}") as response:
            assert (response.status_code, json.loads(await response.aread())["code"]) == (401, 4401)


@everywhere
async def test_without_a_proof_messages_wait_for_a_token_within_its_bounds(door: str) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Waits(BySession):
        async def authenticate_request(self, request: Handshake) -> Viewer | None:
            asked.set()
            await answer.wait()
            return None

    async with DOORS[door](QUICK, Waits()) as stage:
        for count, code in ((16, None), (17, 4429)):
            asked.clear()
            answer.clear()
            async with socket(stage) as client:
                await asyncio.wait_for(asked.wait(), 10)
                for ref in range(count):
                    await client.send(json.dumps({"subscribe": ["private.ann"], "ref": ref}))
                await (await client.ping())  # all of them have arrived
                answer.set()
                if code is None:
                    await client.send(json.dumps({"auth": TOKEN}))
                    frames = await frames_until(client, "authenticated")
                    for ref in range(count):
                        frames = await frames_until(client, "subscribed")
                        assert frames[-1]["ref"] == ref
                else:
                    assert (await close_of(client))[0] == code


@everywhere
async def test_a_viewer_of_a_request_expires(door: str) -> None:
    def soon(request: Handshake) -> Viewer:
        return Viewer("ann", expires_at=time.time() + 0.3)

    async with DOORS[door](QUICK, BySession(soon)) as stage:
        async with socket(stage) as client:
            assert await close_of(client) == (4401, "token expired")
        async with streamed(stage) as response:
            frames = await events_until(response, "code")
            assert frames[-1] == {"code": 4401, "reason": "token expired"}


REFUSALS: dict[str, tuple[Exception, int, str]] = {
    "invalid": (
        TokenInvalid("forged"),
        4500,
        "invalid token: secret, issuer, audience or clock differ, or none is wanted",
    ),
    "expired": (TokenExpired(), 4401, "token expired"),
}


@everywhere
@pytest.mark.parametrize("case", REFUSALS)
async def test_an_authorizer_refuses_a_request(
    door: str, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, code, reason = REFUSALS[case]

    def refuse(request: Handshake) -> Viewer:
        raise error

    caplog.set_level(logging.INFO, "flowcraft")
    async with DOORS[door](LISTING, BySession(refuse)) as stage:
        async with socket(stage, Cookie="session=ann", Origin=LISTED) as client:
            assert await close_of(client) == (code, reason)
        async with streamed(stage, Cookie="session=ann", Origin=LISTED) as response:
            assert response.status_code == 401
            assert json.loads(await response.aread()) == {"code": code, "reason": reason}
            assert response.headers["access-control-allow-origin"] == LISTED
        assert stage.node.counts.refusals["token"] == 2
    assert not any("session=ann" in record.getMessage() for record in caplog.records)


FAILURES: dict[str, Callable[[Handshake], Any]] = {
    "raises": lambda request: 1 // 0,
    "returns a text": lambda request: "ann",
    "returns False": lambda request: False,
    "looks up a cookie that is not there": lambda request: Viewer(request.cookies["session"]),
}


def exits(request: Handshake) -> Viewer:
    raise SystemExit(3)


@everywhere
@pytest.mark.parametrize("case", [*FAILURES, "exits"])
async def test_an_authorizer_that_fails_harms_no_other_client(door: str, case: str) -> None:
    def answer(request: Handshake) -> Any:
        failing = FAILURES.get(case, exits)
        return Viewer("ann") if "x-remote-user" in request.headers else failing(request)

    async with DOORS[door](QUICK, BySession(answer)) as stage, socket(stage, X_Remote_User="ann") as other:
        await frames_until(other, "authenticated")
        async with socket(stage) as client:
            assert await close_of(client) == (1011, "authentication unavailable")
        async with streamed(stage) as response:
            assert (await events_until(response, "code"))[-1]["code"] == 1011
        await other.send('{"subscribe":["private.ann"]}')
        assert (await frames_until(other, "subscribed"))[-1]["subscribed"] == ["private.ann"]


@everywhere
async def test_an_authorizer_that_never_answers_is_bounded(door: str) -> None:
    class Hangs(BySession):
        async def authenticate_request(self, request: Handshake) -> Viewer | None:
            while True:  # ignores its cancellation
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    if stopping.is_set():
                        raise

    stopping = asyncio.Event()
    settings = Settings(drain_seconds=0.01, auth_timeout_seconds=0.2)
    async with DOORS[door](settings, Hangs()) as stage:
        async with socket(stage) as client:
            assert await close_of(client) == (1011, "authentication unavailable")
        async with streamed(stage) as response:
            assert (await events_until(response, "code"))[-1]["code"] == 1011
        await stage.node.until_alone()
        stopping.set()


@everywhere
async def test_a_client_that_leaves_while_it_is_asked_about_is_released(door: str) -> None:
    asked = asyncio.Event()
    ended = asyncio.Event()

    class Hangs(BySession):
        async def authenticate_request(self, request: Handshake) -> Viewer | None:
            asked.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            return None

    async with DOORS[door](Settings(drain_seconds=0.01, auth_timeout_seconds=600), Hangs()) as stage:
        address = stage.http("").removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(address[0], int(address[2]))
        writer.write(b"GET /realtime/events?channel=ping_update HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(asked.wait(), 10)
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 10)
        await stage.node.until_alone()


@everywhere
async def test_the_answer_to_a_refused_token_has_its_close_code(door: str) -> None:
    expired, early = ({"sub": "ann", "exp": 1}, {"sub": "ann", "exp": 2**33, "nbf": 2**32})
    cases: dict[str, tuple[str | None, int]] = {
        "none": (None, 4501),
        "invalid": ("Bearer nonsense", 4500),
        "expired": ("Bearer " + jwt.encode(expired, SECRET), 4401),
        "not yet valid": ("Bearer " + jwt.encode(early, SECRET), 4401),
    }
    async with DOORS[door](QUICK, JwtAuthorizer(SECRET)) as stage:
        for name, (token, code) in cases.items():
            fields = {} if token is None else {"Authorization": token}
            async with streamed(stage, **fields) as response:
                answer = json.loads(await response.aread())
                assert (name, response.status_code, answer["code"]) == (name, 401, code)
                assert response.headers["www-authenticate"] == "Bearer"
        assert stage.node.counts.refusals["token"] == len(cases)
        await stage.node.until_alone()
        body = "\n".join([json.dumps({"auth": TOKEN}), '{"subscribe":["private.ann"]}'])
        async with streamed(stage, body=body) as response:
            assert (await events_until(response, "subscribed"))[-1]["subscribed"] == ["private.ann"]
        async with streamed(stage, body=body.replace("auth", "\\u0061uth")) as response:
            assert (await events_until(response, "subscribed"))[-1]["subscribed"] == ["private.ann"]


async def test_a_client_that_has_closed_its_sending_side_is_answered() -> None:
    async with dedicated(QUICK, JwtAuthorizer(SECRET)) as stage:
        address = stage.http("").removeprefix("http://").rpartition(":")
        for token, status in (("nonsense", b"401"), (TOKEN, b"200")):
            reader, writer = await asyncio.open_connection(address[0], int(address[2]))
            head = "GET /realtime/events?channel=private.ann HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
            writer.write(f"{head}{token}\r\n\r\n".encode())
            writer.write_eof()
            assert (await asyncio.wait_for(reader.read(), 10)).split(b" ")[1] == status
            writer.close()
