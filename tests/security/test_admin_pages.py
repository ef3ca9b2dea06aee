"""What the health pages tell a stranger, and what an administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect

from flowcraft.entrypoints import pages
from flowcraft.entrypoints.serve import Server
from tests.support.carriers import QUICK, make_node, until

TOKEN = "0123456789abcdef"
ERROR = "password authentication failed for user app at db.internal"
SECRETS = (ERROR, "db.internal", "ping_update", "private.{user}")


async def fails() -> None:
    raise OSError(ERROR)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    node, _ = make_node(QUICK, None)
    node.start()
    node.supervisor.keep("retention", fails)
    await node.until_accepting()
    server = Server(node, "127.0.0.1", 0, admin_port=0)
    await server.start()
    await until(lambda: bool(node.report().errors))
    try:
        yield server
    finally:
        await server.stop()
        await node.stop()


async def got(host: str, **headers: str) -> str:
    async with httpx.AsyncClient(base_url=host, headers=headers, trust_env=False) as client:
        return "".join([(await client.get(path)).text for path in ("/healthz", "/readyz", "/metrics")])


def public(server: Server) -> str:
    return server.address.replace("ws://", "http://").removesuffix("/realtime")


@pytest.mark.parametrize(
    ("token", "sent"),
    [
        (None, None),
        ("", "Bearer x"),
        ("short", "Bearer short"),
        (TOKEN, None),
        (TOKEN, "Bearer " + TOKEN[:-1]),
        (TOKEN, "Basic " + TOKEN),
        (TOKEN, TOKEN),
    ],
)
async def test_a_stranger_learns_no_channel_and_no_error_but_whether_the_server_is_ready(
    server: Server, monkeypatch: pytest.MonkeyPatch, token: str | None, sent: str | None
) -> None:
    monkeypatch.delenv(pages.ADMIN_TOKEN, raising=False)
    if token is not None:
        monkeypatch.setenv(pages.ADMIN_TOKEN, token)
    async with connect(f"{server.address}?channel=ping_update"):
        text = await got(public(server), **({} if sent is None else {"Authorization": sent}))
    assert [secret for secret in SECRETS if secret in text] == []
    assert '"ready":true' in text
    assert '"retention"' in text
    assert 'flowcraft_subscribers{channel="all"} 1.0' in text


async def test_an_administrator_has_the_whole_pages_by_token_and_at_the_admin_port(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pages.ADMIN_TOKEN, TOKEN)
    host, port = server.admin_address
    for text in (
        await got(public(server), Authorization=f"Bearer {TOKEN}"),
        await got(public(server), Authorization=f"bearer {TOKEN}"),
        await got(f"http://{host}:{port}"),
    ):
        assert [secret for secret in SECRETS if secret not in text] == []


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1]])
def test_a_token_that_can_be_guessed_is_refused_at_start(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pages.ADMIN_TOKEN, token)
    with pytest.raises(ValueError, match=r"at least 16"):
        pages.check_admin_token()
