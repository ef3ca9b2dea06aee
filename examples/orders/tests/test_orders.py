"""The shop: an order and its money are one transaction, one commit point, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from examples.flowcraft.api.serve import HOST, bind, serving
from examples.orders.app import app

EXAMPLE = Path(__file__).parents[1]


def lines_of(*patterns: str) -> int:
    files = [file for pattern in patterns for file in EXAMPLE.glob(pattern) if file.name != "realtime.gen.ts"]
    return sum(bool(line.strip()) for file in files for line in file.read_text("utf-8").splitlines())


def test_the_example_is_as_short_as_its_readme_says() -> None:
    table = (EXAMPLE / "README.md").read_text("utf-8")
    counted = [lines_of("*.py"), lines_of("*.sql"), lines_of("web/src/**/*.ts", "web/src/**/*.tsx")]
    assert [f"| {lines} |" in table for lines in counted] == [True, True, True]
    assert counted[0] <= 45
    assert counted[2] <= 60


@pytest.fixture
async def shop(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    at = bind(0)
    base = f"http://{HOST}:{at.getsockname()[1]}"
    async with serving(app, at), httpx.AsyncClient(base_url=base) as http:
        yield http


LISTS = "channel=order_rows&channel=account_rows"


async def watching(shop: httpx.AsyncClient) -> ClientConnection:
    page = await connect(f"{str(shop.base_url).replace('http', 'ws')}/realtime/?{LISTS}")
    while "subscribed" not in json.loads(await page.recv()):
        pass
    return page


async def next_commit(page: ClientConnection) -> list[dict[str, object]]:
    """The rows that a page receives up to the next commit point with events."""
    rows: list[dict[str, object]] = []
    while True:
        frame = json.loads(await page.recv())
        if "channel" in frame:
            rows.append({k: v for k, v in frame["payload"].items() if k != "type"})
        elif rows and "cursor" in frame:
            assert frame["n"] == len(rows)
            return rows


async def test_an_order_and_the_money_for_it_arrive_with_one_commit_point(shop: httpx.AsyncClient) -> None:
    async with await watching(shop) as page:
        assert (await shop.post("/api/orders", params={"buyer": "Ada", "item": "Lamp"})).status_code == 204
        assert sorted(await next_commit(page), key=str) == [
            {"id": 1, "buyer": "Ada", "item": "Lamp", "price": 3900, "status": "paid"},
            {"owner": "Ada", "balance": 8100},
            {"owner": "Shop", "balance": 3900},
        ]
        assert (await shop.post("/api/orders/1/cancelled")).status_code == 204
        assert sorted(await next_commit(page), key=str) == [
            {"id": 1, "buyer": "Ada", "item": "Lamp", "price": 3900, "status": "cancelled"},
            {"owner": "Ada", "balance": 12000},
            {"owner": "Shop", "balance": 0},
        ]


async def test_an_order_that_is_refused_leaves_nothing_behind_and_no_page_receives_it(
    shop: httpx.AsyncClient,
) -> None:
    async with await watching(shop) as page:
        assert (await shop.post("/api/orders", params={"buyer": "Linus", "item": "Lamp"})).status_code == 204
        assert (await shop.post("/api/orders", params={"buyer": "Linus", "item": "Lamp"})).status_code == 409
        refused = await shop.post("/api/orders/1/shipped")
        assert (refused.status_code, refused.text) == (409, "it cannot be shipped now")
        assert (await shop.post("/api/orders/1/packed")).status_code == 204
        assert (await shop.post("/api/orders/1/cancelled")).status_code == 409
        assert len(await next_commit(page)) == 3
        assert [row["status"] for row in await next_commit(page)] == ["packed"]
