"""Login check: whether a server lets a client in with a token, and why not."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import Any, cast

from websockets.exceptions import ConnectionClosed

from flowcraft.entrypoints.diagnosis import ANSWER_SECONDS, DiagnosisLine, open_websocket
from flowcraft.entrypoints.plain_http import NoAnswer, NoConnection, WebSocketAddress, request
from flowcraft.errors import TokenInvalid
from flowcraft.ports import Authorizer

_ABOUT = "login"
_WANTED = (
    "the server wants a token; pass one with --token (`flowcraft token NAME` creates one for development)"
)


async def wants_token(address: WebSocketAddress) -> bool:
    """Return whether a server refuses clients without a token, by the answer to an event stream."""
    path = f"{address.path.rstrip('/')}/events?channel=system"
    try:
        async with request(address, path, {"Accept": "text/event-stream"}, streams=True) as answer:
            return answer.status == 401 and refusal_of(answer.text) is not None
    except (NoAnswer, NoConnection, OSError, EOFError):
        return False


def refusal_of(body: str) -> int | None:
    """Return the close code in the answer to a refused login; None if it is not of this server."""
    try:
        found: object = json.loads(body)
    except ValueError:
        return None
    code = cast(dict[str, object], found).get("code") if isinstance(found, dict) else None
    return code if isinstance(code, int) else None


async def check_login(
    url: str, token: str | None, authorizer: Authorizer | None, *, ours: bool
) -> DiagnosisLine | None:
    """Log in as a client would; None without a token where the server wants none.

    `authorizer` is that of the project, if it is `ours`: it knows the reason, which a server sends to no
    client.
    """
    if token is None:
        return (
            DiagnosisLine(_ABOUT, "note", _WANTED) if await wants_token(WebSocketAddress.parse(url)) else None
        )
    refusal = await _refusal(url, token)
    if refusal is None:
        return DiagnosisLine(_ABOUT, "ok", f"the server accepts the token; {describe(token)}")
    reasons = [f"the server refuses the token: {refusal}", *await _reasons(token, authorizer, ours=ours)]
    return DiagnosisLine(_ABOUT, "wrong", f"{'; '.join(reasons)}; {describe(token)}")


async def _refusal(url: str, token: str) -> str | None:
    """Return what a server answers to a token that it refuses; None if it accepts it."""
    async with open_websocket(url) as client:
        await client.send(json.dumps({"auth": token}))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    frame: dict[str, Any] = json.loads(await client.recv())
                    if "authenticated" in frame:
                        return None
                    if "error" in frame:
                        return str(frame["error"].get("message"))
        except ConnectionClosed as error:
            return f"{error.rcvd.code} {error.rcvd.reason}" if error.rcvd else "the connection was closed"


async def _reasons(token: str, authorizer: Authorizer | None, *, ours: bool) -> list[str]:
    if not ours:
        return ["the reason is in the server's log"]
    if authorizer is None:
        return ["the Realtime object of this project has no authorizer: pass authorizer=JwtAuthorizer(…)"]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await authorizer.authenticate(token)
    except TokenInvalid as error:
        return [f"the authorizer of this project: {error.reason}"]
    except Exception as error:  # noqa: BLE001  # an application's authorizer
        return [f"the authorizer of this project raises {type(error).__name__}: {error}"]
    return ["the authorizer of this project accepts it: has the server other keys or settings?"]


def describe(token: str) -> str:
    """Return the claims of a token that decide about it, unverified; never its signature."""
    parts = [_json(part) for part in token.split(".")[:2]] if token.count(".") == 2 else []
    if len(parts) < 2 or None in parts:
        return "it is not a JWT (three parts with dots)"
    header, claims = cast(list[Mapping[str, object]], parts)
    shown = [f"alg {header.get('alg')!r}"]
    shown += [f"kid {header['kid']!r}"] if "kid" in header else []
    shown += [f"{name} {claims[name]!r}" for name in ("sub", "iss", "aud") if name in claims]
    shown += [f"no {name}" for name in ("sub", "exp") if claims.get(name) is None]
    now, end = time.time(), claims.get("exp")
    if isinstance(end, int | float) and not isinstance(end, bool):
        shown.append(f"expires in {end - now:,.0f} s" if end > now else f"expired {now - end:,.0f} s ago")
    return f"it has {', '.join(shown)}"


def _json(part: str) -> Mapping[str, object] | None:
    try:
        found: object = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    return cast(Mapping[str, object], found) if isinstance(found, dict) else None
